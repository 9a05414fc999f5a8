"""The choice of the instruction-set level to load."""

import pytest

from metaspan._load import LEVELS, choose_level

BUILT = ("x86-64-v2", "x86-64-v3", "x86-64-v4")


def up_to(level):
    """A CPU that runs levels up to this one."""
    return lambda other: LEVELS.index(other) <= LEVELS.index(level)


@pytest.mark.parametrize("wanted", [None, "", "auto"])
@pytest.mark.parametrize("cpu", BUILT)
def test_without_a_wish_the_highest_level_that_runs_is_taken(wanted, cpu):
    assert choose_level(wanted, BUILT, up_to(cpu)) == cpu
    assert choose_level(wanted, ("x86-64-v2",), up_to(cpu)) == "x86-64-v2"


@pytest.mark.parametrize("wanted", BUILT)
def test_a_wish_is_followed(wanted):
    assert choose_level(wanted, BUILT, up_to("x86-64-v4")) == wanted


@pytest.mark.parametrize("level", ["native", "baseline"])
def test_levels_without_a_choice_are_taken(level):
    assert choose_level(None, (level,), lambda _: True) == level
    assert choose_level(level, (level,), lambda _: True) == level


@pytest.mark.parametrize(
    ("wanted", "built", "cpu", "expected"),
    [
        (
            "avx2",
            BUILT,
            "x86-64-v4",
            "METASPAN_ISA must be one of auto, baseline, x86-64-v2, x86-64-v3, x86-64-v4, native; "
            "got 'avx2'",
        ),
        (
            "x86-64-v4",
            BUILT[:2],
            "x86-64-v4",
            "METASPAN_ISA must be a level that metaspan was built for, x86-64-v2, x86-64-v3; "
            "got 'x86-64-v4'",
        ),
        (
            "x86-64-v4",
            BUILT,
            "x86-64-v3",
            "METASPAN_ISA must be a level that this CPU supports, x86-64-v2, x86-64-v3 of those "
            "built; got 'x86-64-v4'",
        ),
        (
            "x86-64-v3",
            BUILT[1:],
            "x86-64-v2",
            "METASPAN_ISA must be a level that this CPU supports, none of those built; "
            "got 'x86-64-v3'",
        ),
    ],
)
def test_a_wish_that_cannot_be_followed_says_why(wanted, built, cpu, expected):
    with pytest.raises(ImportError) as caught:
        choose_level(wanted, built, up_to(cpu))
    assert str(caught.value) == expected


def test_a_cpu_that_runs_none_of_the_levels_is_told_how_to_go_on():
    with pytest.raises(ImportError) as caught:
        choose_level(None, BUILT[1:], up_to("x86-64-v2"))
    assert str(caught.value) == (
        "metaspan was built for x86-64-v3, x86-64-v4, which this CPU does not support: build it on "
        "this machine, by `pip install --force-reinstall --no-deps --no-cache-dir .` in the source "
        "folder, or for this and newer machines, by the same command with "
        "METASPAN_ISA='x86-64-v2;x86-64-v3;x86-64-v4' in the environment"
    )
