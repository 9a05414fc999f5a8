r"""Benchmarks: the speed of the package, next to its peers and to the limits of the machine.

::

    python -m bench                        # everything, then a table
    python -m bench population-small import --json figures.jsonl
    python -m bench arrays                 # every part whose name begins with arrays
    python -m bench --quick                # fewer repeats, shorter runs: a check of the benches
    python -m bench.render figures.jsonl docs  # docs/bench.md and its drawings

Run it from the root of the repository, with the package installed. Each bench asserts its answer at
the size that it times. It runs in a process of its own, on as many cores as its figures are for.
Nothing here runs in the test suite.

The peers are optional; if one is missing, its rows say so::

    pip install torch --index-url https://download.pytorch.org/whl/cpu
    pip install jax

A figure is the median of at least seven samples (five if a call reads gigabytes, one or two if a
run takes seconds). Samples alternate with those of the peers. The spread is the distance between
the quartiles over the median. `load` is the load average when the figure was taken, and `others` is
the number of cores that other processes used meanwhile. Samples that were disturbed are taken
again; if the disturbance lasts, the figure is marked with an exclamation mark. A value marked with
`~` is extrapolated from a part of a round, as its note says. `x floor` and `x ours` are multiples
of the least time that the machine allows and of the time that the package took in the same run.
"""
