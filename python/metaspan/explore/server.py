r"""A server of the explorer's page, which only this machine can reach."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._support import check
from .knobs import Knobs

if TYPE_CHECKING:
    from bokeh.server.server import BaseServer
    from tornado.httputil import HTTPServerRequest

ADDRESS = "127.0.0.1"
NAMES = (ADDRESS, "localhost")
COMPONENTS = ("bokeh", "bokeh-widgets")  # of BokehJS; the page uses no others
LARGEST_MESSAGE = 2**20  # bytes that a page may send at once

# The browser itself refuses to load anything that is not from this server. The page contains
# scripts and styles, and BokehJS compiles callbacks, so the policy allows these.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' {sockets}; base-uri 'none'; form-action 'none'; frame-ancestors {frames}"
)
FRAMES = "http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:*"


def open_server(port: int | None, knobs: Knobs, framed: bool = False) -> tuple[BaseServer, str]:
    r"""Open the server on the loopback address, in the event loop of this thread.

    The server answers requests that name it by a loopback address and come from its own pages. It
    therefore refuses pages of other sites, including those whose name resolves to this machine, and
    those that would load the page as a picture, which would start a run.

    Parameters
    ----------
    port : int or None
        Port to listen on. None: any free one.
    knobs : Knobs
        The knobs of a new page.
    framed : bool
        Whether pages of other servers on this machine, such as notebooks, may show the page.

    Returns
    -------
    server : bokeh.server.server.BaseServer
        The server, which listens but whose loop is not started.
    url : str
        Address of the page.

    Raises
    ------
    ImportError
        If Bokeh is not installed.
    ValueError
        If the port is not a number from 1 to 65535.
    OSError
        If the port is not free; the message is one sentence.
    """
    _require_bokeh()
    from bokeh.application import Application  # noqa: PLC0415
    from bokeh.application.handlers.function import FunctionHandler  # noqa: PLC0415
    from bokeh.server.server import BaseServer  # noqa: PLC0415
    from tornado.httpserver import HTTPServer  # noqa: PLC0415
    from tornado.ioloop import IOLoop  # noqa: PLC0415
    from tornado.netutil import bind_sockets  # noqa: PLC0415

    from .page import build_page  # noqa: PLC0415

    if port is not None:
        check.integer("port", port, 1, 65535)
    try:
        sockets = bind_sockets(port or 0, ADDRESS, family=socket.AF_INET)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        state = "in use" if error.errno == errno.EADDRINUSE else "reserved for administrators"
        raise OSError(
            f"port {port} of {ADDRESS} is {state}: choose another one by --port, or leave it out"
        ) from error
    number = sockets[0].getsockname()[1]
    app = Application(FunctionHandler(lambda document: build_page(document, knobs)))
    application = _application(app, number, framed)
    server = HTTPServer(_guard(application, number, framed), max_buffer_size=LARGEST_MESSAGE)
    server.add_sockets(sockets)
    return BaseServer(IOLoop.current(), application, server), f"http://{ADDRESS}:{number}/"


def _require_bokeh() -> None:
    """Raise ImportError, with the command that installs it, if Bokeh is missing."""
    try:
        import bokeh.server.server  # noqa: F401, PLC0415
    except ImportError as error:
        raise ImportError("the explorer needs bokeh: pip install 'metaspan[explore]'") from error


def _application(app: Any, port: int, framed: bool) -> Any:
    """Return Bokeh's application, which serves its own files, and compresses what it sends."""
    from bokeh.resources import Resources  # noqa: PLC0415
    from bokeh.server.tornado import BokehTornado  # noqa: PLC0415
    from bokeh.server.views.static_handler import StaticHandler  # noqa: PLC0415

    class Loopback(BokehTornado):  # type: ignore[misc]
        """Bokeh's application with two of the five parts of BokehJS, which it serves itself."""

        def resources(self, absolute_url: str | bool | None = None) -> Resources:
            return Resources(
                mode="server",
                root_url="/",
                components=list(COMPONENTS),
                path_versioner=StaticHandler.append_version,
            )

    application = Loopback(
        {"/": app},
        extra_websocket_origins=[f"{name}:{port}" for name in NAMES],
        absolute_url=f"http://{ADDRESS}:{port}/",
        use_index=False,
        redirect_root=False,
        websocket_max_message_size_bytes=LARGEST_MESSAGE,
        include_headers=[],
        include_cookies=[],
        compress_response=True,
    )
    application.add_transform(_headers(port, framed))
    return application


def _headers(port: int, framed: bool) -> Any:
    """Return a transform of tornado that adds the policy to every response."""
    from tornado.web import OutputTransform  # noqa: PLC0415

    sockets = " ".join(f"ws://{name}:{port}" for name in NAMES)
    policy = POLICY.format(sockets=sockets, frames=FRAMES if framed else "'none'")

    class Headers(OutputTransform):  # type: ignore[misc]
        def transform_first_chunk(
            self, status_code: int, headers: Any, chunk: bytes, finishing: bool
        ) -> tuple[int, Any, bytes]:
            headers["Content-Security-Policy"] = policy
            headers["Referrer-Policy"] = "no-referrer"
            headers["X-Content-Type-Options"] = "nosniff"
            headers.pop("Access-Control-Allow-Origin", None)
            return status_code, headers, chunk

    return Headers


def _guard(application: Any, port: int, framed: bool) -> Any:
    """Return a router that passes requests of this server's pages on, and refuses all others."""
    from tornado.routing import Matcher, Rule, RuleRouter  # noqa: PLC0415
    from tornado.web import Application, RequestHandler  # noqa: PLC0415

    class FromHere(Matcher):  # type: ignore[misc]
        def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
            headers = request.headers
            local = is_local(headers.get("Host"), headers.get("Origin"), port)
            return {} if local and is_invited(headers, framed) else None

    class Refuse(RequestHandler):  # type: ignore[misc]
        def prepare(self) -> None:
            self.set_status(403)
            self.finish(f"This page is served to this machine alone, at http://{ADDRESS}:{port}/.")

    return RuleRouter(
        [Rule(FromHere(), application), (r".*", Application([(r".*", Refuse)]))],
    )


def is_local(host: str | None, origin: str | None, port: int) -> bool:
    r"""Return whether the headers of a request are those of a page of this server.

    Parameters
    ----------
    host, origin : str or None
        The headers Host and Origin; None if they are missing.
    port : int
        Port of the server.

    Returns
    -------
    bool
        Whether Host names this server by a loopback address, and Origin, where there is one, too.

    Examples
    --------
    >>> is_local("localhost:5006", None, 5006), is_local("rebound.example:5006", None, 5006)
    (True, False)
    >>> is_local("127.0.0.1:5006", "http://other.example", 5006)
    False
    """
    local = {f"{name}:{port}" for name in NAMES}
    if host is None or host.lower() not in local:
        return False
    return origin is None or origin.lower() in {f"http://{name}" for name in local}


def is_invited(headers: Mapping[str, str], framed: bool) -> bool:
    r"""Return whether a request is one of a user or of a page of this server.

    Browsers say in headers whose names begin with Sec-Fetch who asks, also where they send no
    Origin. Other sites may only lead a user to the page.

    Parameters
    ----------
    headers : mapping of str to str
        The headers of the request; programs other than browsers send no such headers.
    framed : bool
        Whether pages of other servers may show the page in a frame.

    Returns
    -------
    bool
        Whether the request is answered.

    Examples
    --------
    >>> is_invited({"Sec-Fetch-Site": "same-origin"}, False)
    True
    >>> is_invited({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, False)
    False
    """
    if headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return True
    shown = ("document", "iframe") if framed else ("document",)
    navigates = headers.get("Sec-Fetch-Mode") == "navigate"
    return navigates and headers.get("Sec-Fetch-Dest") in shown
