"""Times the page of the explorer in Chromium: from a key on a slider to the curve on the screen."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from typing import Any

from bench.harness import Figure, Options, Seconds, absent, cpus, figure, side_by_side
from metaspan import explore

TARGET = 0.3  # seconds
HEAVIEST = 1e6  # bytes of the page without figures
CASES: dict[str, dict[str, Any]] = {
    "ANIL, d=1000, n=100, m=20": {},
    "ANIL, d=10^12, infinitely many samples": {"d": 10**12, "m_in": None, "m_out": None},
    "MAML, d=1000, n=100, m=20": {"method": "maml"},
    "ANIL, k=10, n=1000, m=100": {"k": 10, "n": 1000, "m_in": 100, "m_out": 100},
    "FO-ANIL, d=10^5, n=1000, heads with a mean": {
        "method": "fo-anil", "d": 10**5, "n": 1000, "mean": 0.5, "mu2": 0.2,
    },
    "ANIL, 10^5 rounds": {"rounds": 10**5},
}  # fmt: skip
PATIENCE = 60.0  # seconds
# Ends when the frame after the one with the new curve begins.
MOVE = """
const [key, done] = arguments
const page = Bokeh.documents[0]
const curves = page.get_model_by_name("curves")
const view = Bokeh.index.find_one_by_id(page.get_model_by_name("slider_beta").id)
const start = performance.now()
const drawn = () => {
  curves.properties.data.change.disconnect(drawn)
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)))
}
curves.properties.data.change.connect(drawn)
view.shadow_el.querySelector(".noUi-handle").dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true})
)
"""
DRAWN = (
    "return window.Bokeh !== undefined && Bokeh.documents.length == 1 "
    "&& Bokeh.documents[0].get_model_by_name('curves').data.dist.length > 0"
)


def run(options: Options) -> list[Figure]:
    """Time a move of the slider of beta, back and forth, while the diagram is being computed."""
    missing = [name for name in ("bokeh", "selenium") if importlib.util.find_spec(name) is None]
    missing += [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    about: dict[str, Any] = {"bench": "explore", "unit": "s"}
    if missing:
        why = f"{', '.join(missing)}: not installed"
        return absent({"slider to curve": why}, case=f"cores: {len(cpus())}", **about)
    chrome = _open_browser()
    try:
        figures = [_weigh(chrome)]
        for case, knobs in CASES.items():
            widget = explore.widget(**knobs)
            _open_page(chrome, widget.url)
            keys = _alternating()

            def move(keys: Any = keys) -> Seconds:
                return Seconds(chrome.execute_async_script(MOVE, next(keys)) / 1e3)

            timing = side_by_side({"move": move}, 3 * options.repeats)["move"]
            widget.close()
            assert 0 < timing.median < PATIENCE
            about["case"] = f"{case}, cores: {len(cpus())}"
            figures.append(
                figure(timing, timing.median, who="slider to curve", target=TARGET, **about)
            )
        return figures
    finally:
        chrome.quit()


def _open_browser() -> Any:
    """Start Chromium without a window."""
    from selenium import webdriver  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    chrome = webdriver.Chrome(options=options, service=service)
    chrome.set_script_timeout(PATIENCE)
    return chrome


def _open_page(chrome: Any, address: str) -> None:
    """Open a page, and wait for its first curve."""
    chrome.get(address)
    end = time.monotonic() + PATIENCE
    while not chrome.execute_script(DRAWN):
        assert time.monotonic() < end, "the page drew no curve"
        time.sleep(0.05)


def _alternating() -> Any:
    """Yield the keys that move a slider back and forth."""
    while True:
        yield "ArrowRight"
        yield "ArrowLeft"


def _weigh(chrome: Any) -> Figure:
    """Return the bytes that a browser receives for the page, without what its socket carries."""
    widget = explore.widget()
    _open_page(chrome, widget.url)
    widget.close()
    messages = (json.loads(entry["message"])["message"] for entry in chrome.get_log("performance"))
    weight = sum(
        message["params"]["encodedDataLength"]
        for message in messages
        if message["method"] == "Network.loadingFinished"
    )
    assert weight > 0
    return Figure(
        bench="explore", case="weight of the page", who="without figures", value=weight / 1e6,
        unit="MB", target=HEAVIEST / 1e6,
    )  # fmt: skip
