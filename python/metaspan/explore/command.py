r"""The command ``metaspan explore``."""

from __future__ import annotations

import argparse
import threading
import webbrowser
from typing import TYPE_CHECKING, Any

from .knobs import Knobs
from .server import open_server

if TYPE_CHECKING:
    from argparse import _SubParsersAction

INTERRUPTED = 130  # exit status after Ctrl-C


def add_parser(commands: _SubParsersAction[Any]) -> None:
    """Add the command ``explore``."""
    explore = commands.add_parser(
        "explore",
        help="open a page in the browser on which sliders move the curves of runs",
        description="Serve a page to this machine alone, on which sliders set a run and its curves "
        "are drawn beside the theory. Ctrl-C ends the server.",
    )
    explore.add_argument("--port", type=int, metavar="N", help="port (default: any free one)")
    explore.add_argument(
        "--no-browser", action="store_true", help="print the address, and open no browser"
    )


def explore_command(chosen: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    server, url = open_server(chosen.port, Knobs())
    from tornado.ioloop import IOLoop  # noqa: PLC0415

    print(f"{url} shows the explorer to this machine alone; Ctrl-C ends it", flush=True)
    server.start()
    if not chosen.no_browser:  # in a thread, since some browsers are waited for
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    try:
        IOLoop.current().start()
    except KeyboardInterrupt:  # the usual end
        return INTERRUPTED
    return 0
