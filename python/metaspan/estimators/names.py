r"""The table of estimators by name; a module is imported when its estimator is first used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from .._support import check
from ..solved_methods import AltGDmin
from .estimator import Estimator

# The keys are the names that `fit` accepts; the values are module and class.
CLASSES = {
    "moments": ("spectral", "Moments"),
    "duchi": ("spectral", "Duchi"),
    "split-spectral": ("spectral", "SplitSpectral"),
    "burer-monteiro": ("burer_monteiro", "BurerMonteiro"),
    "altmin": ("alternating", "AltMin"),
    "altmin-gd": ("alternating", "AltMinGD"),
    "trace-norm": ("trace_norm", "TraceNorm"),
    "meta-sp": ("subspace_pursuit", "SubspacePursuit"),
    "reduced-rank": ("reduced_rank", "ReducedRank"),
    "oracle": ("reference_lines", "Oracle"),
    "single-task": ("reference_lines", "SingleTask"),
    "pooled": ("reference_lines", "Pooled"),
}
# "altgdmin" is a method of `train` too. Here it starts at a spectral estimate.
NAMES = (*CLASSES, "altgdmin")
KINDS = {kind: name for name, (_, kind) in CLASSES.items()}


def class_of(name: str) -> type[Any]:
    """Return the class of an estimator by the estimator's name."""
    if name == "altgdmin":
        return AltGDmin
    module, kind = CLASSES[name]
    estimator: type[Any] = getattr(import_module(f".{module}", __package__), kind)
    return estimator


def is_estimator(value: object) -> bool:
    """Return whether a value is an estimator of the package; `AltGDmin` is not counted as one."""
    kind = type(value)
    name = KINDS.get(kind.__name__)
    return name is not None and kind is class_of(name)


def resolve_estimator(estimator: object, options: Mapping[str, Any]) -> Estimator | AltGDmin:
    """Return an estimator; it is given as an object, or by name with options as keywords.

    Raises TypeError if the estimator is of another kind or a keyword is not one of its options, and
    ValueError if the name is unknown or an option is out of range.
    """
    if isinstance(estimator, AltGDmin) or is_estimator(estimator):
        for name in options:
            raise TypeError(
                f"unknown keyword {name!r}: options are keywords only where the estimator is given "
                "by its name"
            )
        return estimator  # type: ignore[return-value]
    if not isinstance(estimator, str):
        raise TypeError(
            "estimator must be an estimator, such as Moments(), or a name "
            f"({', '.join(map(repr, NAMES))}); got {check.show(estimator)}"
        )
    kind = class_of(check.choice("estimator", estimator, NAMES))
    accepted = [field.name for field in fields(kind)]
    for name in options:
        if name not in accepted:
            takes = check.words(accepted, "and") if accepted else "no options"
            hint = check.meant(name, accepted)
            raise TypeError(f"unknown keyword {name!r}: {hint or f'{estimator!r} takes {takes}'}")
    made: Estimator = kind(**options)
    return made


def algorithm_of(estimator: Estimator | AltGDmin) -> Estimator:
    """Return the estimator itself, or for an `AltGDmin` the estimator that runs it."""
    if isinstance(estimator, AltGDmin):
        from .altgdmin import SpectralAltGDmin  # noqa: PLC0415  (imports solvers)

        return SpectralAltGDmin(method=estimator)
    return estimator
