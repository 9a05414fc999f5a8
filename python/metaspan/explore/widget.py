r"""The explorer in a notebook."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from .._support import check
from .knobs import Knobs, Value, change
from .server import open_server


class Widget:
    r"""The explorer's page, which a notebook shows as the output of a cell.

    Its server runs in a thread of this process, and only this machine can reach it. `widget` makes
    objects of this class.

    Parameters
    ----------
    knobs : Knobs
        The knobs at the start.
    height : int
        Height in pixels.
    """

    def __init__(self, knobs: Knobs, height: int) -> None:
        self._height = height
        self._opened: Future[str] = Future()
        self._thread = threading.Thread(
            target=self._serve, args=(knobs,), name="explore", daemon=True
        )
        self._thread.start()
        self._url = self._opened.result()

    @property
    def url(self) -> str:
        r"""Address of the page, which any browser on this machine can open."""
        return self._url

    def _serve(self, knobs: Knobs) -> None:
        """Serve the page in an event loop of this thread, until `close`."""
        import asyncio  # noqa: PLC0415

        async def serve() -> None:
            try:
                server, url = open_server(None, knobs, framed=True)
            except BaseException as error:
                self._opened.set_exception(error)
                return
            self._loop = asyncio.get_running_loop()
            self._closing = asyncio.Event()
            server.start()
            self._opened.set_result(url)
            await self._closing.wait()
            server.stop()

        asyncio.run(serve())

    def close(self) -> None:
        r"""End the server; the page no longer answers."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closing.set)

    def _repr_html_(self) -> str:
        """Return the frame that a notebook shows."""
        return (
            f'<iframe src="{self.url}" title="metaspan explorer" width="100%" '
            f'height="{self._height}" style="border: 0" allow="clipboard-write"></iframe>'
        )

    def __repr__(self) -> str:
        return f"Widget({self.url})"


def widget(*, height: int = 1100, **knobs: Value) -> Widget:
    r"""Show the explorer in a notebook: sliders that set a run, and its curves beside the theory.

    The page is that of ``metaspan explore``. The browser must run on the machine of the kernel.

    Parameters
    ----------
    height : int
        Height of the widget in pixels.
    **knobs : int, float, str or None
        Knobs at the start: "method", "outer", "init", and the arguments "d", "k", "width", "n",
        "m_in", "m_out", "noise", "alpha", "beta", "inner_steps", "mean", "mu2", "rounds", "seed".

    Returns
    -------
    Widget
        An object that a notebook shows when it is the last value of a cell. Its `url` is the
        address of the page, and its `close` ends the server.

    Raises
    ------
    ImportError
        If Bokeh is not installed.
    TypeError, ValueError
        If a knob does not exist, or `train` would refuse the knobs.

    Examples
    --------
    >>> from metaspan import explore
    >>> explore.widget(d=10**6, k=40, width=10**7)
    Traceback (most recent call last):
    ...
    ValueError: width must be at most d = 1000000; got 10000000
    """
    check.integer("height", height, 1)
    chosen = change(Knobs(), **knobs)
    chosen.check()
    return Widget(chosen, height)
