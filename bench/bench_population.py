"""Times training on population losses, as `ms.train` does it.

In every round, new heads are drawn and `dist` is recorded. Before a size is timed, its result is
checked: with the heads that the package drew, NumPy must reach the same state as the package. If
the dimension is small, PyTorch and JAX, which compute with B itself, must reach this state too. The
timed runs must finish. A long run must converge at the rate of (22), which shows that the heads
have the right distribution.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import metaspan as ms
from bench import peers
from bench.bench_import import fresh
from bench.harness import Figure, Options, absent, cpus, figure, relative, side_by_side

METHODS = ("fo-anil", "maml")
# With a small outer step size, no number in the longest run comes near the underflow of float64.
STEPS = peers.Steps(alpha=0.1, beta=0.01)
HUGE = 10**12

State = tuple[np.ndarray, np.ndarray, np.ndarray]  # M, R, w


def heads(tasks: ms.LinearTasks, n: int, rounds: int) -> np.ndarray:
    """Return the heads of the first `rounds` rounds of a run, (rounds, n, k)."""
    return np.stack([tasks.draw_heads(n, round=t) for t in range(rounds)])


def train(tasks: ms.LinearTasks, method: str, rounds: int, **rest: Any) -> ms.Result:
    """Train with a `dist` in every round and no stop rule; assert that the run finished."""
    steps = {"alpha": STEPS.alpha, "beta": STEPS.beta}
    result = ms.train(tasks, method, rounds=rounds, record=("dist",), stop=None, **steps, **rest)
    ends = {outcome.status for outcome in result.outcomes}
    assert ends == {ms.Status.FINISHED}, str(ends)
    return result


def what(who: str) -> str:
    """Describe what a round of the timed loop computes."""
    dist = "no dist" if who.endswith("no dist") else "dist in every round"
    if who.startswith("metaspan"):
        return f"fresh heads, {dist}"
    where = "in the coordinates of span(B_star, B)" if who.startswith("NumPy") else "on B itself"
    return f"fresh heads, {dist}, {where}"


# ------------------------------------------------------------------------------- small dimension


def small(options: Options) -> list[Figure]:
    """Time rounds of d = 20, n = k = 3 on one core, for the package and for every peer."""
    d, k, n = 20, 3, 3
    targets = {"fo-anil": 500_000.0, "maml": 250_000.0}
    lengths = {"NumPy": 2_000, "JAX": 10_000, "PyTorch": 100}
    rng = np.random.default_rng(3)
    B_star, start = (np.linalg.qr(rng.standard_normal((d, k)))[0] for _ in range(2))
    problem = peers.Population(B=start / math.sqrt(STEPS.alpha), w=np.zeros(k), B_star=B_star, n=n)
    installed, missing = peers.load()
    figures = []
    for method in METHODS:
        _assert_same_descent(problem, method, installed)
        rounds = {"metaspan": options.rounds(50_000)}
        ours = partial(
            train,
            ms.LinearTasks(d=d, k=k, B_star=B_star),
            method,
            rounds["metaspan"],
            n=n,
            init=(problem.B, problem.w),
            threads=1,
        )
        _assert_rate(ours())
        calls: dict[str, Callable[[], object]] = {"metaspan": ours}
        for peer in installed:
            for who, dist in ((peer.name, True), (f"{peer.name}, no dist", False)):
                rounds[who] = options.rounds(lengths[peer.name])
                calls[who] = peer.train(
                    problem, peers.RULES[method], STEPS, rounds=rounds[who], dist=dist
                )
        about = {
            "bench": "population",
            "case": f"{method}, d={d} n=k={n}, cores: {len(cpus())}",
            "unit": "rounds/s",
            "more_is_better": True,
        }
        figures += [
            figure(
                timing,
                rounds[who] / timing.median,
                who=who,
                target=targets[method] if who == "metaspan" else None,
                note=what(who),
                **about,
            )
            for who, timing in side_by_side(calls, options.repeats).items()
        ]
        figures += absent(missing, **about)
    return figures


def _assert_same_descent(
    problem: peers.Population, method: str, installed: list[peers.Peer]
) -> None:
    """Assert that, from one start and with one set of heads, the package and its peers agree."""
    rounds = 300
    d, k = problem.B_star.shape
    tasks = ms.LinearTasks(d=d, k=k, B_star=problem.B_star)
    ours = train(tasks, method, rounds, n=problem.n, init=(problem.B, problem.w))
    drawn = heads(tasks, problem.n, rounds)
    for peer in installed:
        theirs = peer.train(problem, peers.RULES[method], STEPS, rounds=rounds, heads=drawn)()
        off = {
            "B": relative(ours.B, theirs.B),
            "w": relative(ours.w, theirs.w),
            "dist": relative(ours.trace["dist"][:-1], theirs.dist),
        }
        assert max(off.values()) < 1e-10, f"{method}: metaspan and {peer.name} differ by {off}"


def _assert_rate(result: ms.Result) -> None:
    r"""Assert that, for heads N(0, I), log dist at the end falls by -log(1 - alpha beta) a round.

    The mean decrease over T rounds of n heads has a relative standard deviation of sqrt(2 / (n T)),
    which is below 1 % here.
    """
    dist = result.trace["dist"]
    half = len(dist) // 2
    if dist[half] > 1e-2:  # a short run ends before dist decreases
        return
    rate = math.log(dist[half] / dist[-1]) / (len(dist) - 1 - half)
    expected = -math.log1p(-STEPS.alpha * STEPS.beta)
    assert abs(rate / expected - 1) < 0.05, f"rate {rate:.3e}, expected {expected:.3e}"


# ------------------------------------------------------------------------------------ many trials


def trials(options: Options) -> list[Figure]:
    """Time 1,000 trials of d = 20, n = k = 3 on one core: in one call, and one after the other."""
    tasks, count = ms.LinearTasks(d=20, k=3), 1000
    together, alone = options.rounds(2000), options.rounds(20_000)
    figures = []
    for method in METHODS:
        run = partial(train, tasks, method, n=3, threads=1)
        many = run(100, trials=count)
        for trial in (0, 7, count - 1):  # a trial has the same bits in a call of its own
            dist = run(100, trials=range(trial, trial + 1)).trace["dist"]
            np.testing.assert_array_equal(dist, many.trace["dist"][trial])
        calls: dict[str, Callable[[], object]] = {
            "metaspan, together": partial(run, together, trials=count),
            "metaspan, one trial": partial(run, alone),
        }
        rounds = {"metaspan, together": together * count, "metaspan, one trial": alone}
        timings = side_by_side(calls, options.repeats)
        rates = {who: rounds[who] / timing.median for who, timing in timings.items()}
        figures += [
            figure(
                timing,
                rates[who],
                bench="population",
                case=f"{method}, {count} trials of d=20 n=k=3, cores: {len(cpus())}",
                who=who,
                unit="rounds/s",
                more_is_better=True,
                target=4 * rates["metaspan, one trial"] if "together" in who else None,
                note="fresh heads, dist in every round, rounds of all trials",
            )
            for who, timing in timings.items()
        ]
    return figures


# ------------------------------------------------------------------------------- large dimension


def large(options: Options) -> list[Figure]:
    """Time rounds of (d, k, n) = (10^6, 20, 1000) and of d = 10^12 on two cores."""
    d, k, n = 10**6, 20, 1000
    targets = {"fo-anil": 0.35, "maml": 1.0}  # ms
    dimensions = {"metaspan": d, "metaspan, d=10^12": HUGE}
    figures = []
    for method in METHODS:
        rounds = {"NumPy": options.rounds(200)}
        calls: dict[str, Callable[[], object]] = {
            "NumPy": partial(
                peers.descend,
                _start(ms.LinearTasks(d=d, k=k), n),
                peers.RULES[method],
                STEPS,
                n=n,
                rounds=rounds["NumPy"],
            )
        }
        for who, dimension in dimensions.items():
            _assert_same_coordinates(dimension, k, n, method)
            rounds[who] = options.rounds(500)
            calls[who] = partial(train, ms.LinearTasks(d=dimension, k=k), method, rounds[who], n=n)
        about = {
            "bench": "population",
            "case": f"{method}, d=10^6 k={k} n={n}, cores: {len(cpus())}",
            "unit": "ms/round",
        }
        figures += [
            figure(
                timing,
                timing.median / rounds[who] * 1e3,
                who=who,
                target=targets[method] if who in dimensions else None,
                note=what(who),
                **about,
            )
            for who, timing in side_by_side(calls, options.repeats).items()
        ]
        if options.full:
            figures += _parts_of_a_round((d, k, n), method, options, about)
    return figures


def _start(tasks: ms.LinearTasks, n: int, **rest: Any) -> State:
    """Return the start of a run of the package, in coordinates."""
    return train(tasks, "fo-anil", 0, n=n, **rest).state


def _assert_same_coordinates(d: int, k: int, n: int, method: str) -> None:
    """Assert that NumPy, from the package's start and heads, finds the same M, R, w and dist."""
    rounds = 20
    tasks = ms.LinearTasks(d=d, k=k)
    # The start is not at alpha B^T B = I, because there all digits of the first gradient with
    # respect to w cancel.
    init = ms.Init(dist=0.7, scale=2.5)
    ours = train(tasks, method, rounds, n=n, init=init)
    state, dist = peers.descend(
        _start(tasks, n, init=init),
        peers.RULES[method],
        STEPS,
        n=n,
        rounds=rounds,
        heads=heads(tasks, n, rounds),
    )
    off = dict(zip("MRw", map(relative, ours.state, state), strict=True))
    off["dist"] = relative(ours.trace["dist"][:-1], dist)
    assert max(off.values()) < 1e-10, f"{method}, d={d}: metaspan and NumPy differ by {off}"


def _parts_of_a_round(
    size: tuple[int, int, int], method: str, options: Options, about: dict[str, Any]
) -> list[Figure]:
    """Time PyTorch and JAX on B itself: time the gradients of a few tasks, and extrapolate to n."""
    d, k, n = size
    few = {"fo-anil": 40, "maml": 4}[method]
    rng = np.random.default_rng(5)
    problem = peers.Population(
        B=rng.standard_normal((d, k)) / math.sqrt(d * STEPS.alpha),
        w=rng.standard_normal(k),
        B_star=rng.standard_normal((d, k)) / math.sqrt(d),
        n=n,
    )
    some = rng.standard_normal((few, k))
    installed, missing = peers.load()
    calls = {
        peer.name: peer.task_gradients(problem, some, peers.RULES[method], STEPS.alpha)
        for peer in installed
        if peer.task_gradients is not None
    }
    gradients = [call() for call in calls.values()]
    for other in gradients[1:]:
        assert max(map(relative, other, gradients[0])) < 1e-10, (
            f"{method}: the peers differ at d={d}"
        )
    return [
        figure(
            timing,
            timing.median * n / few * 1e3,
            who=who,
            estimated=True,
            note=f"{few} of {n} tasks on B itself, times {n // few}; no heads drawn, no dist",
            **about,
        )
        for who, timing in side_by_side(calls, options.repeats).items()
    ] + absent(missing, **about)


# ----------------------------------------------------------------------------------------- memory

# The high-water mark of the process is read from /proc, because the mark of getrusage survives fork
# and exec: the child of a large process would start with the mark of its parent. On macOS, which
# has no /proc, the mark of getrusage is used, which counts bytes there.
MEMORY = """
import json, pathlib, resource, sys

def peak():
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return next(int(x.split()[1]) for x in status.open() if x.startswith("VmHWM:")) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

import metaspan as ms
before = peak()
tasks = ms.LinearTasks(d={d}, k=20)
r = ms.train(tasks, {method!r}, alpha=0.1, beta=0.01, rounds={rounds}, n=1000, stop=None)
assert r.status == ms.Status.FINISHED, str(r.status)
assert 0 < r.trace["dist"][-1] <= 1
print(json.dumps([before, peak()]))
"""


def memory(options: Options) -> list[Figure]:
    """Measure by how much a run at d = 10^12 raises the peak memory above that after the import."""
    figures = []
    for method in METHODS:
        rounds = options.rounds(1000)
        before, after = json.loads(fresh(MEMORY.format(d=HUGE, method=method, rounds=rounds)))
        figures.append(
            Figure(
                bench="population",
                case=f"{method}, d=10^12 k=20 n=1000, {rounds} rounds",
                who="metaspan",
                value=after - before,
                unit="MB",
                target=100.0,
                samples=1,
                note="peak memory of a process above its peak right after the import",
            )
        )
    return figures
