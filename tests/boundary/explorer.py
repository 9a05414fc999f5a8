"""The explorer as a process of its own, and a real browser without a window that looks at it."""

import html
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from urllib.parse import urlsplit

PATIENCE = 60.0  # seconds after which something that does not come is given up

# Text of an element of the page, or a callback that ends when a model of BokehJS changes.
MODEL = "const model = Bokeh.documents[0].get_model_by_name(arguments[0]);"
# The curve of dist as a list, so that two curves can be compared.
CURVE = f"{MODEL} return Array.from(model.data.dist)"


@contextmanager
def served(*options):
    """Run `metaspan explore`; yields the process and the address of the page."""
    command = [sys.executable, "-m", "metaspan", "explore", "--no-browser", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        line = process.stdout.readline()
        address = re.match(r"http://127\.0\.0\.1:\d+/", line)
        assert address, line + process.stderr.read()
        yield process, address[0]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


def find_browser():
    """Paths of Chromium and of its driver; None where one of them is not installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((path for name in names if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def open_browser(width=1280, height=900):
    """Start Chromium without a window; its logs hold every request and every message."""
    from selenium import webdriver  # noqa: PLC0415

    browser, driver = find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update"),
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    chrome = webdriver.Chrome(options=options, service=service)
    chrome.set_script_timeout(PATIENCE)
    return chrome


def wait_for(condition, what):
    """Call `condition` until it is true, and return its value."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come within {PATIENCE:g} s"
        time.sleep(0.05)
    return value


def open_page(chrome, address):
    """Open the page, and wait until its first curve is drawn."""
    chrome.get(address)
    ready = "return window.Bokeh !== undefined && Bokeh.documents.length == 1"
    wait_for(lambda: chrome.execute_script(ready), "the page")
    wait_for(lambda: curve(chrome), "the first curve")


def curve(chrome):
    """The curve of dist in the page's plot."""
    return chrome.execute_script(CURVE, "curves")


def element(chrome, name, selector):
    """An element of the widget `name`, for real clicks and keys."""
    script = (
        f"{MODEL} return Bokeh.index.find_one_by_id(model.id).shadow_el.querySelector(arguments[1])"
    )
    return wait_for(lambda: chrome.execute_script(script, name, selector), f"{name} {selector}")


def text(chrome, name):
    """The text of a model of the page, without tags."""
    shown = chrome.execute_script(f"{MODEL} return model.text", name)
    return html.unescape(re.sub(r"<[^>]*>", " ", shown))


def value(chrome, name):
    """The value of the widget `name`."""
    return chrome.execute_script(f"{MODEL} return model.value", name)


def network_events(chrome):
    """Parameters of the browser's network events since the last call: a list for each kind."""
    events = defaultdict(list)
    for entry in chrome.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        events[message["method"].removeprefix("Network.")].append(message["params"])
    return events


def hosts(requests):
    """Hosts to which requests went; data and blobs stay in the browser."""
    addresses = (urlsplit(each["request"]["url"]) for each in requests)
    return {each.netloc for each in addresses if each.scheme not in ("data", "blob")}
