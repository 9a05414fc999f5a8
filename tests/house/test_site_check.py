"""The checks of the built documentation site find what they look for."""

import importlib.util
import zlib

import pytest

import metaspan as ms

SHEET = "body { background: url('ground.png'); }"
MODULES = {
    "metaspan": ms,
    **{f"metaspan.{name}": getattr(ms, name) for name in ("explore", "study", "theory")},
}
NAMES = [
    f"{prefix}.{name}"
    for prefix, module in MODULES.items()
    for name in [*module.__all__, *getattr(module, "_LAZY", ())]
]


@pytest.fixture(scope="module")
def check(house):
    path = house.root / "docs/_site/check.py"
    if not path.exists():
        pytest.skip("not part of the source distribution")
    spec = importlib.util.spec_from_file_location("site_check", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(folder, body="", sheet=SHEET, names=NAMES, loads=""):
    """Write a site of two pages, a style sheet with a picture, and an inventory."""
    head = f'<link rel="stylesheet" href="site.css">{loads}'
    (folder / "index.html").write_text(f'{head}<p id="top">x</p>{body}', encoding="utf-8")
    (folder / "other.html").write_text(f'{head}<a href="index.html#top">x</a>', encoding="utf-8")
    (folder / "site.css").write_text(sheet, encoding="utf-8")
    (folder / "ground.png").write_bytes(bytes(2 * 10**6))
    lines = "".join(f"{name} py:function 1 index.html -\n" for name in names)
    (folder / "objects.inv").write_bytes(b"1\n2\n3\n4\n" + zlib.compress(lines.encode()))


def complaints(check, folder):
    root = folder.resolve()
    pages = {path: check.Page(path) for path in sorted(root.rglob("*.html"))}
    found = check.check_links(pages, root) + check.check_requests(pages, root)
    return found + check.check_names(root) + check.check_formulas(pages, root)


def test_sound_site_passes(check, tmp_path):
    body = '<a href="https://example.org">x</a><a href="#top">x</a><code>\\alpha</code><img src="">'
    build(tmp_path, body)
    assert complaints(check, tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"body": '<a href="gone.html">x</a>'}, "index.html: gone.html leads nowhere"),
        ({"body": '<a href="other.html#gone">x</a>'}, "index.html: other.html#gone has no such"),
        ({"body": '<a href="../index.html">x</a>'}, "leads nowhere"),
        ({"body": '<img src="//example.org/x.png">'}, "index.html loads //example.org/x.png"),
        (
            {"loads": '<script src="https://example.org/x.js"></script>'},
            "loads https://example.org",
        ),
        ({"loads": '<link rel="preconnect" href="https://example.org">'}, "loads https://exam"),
        ({"loads": "<style>@import 'https://example.org/x.css';</style>"}, "loads https://exam"),
        ({"body": '<p style="background: url(http://example.org/x)">'}, "loads http://example.org"),
        ({"sheet": "@font-face { src: url(https://example.org/x.woff) }"}, "loads https://exam"),
        ({"sheet": "p { background: url(gone.png) }"}, "gone.png, which is missing"),
        ({"body": "x" * 1_000_000}, "index.html weighs 1,000,"),
        ({"sheet": SHEET + " " * 1_000_000}, "other.html weighs 1,000,"),
        ({"names": [name for name in NAMES if name != "metaspan.train"]}, "metaspan.train is not"),
        ({"body": r"<p>the step $\alpha$</p>"}, r"shows '\\alpha' where a formula should be"),
    ],
)
def test_fault_is_found(check, tmp_path, changes, complaint):
    build(tmp_path, **changes)
    found = complaints(check, tmp_path)
    assert any(complaint in text for text in found), found


def test_second_name_of_an_object_needs_no_entry(check, tmp_path):
    assert ms.study.Study is ms.Study
    build(tmp_path, names=[name for name in NAMES if name != "metaspan.study.Study"])
    assert complaints(check, tmp_path) == []
