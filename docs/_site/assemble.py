"""Assembles the source of the documentation site: `python docs/_site/assemble.py FOLDER`.

`FOLDER` gets the layout of the checkout: README.md, `examples` and `docs`, where Sphinx reads
`docs`. Pages are those of the checkout, with links that lead to pages of the site: a link to an
example leads to its page in the gallery. Pages for public names are written from `__all__`, in
the sections of docs/api.md.
"""

from __future__ import annotations

import ast
import inspect
import posixpath
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import metaspan as ms

ROOT = Path(__file__).resolve().parents[2]
PARTS = {name: getattr(ms, name) for name in ms.__all__}
MODULES = {"metaspan": ms} | {f"metaspan.{n}": m for n, m in PARTS.items() if inspect.ismodule(m)}
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
SPAN = re.compile(r"`([^`]+)`")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def site_path(target: str) -> str | None:
    """Return where the site has a file of the checkout, relative to `docs`; None: nowhere."""
    if target in PAGES:
        return PAGES[target]
    if target == "examples":
        return "gallery/index.rst"
    folder, _, name = target.partition("/")
    if folder == "examples" and name.endswith(".py"):
        return f"gallery/{name.removesuffix('.py')}.rst"
    return name if folder == "docs" else None


def with_site_links(text: str, folder: str) -> str:
    """Return a page of a folder of the checkout with the links of the site.

    A link whose text is the path of a page gets the title of the page as its text.
    """

    def link(match: re.Match[str]) -> str:
        mark, words, target, anchor = match[1], match[2], match[3], match[4] or ""
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        path = site_path(posixpath.normpath(posixpath.join(folder, target)))
        if path is None:
            return words
        if words == target and path.endswith(".md"):
            words = ""
        return f"{mark}[{words}]({path}{anchor})"

    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in parts)


def write(path: Path, text: str) -> None:
    """Write a file; one that is the same keeps its time, and Sphinx does not read it again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def write_pages(out: Path) -> None:
    """Write the Markdown pages, the figures and what Sphinx needs to read them."""
    for path in (ROOT / "docs").glob("*.md"):
        text = with_site_links(path.read_text(encoding="utf-8"), "docs")
        text = with_reference_links(text) if path.name == "api.md" else text
        write(out / "docs" / path.name, text)
    for name, page in PAGES.items():
        text = with_site_links((ROOT / name).read_text(encoding="utf-8"), "")
        write(out / (name if name == "README.md" else f"docs/{page}"), text)
    shutil.copy2(ROOT / "docs/conf.py", out / "docs")
    for folder in ("figures", "_site"):
        shutil.copytree(ROOT / "docs" / folder, out / "docs" / folder, dirs_exist_ok=True)


def with_title(text: str, name: str) -> str:
    """Return an example whose docstring begins with a title, its first sentence.

    An example that runs in its quick form says so on its page.
    """
    module = ast.parse(text)
    words = ast.get_docstring(module)
    if not words:
        sys.exit(f"examples/{name} must begin with a docstring")
    title, _, rest = words.partition("\n\n")
    title = " ".join(title.split())
    if re.search(r"\n[=-]{3,}$", words.partition("\n\n")[0]):
        title = words.partition("\n")[0]
    page = f"{title.removesuffix('.')}\n{'=' * len(title)}\n\n{rest}\n"
    if '"--quick"' in text:
        page += f"\nThis page shows what `python examples/{name} --quick` prints.\n"
        if (ROOT / "docs/figures" / name.replace(".py", ".png")).exists():
            page += "The pictures are those of the full run.\n"
    code = "\n".join(text.splitlines()[module.body[0].end_lineno :])
    return f'r"""\n{page}"""\n{code}\n'


def write_examples(out: Path) -> None:
    """Write the examples as the gallery takes them."""
    ignored = shutil.ignore_patterns("*.py", "__pycache__")
    shutil.copytree(ROOT / "examples", out / "examples", ignore=ignored, dirs_exist_ok=True)
    for path in (ROOT / "examples").glob("*.py"):
        write(out / "examples" / path.name, with_title(path.read_text(encoding="utf-8"), path.name))
    header = "Examples\n========\n\nThe examples are scripts in the folder `examples`.\n"
    write(out / "examples/GALLERY_HEADER.rst", header)


def heading(title: str, mark: str) -> str:
    return f"{title}\n{mark * len(title)}\n"


def entry(module: ModuleType, name: str) -> str:
    """Return the directive that documents a public name from its docstring."""
    thing = getattr(module, name)
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return f".. autoexception:: {name}\n   :members:\n"
    if inspect.isclass(thing):
        bases = (cls for cls in thing.__mro__ if not cls.__module__.startswith("metaspan"))
        others = ", ".join(cls.__name__ for cls in bases)
        text = f".. autoclass:: {name}\n   :members:\n   :inherited-members: {others}\n"
        requests = [member for member in dir(thing) if re.fullmatch(r"set_\w+_request", member)]
        return text + (f"   :exclude-members: {', '.join(requests)}\n" if requests else "")
    return f".. autofunction:: {name}\n" if callable(thing) else f".. autodata:: {name}\n"


def sections(page: str, names: Iterable[str]) -> dict[str, list[str]]:
    """Return the public names by the headings of docs/api.md.

    A name belongs where it begins a row of a table or, if it begins none, where it first occurs.
    """
    left = list(names)
    titles = re.split(r"^## (.*)\n", page, flags=re.MULTILINE)[1:]
    texts = dict(zip(titles[::2], titles[1::2], strict=True))
    found: dict[str, list[str]] = {title: [] for title in texts}
    for pattern in (r"^\| ((?:[^|\\]|\\.)*)", r"(?s)(.*)"):
        for title, text in texts.items():
            cells = re.findall(pattern, text, flags=re.MULTILINE)
            spans = [span for cell in cells for span in SPAN.findall(cell)]
            for name in (f"metaspan.{re.match(r'[a-zA-Z_.]*', span)[0]}" for span in spans):
                if name in left:
                    left.remove(name)
                    found[title].append(name)
    if left:
        sys.exit(f"docs/api.md must name these public names: {', '.join(left)}")
    return found


def public_names() -> dict[str, tuple[ModuleType, str]]:
    """Return all public names with their modules.

    A submodule has names of its own, and an object with several names is documented under the
    first one.
    """
    names: dict[str, tuple[ModuleType, str]] = {}
    seen: set[int] = set()
    for prefix, module in MODULES.items():
        for name in [*module.__all__, *getattr(module, "_LAZY", ())]:
            thing = getattr(module, name)
            if not inspect.ismodule(thing) and id(thing) not in seen:
                seen.add(id(thing))
                names[f"{prefix}.{name}"] = module, name
    return names


def page_of(name: str, names: Iterable[str]) -> str:
    """Return the file name of a public name's page, which differs from others in more than case."""
    same = [other for other in names if other.lower() == name.lower()]
    return f"{name}-class" if len(same) > 1 and name == min(same) else name


def with_reference_links(text: str) -> str:
    """Return docs/api.md with links from the names that begin rows of its tables to their pages."""
    names = public_names()

    def link(match: re.Match[str]) -> str:
        full = f"metaspan.{re.match(r'[a-zA-Z_.]*', match[1])[0]}"
        page = f"reference/{page_of(full, names)}.rst"
        return f"[{match[0]}]({page})" if full in names else match[0]

    def row(match: re.Match[str]) -> str:
        return SPAN.sub(link, match[0])

    return re.sub(r"^\| (?:[^|\\]|\\.)*", row, text, flags=re.MULTILINE)


def write_reference(out: Path) -> None:
    """Write a page for every public name, and the list of them in the sections of docs/api.md."""
    names = public_names()
    parts = [heading("Reference", "="), "Every public name, from its docstring.\n"]
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    for title, of_title in sections(page, names).items():
        if of_title:
            rows = "".join(f"   {name}\n" for name in of_title)
            parts.append(f"{heading(title, '-')}\n.. autosummary::\n   :nosignatures:\n\n{rows}")
    pages = "".join(f"   {name} <{page_of(name, names)}>\n" for name in names)
    parts.append(f".. toctree::\n   :hidden:\n\n{pages}")
    write(out / "docs/reference/index.rst", "\n".join(parts))
    for full, (module, name) in names.items():
        prefix = full.rpartition(".")[0]
        text = f"{heading(full, '=')}\n.. currentmodule:: {prefix}\n\n{entry(module, name)}"
        write(out / f"docs/reference/{page_of(full, names)}.rst", text)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/_site/assemble.py FOLDER")
    out = Path(sys.argv[1])
    write_pages(out)
    write_examples(out)
    write_reference(out)


if __name__ == "__main__":
    main()
