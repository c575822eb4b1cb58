"""What to do when memory runs out: free and do the interrupted work again; only then give up a little speed for it.

    latents = fallbacks.retry_with_less_memory("step", lambda level: denoise(x, step, chunk_size=level.chunk_size))

Every level but `tiled` computes the same result, and that one is taken only where the caller allows it. A level once
taken is kept for the phase until the work has gone well there for a while; then what was given up is tried again.
Boundary: knows errors and levels; the work is a closure that can be called again.
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
class FallbackLevel:
    """How to compute, on one level. Each field is a fallback that a phase may support."""

    name: str
    resident: float = 1.0
    """Share of the room for blocks that blocks may stay in; 0 streams all of them."""
    chunk_size: int | None = None
    """Tokens at a time in the transformer's MLPs."""
    tiled: bool = False
    """Decode and encode in spatial tiles, which changes the picture a little."""
    disk: bool = False
    """Pinned host buffers are given back where files hold the same weights."""


LEVELS = (
    FallbackLevel(name="as planned"),
    FallbackLevel(name="fewer resident blocks", resident=0.5),
    FallbackLevel(name="chunked", resident=0.5, chunk_size=4096),
    FallbackLevel(name="tiled", resident=0.5, chunk_size=4096, tiled=True),
    FallbackLevel(name="streamed", resident=0.0, chunk_size=1024, tiled=True),
    FallbackLevel(name="disk", resident=0.0, chunk_size=1024, tiled=True, disk=True),
)
FALLBACKS = frozenset({"resident", "chunk_size", "tiled", "disk"})


class MemoryExhaustedError(ValueError):
    """Memory ran out on the last level; the message says where, and what the user can do."""


@dataclass
class Standing:
    """Where on the fallbacks a phase is, and how it came there."""

    taken: list[int] = field(default_factory=lambda: [0])
    """Rungs, down to the present one."""
    patience: int = 1
    """Successes on a lower level before the one above is tried again; doubled whenever memory runs out."""
    successes: int = 0

    def is_due(self) -> bool:
        """Whether the level above is to be tried again."""
        return len(self.taken) > 1 and self.successes >= self.patience

    def go(self, taken: list[int]) -> None:
        """Go to another level, and count anew."""
        self.taken, self.successes = taken, 0


class Fallbacks:
    """The level each phase of the work is on."""

    def __init__(self, free: Callable[[FallbackLevel], None]) -> None:
        """free: gives back what it can before a phase is tried again with an level."""
        self._free = free
        self._phases: dict[str, Standing] = {}
        self.current = LEVELS[0]
        """The level of the phase that is being tried."""
        self._notices: list[str] = []

    def level(self, phase: str) -> FallbackLevel:
        """The level a phase is on."""
        return LEVELS[self._at(phase).taken[-1]]

    def reset(self) -> None:
        """Back to the first level in all phases."""
        self._phases.clear()
        self._notices.clear()

    def notices(self) -> list[str]:
        """The levels taken since the last call, a sentence each."""
        said, self._notices = self._notices, []
        return said

    def retry_with_less_memory(
        self,
        phase: str,
        work: Callable[[FallbackLevel], T],
        *,
        supported: Collection[str] = FALLBACKS,
        allow_tiles: bool = False,
        advice: str = "",
    ) -> T:
        """Do the work; when memory runs out, free and do it again; where that is not enough, step down first.

        supported: the fallbacks that mean something to this work; levels that differ in no other are passed over.
        allow_tiles: the result may change (`tiled`). advice: what the user could do when nothing is left to try. Raises
        MemoryExhaustedError below the last level; other errors pass.
        """
        allowed = set(supported) if allow_tiles else set(supported) - {"tiled"}
        if unknown := allowed - FALLBACKS:
            raise ValueError(f"fallbacks are {', '.join(sorted(FALLBACKS))}; got {', '.join(sorted(unknown))}")
        standing = self._at(phase)
        known = standing.taken
        if trial := standing.is_due():
            standing.go(known[:-1])
        freed = False
        while (said := self._attempt(work, _limited_to(self.level(phase), allowed), done := [])) is not None:
            if trial:
                standing.go(known)
                standing.patience *= 2
            elif freed:
                self._step_down(phase, allowed, said, advice)
            trial, freed = False, True
            self._free(self.level(phase))
        standing.successes += 1
        if trial and len(standing.taken) == 1:
            self._notices.append(f"There is enough memory again: {phase} continues as planned.")
        return done[0]

    def _attempt(self, work: Callable[[FallbackLevel], T], level: FallbackLevel, done: list[T]) -> str | None:
        """Do the work into `done`; what the error said where memory ran out."""
        before, self.current = self.current, level
        try:
            done.append(work(level))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # their tensors are what must be freed
            return str(error)
        finally:
            self.current = before
        return None

    def _at(self, phase: str) -> Standing:
        return self._phases.setdefault(phase, Standing())

    def _step_down(self, phase: str, allowed: set[str], said: str, advice: str) -> None:
        standing, now = self._at(phase), self.level(phase)
        for index in range(standing.taken[-1] + 1, len(LEVELS)):
            if any(getattr(LEVELS[index], fallback) != getattr(now, fallback) for fallback in allowed):
                standing.go([*standing.taken, index])
                standing.patience *= 2
                seams = LEVELS[index].tiled and "tiled" in allowed
                change = "the picture may change a little" if seams else "the result is the same"
                self._notices.append(
                    f"Memory ran out in {phase}: it is repeated with less ({LEVELS[index].name}); {change}."
                )
                return
        ways = (advice, "choose a smaller size or window", "close other programs that use the device")
        raise MemoryExhaustedError(
            f"memory ran out in {phase} with every allowed fallback ({now.name}): "
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


def _limited_to(level: FallbackLevel, allowed: set[str]) -> FallbackLevel:
    """The level with the fallbacks that were not agreed to left alone."""
    plain = {fallback: getattr(LEVELS[0], fallback) for fallback in FALLBACKS - allowed}
    return replace(level, **plain)
