r"""Benchmarks: the speed of the package, compared with its peers and the limits of the machine.

::

    python -m bench                        # everything, then a table
    python -m bench population-small import --json figures.jsonl
    python -m bench arrays                 # every part whose name begins with arrays
    python -m bench --quick                # fewer repeats, shorter runs: a check of the benches
    python -m bench.render figures.jsonl docs  # docs/bench.md and its drawings

Run these commands from the root of the repository, with the package installed. Each bench asserts
the result of a computation at the size at which it times the computation. A bench runs in a
separate process, on the number of cores that its figures state. The test suite runs none of the
benches.

The peers are optional. If a peer is not installed, its rows say so. Install them with::

    pip install torch --index-url https://download.pytorch.org/whl/cpu
    pip install jax

A figure is the median of at least seven samples (five if a call reads gigabytes, three if it takes
more than a second, one to three if a run takes seconds). Samples of the package and of the peers
alternate. The spread is the distance between the quartiles, divided by the median. `load` is the
load average at the end of the samples, and `others` is the number of cores that other processes
used during the samples. A sample that other processes disturbed is taken again; if the disturbance
lasts, the figure is marked with an exclamation mark. A value marked with `~` is extrapolated from a
part of a round, and has a note that says so. `x floor` gives the figure as a multiple of the least
time that the machine allows, and `x ours` as a multiple of the time that the package took in the
same run.
"""
