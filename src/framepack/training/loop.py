"""The loop around training steps: chunks that are logged together, a time limit, one process or several.

Boundary: step numbers and clocks; knows neither models nor files.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from framepack.training.replicas import Replicas

LOG_EVERY = 20
"""Steps for each line of a log."""


class _Line(Protocol):
    @property
    def step(self) -> int: ...


Line = TypeVar("Line", bound=_Line)


def chunks(first: int, steps: int) -> Iterator[range]:
    """The step numbers from `first` on, in groups with one line of the log each."""
    for begin in range(first, steps, LOG_EVERY):
        yield range(begin, min(begin + LOG_EVERY, steps))


def run_loop(
    lines: Iterable[Line],
    replicas: Replicas,
    *,
    first: int,
    steps: int,
    seconds: float | None,
    on_line: Callable[[Line], None],
    save: Callable[[int, bool], None],
) -> int:
    """Take `lines` until the last step or the end of `seconds`; returns the number of steps done.

    The main process calls `on_line` for each, then `save` with the step and whether it is the last one of this call.
    """
    step, began = first, time.monotonic()
    for line in lines:
        step = line.step
        ends = replicas.broadcast(step == steps or (seconds is not None and time.monotonic() - began > seconds))
        if replicas.is_main:
            on_line(line)
            save(step, ends)
        if ends:
            break
    return step
