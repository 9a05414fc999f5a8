r"""The bases of methods: their printed form, and the settings that several of them share."""

from __future__ import annotations

from dataclasses import Field, dataclass, fields
from typing import Any

from ._support import check
from .outer_step import OuterStep, check_step
from .privacy import UserDP

MOVES = ("head", "body", "both")

# Settings that the printed form of a method leaves out if they have their default values.
OPTIONS = (
    *("moves", "outer", "beta_head", "beta_alpha", "fresh_steps", "reduce", "step", "privacy"),
)


def fields_in_order(kind: type[Any]) -> list[Field[Any]]:
    """Return the fields of a method's class, with those that all methods share at the end."""
    return sorted(fields(kind), key=lambda field: field in fields(BaseMethod))


@dataclass(frozen=True, kw_only=True, repr=False)
class BaseMethod:
    """The base of all methods, whose printed form leaves out the options at their defaults."""

    step: OuterStep | None = None
    privacy: UserDP | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", check_step(self.step))
        if not (self.privacy is None or isinstance(self.privacy, UserDP)):
            raise TypeError(f"privacy must be a UserDP or None; got {check.show(self.privacy)}")
        if self.privacy is not None and self.step is not None and self.step.clip is not None:
            raise ValueError(f"step must have clip=None where privacy clips; got {self.step}")

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields_in_order(type(self))
            if field.name not in OPTIONS or getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _set_real(self, name: str, least: float = 0.0) -> None:
        object.__setattr__(self, name, check.real(name, getattr(self, name), least))

    def _set_inner_loop(self) -> None:
        """Check the number of inner steps, and whether the outer step differentiates them."""
        steps = check.integer("inner_steps", self.inner_steps, 0, 10_000)  # type: ignore[attr-defined]
        object.__setattr__(self, "inner_steps", steps)
        first_order = check.flag("first_order", self.first_order)  # type: ignore[attr-defined]
        object.__setattr__(self, "first_order", first_order)

    def _set_outer(self) -> None:
        """Check the settings of the outer step."""
        self._set_real("beta")
        check.choice("outer", self.outer, MOVES)  # type: ignore[attr-defined]
        self._set_beta_head()

    def _set_beta_head(self) -> None:
        """Check the step size of w, where the outer step moves w."""
        if self.beta_head is not None:  # type: ignore[attr-defined]
            self._set_real("beta_head")

    def _refuse_beta_head(self, reason: str) -> None:
        """Raise ValueError for a step size of w, which the outer step does not move."""
        if self.beta_head is not None:  # type: ignore[attr-defined]
            self._set_real("beta_head")
            raise ValueError(
                f"beta_head must be None for {type(self).__name__}, {reason}; "
                f"got {self.beta_head:g}"  # type: ignore[attr-defined]
            )


@dataclass(frozen=True, kw_only=True, repr=False)
class Adaptive(BaseMethod):
    """The settings of methods with an inner loop of gradient steps: ANIL and MAML."""

    alpha: float = 0.1
    beta: float = 0.1
    inner_steps: int = 1
    first_order: bool = False
    outer: str = "both"
    beta_head: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_real("alpha")
        self._set_outer()
        self._set_inner_loop()
