"""What to do when memory runs out: free and do the interrupted work again; only then give up a little speed for it.

    latents = ladder.climb("step", lambda effort: denoise(x, step, rows=effort.rows))

Every rung but `tiled` computes the same result, and that one is taken only with the caller's consent. A rung once taken
is kept for the phase until the work has gone well there for a while; then what was given up is tried again.
Boundary: knows errors and rungs; the work is a closure that can be called again.
"""

import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch

from framepack.memory.probe import cuda_is_short

T = TypeVar("T")
SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "Invalid buffer size",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
)
"""What out-of-memory errors say that are not of torch's own class for them (CPU, MPS, cuBLAS, cuDNN)."""
LIKELY_SIGNS = ("STATUS_NOT_INITIALIZED", "nable to find an engine")
"""What cuBLAS and cuDNN say where their own memory ran out, but also where a library is broken or the card unknown."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How to compute, on one rung. Each field is a knob that a phase may heed."""

    rung: str
    resident: float = 1.0
    """Share of the room for blocks that blocks may stay in; 0 streams all of them."""
    rows: int | None = None
    """Tokens at a time in the transformer's MLPs."""
    tiled: bool = False
    """Decode and encode in spatial tiles, which changes the picture a little."""
    disk: bool = False
    """Pinned host buffers are given back where files hold the same weights."""


LADDER = (
    Effort(rung="as planned"),
    Effort(rung="fewer resident blocks", resident=0.5),
    Effort(rung="chunked", resident=0.5, rows=4096),
    Effort(rung="tiled", resident=0.5, rows=4096, tiled=True),
    Effort(rung="streamed", resident=0.0, rows=1024, tiled=True),
    Effort(rung="disk", resident=0.0, rows=1024, tiled=True, disk=True),
)
KNOBS = frozenset({"resident", "rows", "tiled", "disk"})


class MemoryExhaustedError(ValueError):
    """Memory ran out on the last rung; the message says where and what would help, so it is for the user to mend."""


@dataclass
class Footing:
    """Where on the ladder a phase is, and how it came there."""

    taken: list[int] = field(default_factory=lambda: [0])
    """Rungs, down to the present one."""
    patience: int = 1
    """Successes on a lower rung before the one above is tried again; doubled whenever memory runs out."""
    successes: int = 0

    def is_due(self) -> bool:
        """Whether the rung above is to be tried again."""
        return len(self.taken) > 1 and self.successes >= self.patience

    def go(self, taken: list[int]) -> None:
        """Go to another rung, and count anew."""
        self.taken, self.successes = taken, 0


class Ladder:
    """The rung each phase of the work is on."""

    def __init__(self, free: Callable[[Effort], None]) -> None:
        """free: gives back what it can before a phase is tried again with an effort."""
        self._free = free
        self._phases: dict[str, Footing] = {}
        self.current = LADDER[0]
        """The effort of the phase that is being tried."""
        self._news: list[str] = []

    def effort(self, phase: str) -> Effort:
        """The rung a phase is on."""
        return LADDER[self._at(phase).taken[-1]]

    def reset(self) -> None:
        """Back to the first rung in all phases."""
        self._phases.clear()
        self._news.clear()

    def news(self) -> list[str]:
        """The rungs taken since the last call, a sentence each."""
        said, self._news = self._news, []
        return said

    def climb(
        self,
        phase: str,
        work: Callable[[Effort], T],
        *,
        heeds: Collection[str] = KNOBS,
        consent: bool = False,
        advice: str = "",
    ) -> T:
        """Do the work; when memory runs out, free and do it again; where that is not enough, step down first.

        heeds: the knobs that mean something to this work; rungs that turn no other are passed over. consent: the result
        may change (`tiled`). advice: what the user could do when nothing is left to try. Raises MemoryExhaustedError
        below the last rung; other errors pass.
        """
        knobs = set(heeds) if consent else set(heeds) - {"tiled"}
        if unknown := knobs - KNOBS:
            raise ValueError(f"knobs are {', '.join(sorted(KNOBS))}; got {', '.join(sorted(unknown))}")
        footing = self._at(phase)
        known = footing.taken
        if trial := footing.is_due():
            footing.go(known[:-1])
        freed = False
        while (said := self._attempt(work, _heeded(self.effort(phase), knobs), done := [])) is not None:
            if trial:
                footing.go(known)
                footing.patience *= 2
            elif freed:
                self._step_down(phase, knobs, said, advice)
            trial, freed = False, True
            self._free(self.effort(phase))
        footing.successes += 1
        if trial and len(footing.taken) == 1:
            self._news.append(f"Memory suffices again: {phase} goes on as planned.")
        return done[0]

    def _attempt(self, work: Callable[[Effort], T], effort: Effort, done: list[T]) -> str | None:
        """Do the work into `done`; what the error said where memory ran out."""
        before, self.current = self.current, effort
        try:
            done.append(work(effort))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # their tensors are what must be freed
            return str(error)
        finally:
            self.current = before
        return None

    def _at(self, phase: str) -> Footing:
        return self._phases.setdefault(phase, Footing())

    def _step_down(self, phase: str, knobs: set[str], said: str, advice: str) -> None:
        footing, now = self._at(phase), self.effort(phase)
        for index in range(footing.taken[-1] + 1, len(LADDER)):
            if any(getattr(LADDER[index], knob) != getattr(now, knob) for knob in knobs):
                footing.go([*footing.taken, index])
                footing.patience *= 2
                seams = LADDER[index].tiled and "tiled" in knobs
                change = "the picture may change a little" if seams else "the result is the same"
                self._news.append(
                    f"Memory ran out in {phase}: it is done again with less ({LADDER[index].rung}); {change}."
                )
                return
        ways = (advice, "choose a smaller size or window", "close other programs that use the device")
        raise MemoryExhaustedError(
            f"memory ran out in {phase}, with all that may be done to save it ({now.rung}): "
            f"{', or '.join(way for way in ways if way)} ({said.splitlines()[0]})"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that device or host memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    said = str(error)
    return any(sign in said for sign in SIGNS) or (any(sign in said for sign in LIKELY_SIGNS) and cuda_is_short())


def _heeded(effort: Effort, knobs: set[str]) -> Effort:
    """The effort with the knobs that were not agreed to left alone."""
    plain = {knob: getattr(LADDER[0], knob) for knob in KNOBS - knobs}
    return replace(effort, **plain)
