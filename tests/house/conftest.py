"""Access to the files of the project, for tests that read them."""

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("cpp", "python", "tests", "bench", "examples", "docs", "packaging", ".ci", ".github")
TEXT = {
    *(".hpp", ".cpp", ".cu", ".cuh", ".h", ".cmake", ".py", ".pyi", ".md", ".txt"),
    *(".cff", ".json", ".toml", ".yaml", ".yml"),
}


# The project does not change during the tests, and many of them read all of it.
@cache
def files_of(patterns):
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(
        str(path.relative_to(ROOT).as_posix())
        for path in found
        if "__pycache__" not in path.parts and not any("_cache" in p for p in path.parts)
    )


@cache
def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree_of(path):
    return ast.parse(text_of(path), filename=path)


@cache
def modules_of_package():
    paths = files_of(("python/metaspan/**/*.py",))
    root = Path("python/metaspan")
    return {".".join(Path(p).relative_to(root).with_suffix("").parts): p for p in paths}


class House:
    """Reads the checkout; a path is given relative to its root, with forward slashes."""

    root = ROOT

    def files(self, *patterns):
        """Sorted paths that match any of the glob patterns."""
        return list(files_of(patterns))

    def text_files(self):
        """Every text file of the project."""
        patterns = ["*", *(f"{folder}/**/*" for folder in FOLDERS)]
        names = {".clang-format", ".clang-tidy", ".editorconfig", ".gitignore", "LICENSE"}
        return [
            path
            for path in self.files(*patterns)
            if Path(path).suffix in TEXT or path in names or path.startswith(".ci/")
        ]

    def text(self, path):
        return text_of(path)

    def tree(self, path):
        """The syntax tree of a file, shared by all tests: none of them changes it."""
        return tree_of(path)

    def cpp(self):
        return self.files("cpp/**/*.hpp", "cpp/**/*.cpp", "cpp/**/*.cu", "cpp/**/*.cuh")

    def python(self):
        """Modules of the package by name, such as `train` and `study.fits`."""
        return dict(modules_of_package())

    def code(self, path):
        """Return C++ without comments and with empty string literals; line numbers are kept."""
        text = re.sub(r'"(\\.|[^"\\\n])*"', '""', self.text(path))
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)
        return re.sub(r"//[^\n]*", "", text)

    def prose(self, path):
        """Comments and docstrings of a source, or a page, with every line in its place."""
        text = self.text(path)
        if path.endswith(".md"):
            return text
        if path.endswith((".hpp", ".cpp", ".cu", ".cuh", ".h")):
            return re.sub(r"^.*?(?://([^\n]*))?$", lambda m: m[1] or "", text, flags=re.MULTILINE)
        lines = [""] * (text.count("\n") + 1)
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            comment = token.type == tokenize.COMMENT
            if comment or (token.type == tokenize.STRING and '"""' in token.string):
                words = token.string.lstrip("# ") if comment else token.string
                for number, line in enumerate(words.split("\n"), start=token.start[0] - 1):
                    lines[number] += line
        return "\n".join(lines)


@pytest.fixture(scope="session")
def house():
    return House()
