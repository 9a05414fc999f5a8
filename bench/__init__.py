r"""Benchmarks: how fast the package is, beside other ways to do it and beside the machine's limits.

::

    python -m bench                        # everything, then a table
    python -m bench population-small import --json figures.jsonl
    python -m bench arrays                 # every part that begins so
    python -m bench --quick                # fewer repeats, shorter runs: a check of the benches
    python -m bench.render figures.jsonl docs  # docs/bench.md and its drawings

Run it from the root of the repository, with the package installed. Each bench asserts its answer at
the size that it times, and runs in a process of its own, on as many cores as its figures are for.
Nothing here runs in the test suite.

The peers are optional; without one of them its rows say so::

    pip install torch --index-url https://download.pytorch.org/whl/cpu
    pip install jax

A figure is the median of at least seven samples (five where a call reads gigabytes, one or two of a
run that takes seconds), taken in turn with those of its peers; the spread is the distance between
the quartiles over the median. `load` is the load average when the figure was taken and `others` the
cores that other processes used meanwhile: samples with busy neighbours are taken again, and where
they never leave, the figure is marked with an exclamation mark. A value marked with `~` is
extrapolated from a part of a round, as its note says. `x floor` and `x ours` are multiples of what
the machine allows at best and of what the package took in the same run.
"""
