"""Checks a built site: `python docs/_site/check.py FOLDER`.

Every link within the site leads to a page and an anchor that exist; no page loads anything from
another host; no page weighs more than a megabyte without its pictures; every public name of the
package is documented; every formula is rendered.
"""

from __future__ import annotations

import html.parser
import inspect
import re
import sys
import zlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import metaspan as ms

LIMIT = 1_000_000  # bytes of a page without its pictures
PARTS = {name: getattr(ms, name) for name in ms.__all__}
MODULES = {"metaspan": ms} | {f"metaspan.{n}": m for n, m in PARTS.items() if inspect.ismodule(m)}
# Attributes by which a page loads a file when it opens; a link of these kinds loads nothing.
LOADS = {"src", "srcset", "data", "poster", "background"}
IDLE = {"canonical", "index", "search", "next", "prev", "up", "top", "author", "copyright"}
URL = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")
PICTURES = {".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp", ".ico"}
UNRENDERED = re.compile(r"\\(?:tfrac|frac|alpha|beta|top|text|operatorname|begin)\b|\$\$")


class Page(html.parser.HTMLParser):
    """What the checks need of a page: anchors, links, files that it loads, and its prose."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.prose: list[str] = []
        self.inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag in ("pre", "code", "script", "style"):
            self.inside.append(tag)
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if tag == "link" and not IDLE & set(values.get("rel", "").split()):
            self.loaded.add(values.get("href", ""))
        for name in LOADS & values.keys():
            self.loaded |= {part.split()[0] for part in values[name].split(",") if part.split()}
        self.loaded |= urls(values.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self.inside:
            self.loaded |= urls(data)
        if not self.inside:
            self.prose.append(data)


def urls(style: str) -> set[str]:
    """Return the files that a style sheet names."""
    return {one or other for one, other in URL.findall(style)}


def is_remote(target: str) -> bool:
    parts = urlsplit(target)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def locate(target: str, origin: Path) -> Path:
    """Return the file that a link on a page leads to."""
    path = unquote(urlsplit(target).path)
    return (origin.parent / path).resolve() if path else origin


def check_links(pages: dict[Path, Page], root: Path) -> list[str]:
    wrong = []
    for path, page in pages.items():
        for target in sorted(page.links):
            if is_remote(target) or target.startswith(("mailto:", "data:")):
                continue
            there, anchor = locate(target, path), unquote(urlsplit(target).fragment)
            if not there.is_file() or not there.is_relative_to(root):
                wrong.append(f"{path.relative_to(root)}: {target} leads nowhere")
            elif anchor and there in pages and anchor not in pages[there].anchors:
                wrong.append(f"{path.relative_to(root)}: {target} has no such anchor")
    return wrong


def requests(path: Path, page: Page) -> tuple[set[str], set[Path]]:
    """Return the remote and the local files that a page loads, those of style sheets too."""
    remote = {target for target in page.loaded if is_remote(target)}
    local = {locate(t, path) for t in page.loaded - remote if t and not t.startswith("data:")}
    for sheet in [file for file in local if file.suffix == ".css" and file.exists()]:
        named = urls(sheet.read_text(encoding="utf-8"))
        remote |= {target for target in named if is_remote(target)}
        local |= {locate(t, sheet) for t in named if not is_remote(t) and not t.startswith("data:")}
    return remote, local


def check_requests(pages: dict[Path, Page], root: Path) -> list[str]:
    wrong, heaviest = [], (0, "")
    for path, page in pages.items():
        name = str(path.relative_to(root))
        remote, local = requests(path, page)
        wrong += [f"{name} loads {target}" for target in sorted(remote)]
        wrong += [f"{name} loads {file}, which is missing" for file in local if not file.exists()]
        files = [file for file in local if file.exists() and file.suffix not in PICTURES]
        weight = path.stat().st_size + sum(file.stat().st_size for file in files)
        heaviest = max(heaviest, (weight, name))
        if weight > LIMIT:
            wrong.append(f"{name} weighs {weight:,} bytes without pictures, of at most {LIMIT:,}")
    print(
        f"{len(pages)} pages; the heaviest without pictures: {heaviest[1]}, {heaviest[0]:,} bytes"
    )
    return wrong


def documented_names(root: Path) -> set[str]:
    """Return the Python names in the inventory that Sphinx writes beside the pages."""
    content = (root / "objects.inv").read_bytes().split(b"\n", 4)[4]
    entries = (line.split(" ") for line in zlib.decompress(content).decode().splitlines())
    return {name for name, kind, *_ in entries if kind.startswith("py:")}


def check_names(root: Path) -> list[str]:
    """Find public names that no page documents; two names of one object need one entry."""
    documented = documented_names(root)
    objects = [
        (f"{prefix}.{name}", getattr(module, name))
        for prefix, module in MODULES.items()
        for name in [*module.__all__, *getattr(module, "_LAZY", ())]
        if not inspect.ismodule(getattr(module, name))
    ]
    known = {id(thing) for name, thing in objects if name in documented}
    return [f"{name} is not documented" for name, thing in objects if id(thing) not in known]


def check_formulas(pages: dict[Path, Page], root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)} shows {match[0]!r} where a formula should be"
        for path, page in pages.items()
        if (match := UNRENDERED.search("".join(page.prose)))
    ]


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    pages = {path: Page(path) for path in sorted(root.rglob("*.html"))}
    wrong = check_links(pages, root) + check_requests(pages, root)
    wrong += check_names(root) + check_formulas(pages, root)
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
