"""The page of the explorer in Chromium: real keys, clicks and requests."""

import base64
import io

import numpy as np
import pytest

import metaspan as ms
from boundary import explorer

pytestmark = pytest.mark.browser
pytest.importorskip("bokeh")
pytest.importorskip("selenium")
if explorer.find_browser() is None:
    pytest.skip("Chromium and its driver are not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def address():
    with explorer.served() as (_, address):
        yield address


@pytest.fixture(scope="module")
def chrome():
    browser = explorer.open_browser()
    yield browser
    browser.quit()


@pytest.fixture
def page(chrome, address):
    """A new page, whose first curve is drawn."""
    explorer.open_page(chrome, address)
    chrome.get_log("browser")
    return chrome


def press(page, knob, key, times=1):
    """Press a key on the slider of a knob."""
    handle = explorer.element(page, f"slider_{knob}", ".noUi-handle")
    for _ in range(times):
        handle.send_keys(key)


def write(page, knob, text):
    """Replace the text in the field of a knob, and press Enter."""
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415

    field = explorer.element(page, f"field_{knob}", "input")
    field.send_keys(Keys.END, *(Keys.BACKSPACE * len(explorer.value(page, f"field_{knob}"))))
    field.send_keys(text, Keys.ENTER)


def wait_for_change(page, before):
    """Wait until another curve is drawn, and return it."""

    def changed():
        now = explorer.curve(page)
        return now if now != before else None

    return explorer.wait_for(changed, "another curve")


def expected(**changes):
    """The values of dist that the package gives at the knobs of a new page, with changes."""
    steps = {"alpha": 0.3, "beta": 0.1}
    steps |= {name: changes.pop(name) for name in list(changes) if name in steps}
    arguments = {"rounds": 500, "n": 100, "m_in": 20, "m_out": 20, "record_every": 2} | changes
    tasks = ms.LinearTasks(d=arguments.pop("d", 1000), k=3, noise=0.3)
    return ms.train(tasks, "anil", **steps, **arguments).trace["dist"].tolist()


def test_the_page_loads_without_a_complaint_and_shows_a_run(page):
    assert explorer.curve(page) == expected()
    assert "Engine collapsed: did all its rounds (round 500)" in explorer.text(page, "message")
    assert "Data (CSV)" in explorer.element(page, "save_csv", "button").text
    complaints = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert not complaints


def test_no_request_leaves_the_machine_and_the_page_is_light(chrome, address):
    chrome.execute_cdp_cmd("Network.clearBrowserCache", {})
    chrome.get_log("performance")
    explorer.open_page(chrome, address)
    explorer.wait_for(lambda: "Colour" in str(explorer.text(chrome, "map_text")), "the diagram")
    events = explorer.network_events(chrome)
    host = address.removeprefix("http://").rstrip("/")
    assert explorer.hosts(events["requestWillBeSent"]) == {host}
    assert [each["url"] for each in events["webSocketCreated"]] == [f"ws://{host}/ws"]
    weight = sum(each["encodedDataLength"] for each in events["loadingFinished"])
    assert 100_000 < weight < 1_000_000


def test_the_browser_itself_refuses_requests_to_elsewhere(page):
    blocked = page.execute_async_script(
        """
        const done = arguments[arguments.length - 1]
        document.addEventListener("securitypolicyviolation", (event) => done(event.blockedURI))
        fetch("http://127.0.0.2:9/").then(() => done("sent"), () => undefined)
        """
    )
    assert blocked == "http://127.0.0.2:9/"


def test_a_slider_moves_the_curve(page):
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415

    before = explorer.curve(page)
    press(page, "beta", Keys.ARROW_RIGHT)
    assert wait_for_change(page, before) == expected(beta=0.12)
    assert explorer.value(page, "field_beta") == "0.12"
    assert "beta=0.12" in explorer.text(page, "call")


def test_many_moves_end_at_the_last_one(page):
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415

    press(page, "d", Keys.ARROW_LEFT, 4)
    last = expected(d=50)
    explorer.wait_for(lambda: explorer.curve(page) == last, "the curve of the last move")
    assert explorer.value(page, "field_d") == "50"


def test_a_typed_value_moves_the_slider_and_the_curve(page):
    before = explorer.curve(page)
    position = explorer.value(page, "slider_m_out")
    write(page, "m_out", "inf")
    assert wait_for_change(page, before) == expected(m_out=None)
    assert explorer.value(page, "slider_m_out") > position


@pytest.mark.parametrize(
    ("knob", "text", "sentence"),
    [
        ("alpha", "fast", "alpha must be a number such as 0.3; got 'fast'"),
        ("k", "2000", "k must be at most d = 1000; got 2000"),
        ("noise", "-1", "noise must be finite and at least 0; got -1"),
        ("d", "<b>1</b>", "d must be an integer such as 1000 or 1e6; got '<b>1</b>'"),
    ],
)
def test_a_wrong_value_is_a_sentence_on_the_page(page, knob, text, sentence):
    before = explorer.curve(page)
    write(page, knob, text)
    explorer.wait_for(lambda: sentence in explorer.text(page, "message"), "the sentence")
    alert = explorer.element(page, "message", "[role=alert]")
    assert alert.is_displayed()
    assert explorer.curve(page) == before
    write(page, knob, {"alpha": "0.5", "k": "2", "noise": "0.1", "d": "500"}[knob])
    wait_for_change(page, before)
    assert sentence not in explorer.text(page, "message")


def test_two_tabs_do_not_disturb_each_other(page, address):
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415

    first = page.current_window_handle
    before = explorer.curve(page)
    page.switch_to.new_window("tab")
    try:
        explorer.open_page(page, address)
        assert explorer.curve(page) == before
        write(page, "alpha", "0.7")
        second = wait_for_change(page, before)
        write(page, "k", "5000")  # a wrong value here
        explorer.wait_for(lambda: "must be" in explorer.text(page, "message"), "the sentence")
        page.switch_to.window(first)
        assert explorer.curve(page) == before
        assert explorer.value(page, "field_alpha") == "0.3"
        assert "must be" not in explorer.text(page, "message")
        press(page, "beta", Keys.ARROW_LEFT)
        assert wait_for_change(page, before) == expected(beta=0.08)
        page.switch_to.window(page.window_handles[-1])
        assert explorer.curve(page) == second == expected(alpha=0.7)
        page.close()
    finally:
        page.switch_to.window(first)


def test_a_long_run_in_one_tab_does_not_hold_up_another(page, address):
    first = page.current_window_handle
    write(page, "rounds", "50000")
    explorer.wait_for(lambda: "is in round" in explorer.text(page, "message"), "the progress")
    page.switch_to.new_window("tab")
    try:
        explorer.open_page(page, address)
        before = explorer.curve(page)
        write(page, "alpha", "0.2")
        assert wait_for_change(page, before) == expected(alpha=0.2)
        page.close()
    finally:
        page.switch_to.window(first)


def test_a_click_on_the_diagram_runs_the_point(page):
    from selenium.webdriver.common.action_chains import ActionChains  # noqa: PLC0415

    explorer.wait_for(lambda: "Colour" in explorer.text(page, "map_text"), "the diagram")
    before = explorer.curve(page)
    plot = page.execute_script(
        f"{explorer.MODEL} return Bokeh.index.find_one_by_id(model.id).el", "plot_map"
    )
    ActionChains(page).move_to_element_with_offset(plot, -40, 30).click().perform()
    after = wait_for_change(page, before)
    alpha, beta = (float(explorer.value(page, f"field_{name}")) for name in ("alpha", "beta"))
    assert (alpha, beta) != (0.3, 0.1)
    assert after == expected(alpha=alpha, beta=beta)
    place = page.execute_script(f"{explorer.MODEL} return model.data", "point")
    assert [place["x"][0], place["y"][0]] == [alpha, beta]


def saved(page, kind):
    """Press the button that saves a file, and return the bytes that the browser gets."""
    explorer.element(page, f"save_{kind}", "button").click()
    body = explorer.wait_for(
        lambda: page.execute_script(f"{explorer.MODEL} return model.data.body[0]", "file"), kind
    )
    return base64.b64decode(body)


def test_data_and_figure_are_saved(page, tmp_path):
    page.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    saved(page, "csv")
    path = tmp_path / "metaspan.csv"
    explorer.wait_for(path.exists, "the file")
    table = np.genfromtxt(io.StringIO(path.read_text()), delimiter=",", names=True)
    assert table["dist"].tolist() == explorer.curve(page)
    pytest.importorskip("matplotlib")
    explorer.element(page, "save_svg", "button").click()
    path = tmp_path / "metaspan.svg"
    ended = lambda: path.exists() and path.read_text().rstrip().endswith("</svg>")  # noqa: E731
    explorer.wait_for(ended, "the figure")


def test_the_call_is_copied(page):
    page.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    explorer.element(page, "copy", "button").click()
    copied = explorer.wait_for(
        lambda: page.execute_async_script(
            "const done = arguments[0]; navigator.clipboard.readText().then(done, () => done(''))"
        ),
        "the copy",
    )
    names = {}
    exec(copied, names)
    assert names["r"].trace["dist"].tolist() == explorer.curve(page)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_nothing_is_wider_than_the_page(page, width, dark):
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    try:
        wide = "return document.documentElement.scrollWidth"
        explorer.wait_for(lambda: page.execute_script(wide) <= width, "a narrow page")
        color = page.execute_script(
            "return Bokeh.documents[0].get_model_by_name('dist').below"
            ".map((model) => model.axis_label_text_color).find((color) => color)"
        )
        shown = color["value"] if isinstance(color, dict) else color
        assert (int(shown[1:3], 16) > 128) is dark
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
