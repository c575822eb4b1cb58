"""The parts of `framepack eval --control`, in the order they are measured: what makes their rows, what is wanted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from framepack.training.evaluate.control.bench import Bench, Measure, Row
from framepack.training.evaluate.control.guard import guard, guard_goals
from framepack.training.evaluate.control.nag import nag, nag_goals
from framepack.training.evaluate.control.reference import reference, reference_goals
from framepack.training.evaluate.control.takes import stills, stills_goals, takes, takes_goals
from framepack.training.evaluate.control.times import keyframes, keyframes_goals, prompts, prompts_goals
from framepack.training.evaluate.control.videos import (
    bridge,
    extend,
    lead_in,
    loop,
    mask,
    mask_goals,
    restyle,
    restyle_goals,
    seam_goals,
)
from framepack.training.evaluate.goals import Goal

Wanted = Callable[[Sequence[Row]], Iterator[Goal]]
PARTS: dict[str, tuple[Measure, Wanted]] = {
    "nag": (nag, nag_goals),
    "reference": (reference, reference_goals),
    "prompts": (prompts, prompts_goals),
    "keyframes": (keyframes, keyframes_goals),
    "extend": (extend, seam_goals),
    "lead-in": (lead_in, seam_goals),
    "bridge": (bridge, seam_goals),
    "loop": (loop, seam_goals),
    "restyle": (restyle, restyle_goals),
    "mask": (mask, mask_goals),
    "takes": (takes, takes_goals),
    "stills": (stills, stills_goals),
    "guard": (guard, guard_goals),
}
"""The guard's long videos come last."""


@dataclass(kw_only=True)
class Measured:
    """Rows so far, by part."""

    rows: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def goals(self) -> list[Goal]:
        """Of what was measured."""
        return [goal for part, rows in self.rows.items() for goal in PARTS[part][1](rows)]


def chosen(only: Sequence[str]) -> tuple[str, ...]:
    """The parts named, in their order; all where none is. ValueError for one there is not."""
    for name in only:
        if name not in PARTS:
            raise ValueError(f"a part of --control is one of {', '.join(PARTS)}, got {name!r}")
    return tuple(name for name in PARTS if name in only or not only)


def measure(bench: Bench, only: Sequence[str], into: Measured, on_row: Callable[[Row], None]) -> None:
    """Fill `into` part by part; `on_row` is called with each row at once."""
    for name in chosen(only):
        rows = into.rows.setdefault(name, [])
        for row in PARTS[name][0](bench):
            rows.append(row)
            on_row(row)
