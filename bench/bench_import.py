"""Times `import metaspan` in a fresh interpreter, and `import numpy`, which is part of it."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.harness import Figure, Options, Timing, figure, side_by_side

TARGET = 0.3  # seconds
CODE = "import time; t = time.perf_counter(); import {0}; print(time.perf_counter() - t)"


def fresh(code: str) -> str:
    """Run code in a new interpreter; return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def run(options: Options) -> list[Figure]:
    modules = ("metaspan", "numpy")
    loaded = json.loads(fresh("import metaspan, sys, json; print(json.dumps(sorted(sys.modules)))"))
    heavy = {"matplotlib", "pandas", "scipy", "tqdm"} & set(loaded)
    assert not heavy, f"import metaspan also loads {sorted(heavy)}"

    inside: dict[str, list[float]] = {module: [] for module in modules}
    outside = side_by_side(
        {
            module: lambda module=module: inside[module].append(float(fresh(CODE.format(module))))
            for module in modules
        },
        3 * options.repeats,
    )
    figures = []
    for module in modules:
        # The new interpreter itself times the import: a time that is measured outside would include
        # the start of the interpreter.
        whole = outside[module]
        timing = Timing(
            seconds=tuple(inside[module]), load=whole.load, others=whole.others, quiet=whole.quiet
        )
        figures.append(
            figure(
                timing,
                timing.median,
                bench="import",
                case="a fresh interpreter, files in the page cache",
                who=module,
                unit="s",
                target=TARGET if module == "metaspan" else None,
            )
        )
    return figures
