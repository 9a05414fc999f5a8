"""Command line of the benchmarks; the docstring of the package describes it."""

from __future__ import annotations

import argparse
import json
import signal
import sys

from bench.harness import Figure, Options, table
from bench.isolate import Part, measure

PARTS = {
    "machine-one": Part("machine", "run", 1),
    "machine-two": Part("machine", "run", 2),
    "import": Part("bench_import", "run", 2),
    "isa": Part("bench_isa", "run", 1),
    "calls-one": Part("bench_calls", "run", 1),
    "calls-two": Part("bench_calls", "run", 2),
    "population-small": Part("bench_population", "small", 1),
    "population-large": Part("bench_population", "large", 2),
    "population-trials": Part("bench_population", "trials", 1),
    "population-memory": Part("bench_population", "memory", 2),
    "limit": Part("bench_limit", "run", 1),
    "arrays-small": Part("bench_arrays", "small", 2),
    "arrays-many": Part("bench_arrays", "many", 2),
    "arrays-middle": Part("bench_arrays", "middle", 2),
    "arrays-wide": Part("bench_arrays", "wide", 2),
    "arrays-large": Part("bench_arrays", "large", 2),
    "sparse-one": Part("bench_sparse", "run", 1),
    "sparse-two": Part("bench_sparse", "run", 2),
    "collapsed-one": Part("bench_collapsed", "rounds", 1),
    "collapsed-two": Part("bench_collapsed", "rounds", 2),
    "collapsed-scaling": Part("bench_collapsed", "scaling", 2),
    "collapsed-peers": Part("bench_collapsed", "beside", 2),
    "family-one": Part("bench_family", "run", 1),
    "sampled-one": Part("bench_sampled", "rounds", 1),
    "sampled-two": Part("bench_sampled", "rounds", 2),
    "sampled-peers": Part("bench_sampled", "beside", 2),
    "mpi": Part("bench_mpi", "run", 2),
    "neighbours": Part("bench_neighbours", "run", 2),
    "disk": Part("bench_disk", "run", 2),
    "estimators-arrays": Part("bench_estimator_sweeps", "arrays", 2),
    "estimators-made": Part("bench_estimator_sweeps", "made", 2),
    "estimators-one-step": Part("bench_estimators", "one_step", 2),
    "estimators-rounds": Part("bench_estimators", "rounds", 2),
    "estimate-one": Part("bench_estimate", "run", 1),
    "estimate-two": Part("bench_estimate", "run", 2),
    "people": Part("bench_people", "fit", 2),
    "estimators-law": Part("bench_estimators_law", "run", 2),
    "explore": Part("bench_explore", "run", 2),
    "studies-overhead": Part("bench_studies", "overhead", 1),
    "studies-processes": Part("bench_studies", "processes", 2),
    "studies-opening": Part("bench_studies", "opening", 2),
}


def select(names: list[str]) -> list[str]:
    """Select the parts whose names are given, or begin with one of the given names and a hyphen."""
    picked = [
        part
        for part in PARTS
        if not names or any(part == name or part.startswith(f"{name}-") for name in names)
    ]
    for name in names:
        if not any(part == name or part.startswith(f"{name}-") for part in picked):
            raise ValueError(f"no bench is called {name!r}; there are {', '.join(PARTS)}")
    return picked


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, shorter runs")
    parser.add_argument("--full", action="store_true", help="also the peers that take minutes")
    parser.add_argument("--json", metavar="FILE", help="append a line of JSON for each figure")
    arguments = parser.parse_args()
    options = Options(quick=arguments.quick, full=arguments.full)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # exiting also ends the running part
    figures: list[Figure] = []
    failed = False
    try:
        names = select(arguments.names)
    except ValueError as error:
        parser.error(str(error))
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            measured, about = measure(PARTS[name], options)
        except RuntimeError as error:
            print(f"{name} failed:\n{error}", file=sys.stderr)
            failed = True
            continue
        figures += measured
        if arguments.json:
            with open(arguments.json, "a", encoding="utf-8") as out:
                for item in measured:
                    line = {**item.record(), "quick": options.quick, **about}
                    print(json.dumps(line, default=str), file=out)
    print(table(figures))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
