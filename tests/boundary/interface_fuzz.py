"""Fuzz the public interface: python interface_fuzz.py PART PARTS EXAMPLES [SECONDS].

A call must return what it documents, or raise TypeError, ValueError or MemoryError with one
sentence that names an argument. This process checks the calls whose number modulo PARTS is PART.
Without SECONDS, hypothesis draws EXAMPLES changes of the arguments of each call. With SECONDS,
every value is tried for every argument, and then random pairs until the time is over.
"""

import faulthandler
import itertools
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import metaspan as ms
from boundary import interface_calls as calls
from metaspan._support import check as _check

ROOM = 2**30  # bytes that one call may take
PATIENCE = 30  # seconds for one call
DEPTHS = re.compile(
    r"incompatible (function|constructor)|object has no attribute|unsupported operand"
)


class Wrong(Exception):
    """What a call did that it must not do."""


def late(number, frame):
    raise Wrong(f"took more than {PATIENCE} s")


def tried(name, changes):
    """One call with some arguments exchanged."""
    call = calls.CALLS[name]
    signal.alarm(PATIENCE)
    faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)  # where no signal comes through
    try:
        found = call(**changes)
    except (TypeError, ValueError) as error:
        check_sentence(call, changes, error)
    except (MemoryError, ms.Diverged):
        pass
    except OSError:
        if not set(changes).intersection(calls.PATHS):
            raise
    else:
        if not isinstance(found, call.returns):
            raise Wrong(f"gave {type(found)}")
        if isinstance(found, calls.ProcessPoolExecutor):
            found.shutdown()
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        close_figures()


def close_figures():
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def check_sentence(call, changes, error):
    """Checks the kind of an error, and its sentence."""
    sentence = str(error)
    if type(error) not in (TypeError, ValueError):
        raise Wrong(f"raised {error!r}") from error
    if "\n" in sentence or len(sentence) > 500 or re.search(r"\.\s+[A-Z]", sentence):
        raise Wrong(f"says {sentence[:300]!r}") from error
    names = "|".join([*call.given, *changes, *call.words, "keyword"])
    deep = DEPTHS.search(sentence) and " of cell " not in sentence  # where expressions say why
    if deep or not re.search(rf"(?<![a-zA-Z])({names})(?![a-zA-Z])", sentence):
        raise Wrong(f"says {sentence[:300]!r}, which names no argument") from error


def main(part, parts, examples, seconds=None):
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", category=ms.DivergenceWarning)
    warnings.filterwarnings("ignore", "theory.error_floor is deprecated", DeprecationWarning)
    signal.signal(signal.SIGALRM, late)
    names = list(calls.CALLS)[int(part) :: int(parts)]
    os.chdir(tempfile.mkdtemp())
    status = Path("/proc/self/status").read_text()
    size = 1024 * int(status.split("VmSize:")[1].split()[0])
    if "TSAN_OPTIONS" not in os.environ:  # which starts no process under a limit
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    if seconds is None:
        for name in names:
            drawn(name, int(examples))
        print(json.dumps({"calls": len(names) * int(examples), "wrong": []}))
    else:
        print(json.dumps(swept(names, float(seconds))))


def drawn(name, examples):
    """Calls with one or two arguments exchanged, as hypothesis draws them."""
    call = calls.CALLS[name]
    pairs = [(a, st.sampled_from(calls.values_for(call, a))) for a in call.given]

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data):
        chosen = (
            data.draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=2)) if pairs else []
        )
        tried(name, {a: data.draw(values) for a, values in chosen})

    check()


def swept(names, seconds):
    """Every value for every argument, then pairs, until the time is over; what went wrong."""
    end, count, wrong = time.monotonic() + seconds, 0, {}
    singles = (
        (name, {argument: value})
        for name in names
        for argument in calls.CALLS[name].given
        for value in calls.values_for(calls.CALLS[name], argument)
    )
    for name, changes in itertools.chain(singles, pairs_of(names)):
        if time.monotonic() > end:
            break
        count += 1
        if os.environ.get("TELL"):
            print(name, str(changes)[:200].replace(chr(10), " "), file=sys.stderr, flush=True)
        try:
            tried(name, changes)
        except BaseException as error:
            shown = ", ".join(f"{a}={_check.show(value)}" for a, value in changes.items())
            said = f"{type(error).__name__}: {str(error)[:150]}"
            kind = name, *sorted(changes), said[:30]
            if kind not in wrong:
                wrong[kind] = f"{name}({shown}): {said}"
    return {"calls": count, "wrong": list(wrong.values())}


def pairs_of(names):
    rng = random.Random(0)
    names = [name for name in names if calls.CALLS[name].given]
    while True:
        name = rng.choice(names)
        call = calls.CALLS[name]
        chosen = rng.sample(list(call.given), min(2, len(call.given)))
        yield name, {a: rng.choice(calls.values_for(call, a)) for a in chosen}


if __name__ == "__main__":
    main(*sys.argv[1:])
