"""Times studies: the overhead of a cell, the gain by a second process, the time to open a study.

The peer is a loop over `train`, which a user would write instead of a study; the loop stores
nothing.
"""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path

import metaspan as ms
from bench.harness import Figure, Options, Seconds, figure, long_calls, relative, side_by_side

CELL_TARGET = 2e-3  # seconds
OPEN_TARGET = 10.0  # seconds
TWO_TARGET = 1.8
TRIVIAL = {"method": "anil", "k": 1, "rounds": 2, "stop": None}


def trivial(folder: Path, cells: int) -> ms.Study:
    """Make a study whose runs take hardly any time."""
    grid = {
        "d": range(10, 10 + cells // 100),
        "n": range(2, 12),
        "beta": ms.log_range(0.1, 0.2, 10),
    }
    return ms.Study(folder, base=TRIVIAL, grid=grid, measure=("dist", "w_norm"))


def bare(study: ms.Study) -> float:
    """Do the runs of a study in a loop over `train`; return the sum of their final dist."""
    total = 0.0
    for cell in study.cells:
        d, n, beta, seed = (cell.arguments[name] for name in ("d", "n", "beta", "seed"))
        tasks, method = ms.LinearTasks(d=d, k=1), ms.ANIL(beta=beta)
        r = ms.train(
            tasks, method, n=n, rounds=2, stop=None, record=("dist", "w_norm"), seed=seed, threads=1
        )
        total += float(r.trace["dist"][-1])
    return total


def overhead(options: Options) -> list[Figure]:
    """Time a cell whose runs are trivial, in a study and in a loop."""
    cells = options.rounds(10_000)
    sums: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        numbers = count()

        def of_study() -> None:
            study = trivial(Path(folder) / str(next(numbers)), cells)
            study.run(progress=False, threads=1)
            sums["study"] = float(study.table()["dist"].sum())

        def of_loop() -> None:
            sums["loop"] = bare(trivial(Path(folder) / "loop", cells))

        timings = side_by_side({"metaspan, a study": of_study, "a loop over train": of_loop}, 3)
    assert relative(sums["study"], sums["loop"]) < 1e-12
    return [
        figure(
            timing,
            timing.median / cells,
            bench="studies",
            case=f"{cells} trivial cells, one process",
            who=who,
            unit="s a cell",
            target=CELL_TARGET if "study" in who else None,
            note="expanding the grid and reading the table included" if "study" in who else "",
        )
        for who, timing in timings.items()
    ]


def processes(options: Options) -> list[Figure]:
    """Compare one worker process with two; the time to start processes is not included."""
    base = {"method": "maml", "k": 5, "n": 20, "rounds": options.rounds(10_000), "stop": None}
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        numbers = count()

        def timed(workers: int) -> Seconds:
            path = Path(folder) / str(next(numbers))
            study = ms.Study(path, base=base, grid={"d": range(10, 50)}, seeds=2)
            with ms.process_pool(workers) as pool:
                list(pool.map(abs, range(4 * workers)))  # wait until every worker has started
                took = long_calls(lambda: study.run(pool, progress=False), 1)[1].median
            tables[workers] = study.table()
            return Seconds(took)

        timings = side_by_side({f"{n}": lambda n=n: timed(n) for n in (1, 2)}, 3)
    assert tables[1].equals(tables[2])
    single, double = timings["1"], timings["2"]
    return [
        figure(
            double,
            single.median / double.median,
            bench="studies",
            case="80 runs of exact MAML, one thread each",
            who="one worker / two workers",
            unit="x",
            more_is_better=True,
            target=TWO_TARGET,
            note=f"two workers: {double.median:.2g} s",
        )
    ]


def opening(options: Options) -> list[Figure]:
    """Time the way from the folder of a large study to its report."""
    cells = options.rounds(100_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large"
        trivial(path, cells).run(progress=False, threads=1)

        def report() -> None:
            study = ms.Study(path)
            study.report(path / "report.html")
            assert study.status().complete

        _, timing = long_calls(report, 3)
    return [
        figure(
            timing,
            timing.median,
            bench="studies",
            case=f"{cells} cells with a row each",
            who="metaspan, from the folder to the report",
            unit="s",
            target=OPEN_TARGET,
        )
    ]
