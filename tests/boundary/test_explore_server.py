"""The server of the explorer: who reaches it, and how it ends."""

import http.client
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from boundary.explorer import PATIENCE, served

pytestmark = pytest.mark.browser
pytest.importorskip("bokeh")


@pytest.fixture(scope="module")
def address():
    with served() as (_, address):
        yield urlsplit(address)


def ask(address, path="/", **headers):
    """Status, headers and text of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode("utf-8", "replace")
    finally:
        connection.close()


def addresses():
    """Addresses of this machine other than 127.0.0.1."""
    found_here = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: finds the address of the way out
            found_here.add(probe.getsockname()[0])
        except OSError:
            pass
    return sorted({"127.0.0.2", "::1", *found_here} - {"127.0.0.1"})


def test_the_page_is_served(address):
    status, headers, page = ask(address)
    assert status == 200
    assert "metaspan explore" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_no_other_address_of_this_machine_answers(address):
    for other in addresses():
        family = socket.AF_INET6 if ":" in other else socket.AF_INET
        with socket.socket(family) as tried, pytest.raises(OSError):  # noqa: PT011, PT012
            tried.settimeout(5)
            tried.connect((other, address.port))


@pytest.mark.parametrize(
    "path", ["/", "/autoload.js", "/static/js/bokeh.min.js", "/ws", "/metadata"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example:{port}"},
        {"Host": "rebound.example"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1:{port}", "Origin": "http://other.example"},
        {"Host": "127.0.0.1:{port}", "Origin": "null"},
        {"Host": "127.0.0.1:{port}", "Origin": "https://127.0.0.1:{port}"},
        {"Host": "127.0.0.1:{port}", "Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
    ids=str,
)
def test_requests_of_other_sites_are_refused(address, path, headers):
    named = {name: value.format(port=address.port) for name, value in headers.items()}
    status, sent, text = ask(address, path, **named)
    assert status == 403
    assert text == f"This page is served to this machine alone, at {address.geturl()}."
    assert "Access-Control-Allow-Origin" not in sent


def test_a_link_of_another_site_leads_to_the_page(address):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(address, **headers, **{"Sec-Fetch-Dest": "document"})[0] == 200


@pytest.mark.parametrize(
    ("origin", "status"), [("http://other.example", 403), ("http://127.0.0.1:{port}", 101)]
)
def test_a_socket_needs_the_origin_of_the_page(address, origin, status):
    headers = {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "bokeh, none",
    }  # fmt: skip
    headers["Origin"] = origin.format(port=address.port)
    assert ask(address, "/ws", **headers)[0] == status


def test_scripts_come_from_the_server(address):
    page = ask(address)[2]
    assert "cdn" not in page.lower()
    assert page.count("/static/js/bokeh") == 2


def test_a_port_in_use_is_one_sentence(address):
    command = [sys.executable, "-m", "metaspan", "explore", "--no-browser"]
    ended = subprocess.run(
        [*command, "--port", str(address.port)], capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == (
        f"metaspan: port {address.port} of 127.0.0.1 is in use: choose another one by --port, or "
        "leave it out\n"
    )


@pytest.mark.parametrize("port", ["0", "-1", "65536", "http"])
def test_a_wrong_port_is_one_sentence(port):
    command = [sys.executable, "-m", "metaspan", "explore", f"--port={port}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "port" in ended.stderr


def test_the_port_is_that_of_the_command():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with served("--port", str(port)) as (_, address):
        assert urlsplit(address).port == port


def test_ctrl_c_ends_the_server_with_130():
    with served() as (process, address):
        assert ask(urlsplit(address))[0] == 200  # a page is being computed
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr.read() == ""


def test_a_widget_serves_the_same_page_to_notebooks_of_this_machine():
    from metaspan import explore  # noqa: PLC0415

    widget = explore.widget(d=10**6, alpha=0.25, height=700)
    address = urlsplit(widget.url)
    status, headers, page = ask(address)
    assert status == 200
    assert "metaspan explore" in page
    assert "frame-ancestors http://localhost:*" in headers["Content-Security-Policy"]
    frame = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(address, **frame, **{"Sec-Fetch-Dest": "iframe"})[0] == 200
    assert f'<iframe src="{widget.url}"' in widget._repr_html_()
    widget.close()
    widget.close()
    widget._thread.join(PATIENCE)
    with pytest.raises(ConnectionError):
        ask(address)


def test_a_widget_with_a_wrong_knob_is_refused():
    from metaspan import explore  # noqa: PLC0415

    with pytest.raises(ValueError, match="k must be at most d = 1000"):
        explore.widget(k=5000)


def test_a_late_refusal_does_not_cancel_the_run_of_a_newer_setting():
    from bokeh.document import Document  # noqa: PLC0415

    from metaspan.explore.answer import Refused  # noqa: PLC0415
    from metaspan.explore.knobs import Knobs  # noqa: PLC0415
    from metaspan.explore.page import Page  # noqa: PLC0415

    page = Page(Document(), Knobs(rounds=1))
    page._close(None)
    asked = []
    page._worker.submit = asked.append
    page._controls.set(k=2)
    page._show(Refused(reason="k must be at most d"))  # of the setting before
    assert len(asked) == 1
    assert "k must be at most d" in page._message.text
    page._controls.fields["k"].value = "two"
    page._show(Refused(reason="k must be at most d"))
    assert "k must be an integer" in page._message.text
