"""First-block cache: let block 0 run and skip the others while what it adds has hardly moved.

The rule of ParaAttention's and diffusers' first-block cache: the change is measured against the last step that ran in
full, so it needs no sum and no fitted polynomial. It costs one block a step, where TeaCache costs none.
"""

from __future__ import annotations

from torch import Tensor

from framepack.caching.change import checked_threshold, relative_change
from framepack.spec.parts import THRESHOLDS


class FirstBlockCache:
    """The BlockCache of one section and one branch (positive or negative): make a new one for each; there is no reset.

    `steps` is the number of calls to come; the first and the last always run in full. A batch decides as one.
    The signals and residuals handed in are kept as they are, not copied.
    """

    def __init__(self, steps: int, threshold: float = THRESHOLDS["first-block"]) -> None:
        self.ran: list[bool] = []
        """One entry for each step so far: True where all blocks ran."""
        self._last = steps - 1
        self._threshold = checked_threshold(threshold)
        self._reference: Tensor | None = None
        self._residual: Tensor | None = None

    @property
    def probe_blocks(self) -> int:
        """Block 0 runs before the decision."""
        return 1

    def lookup(self, step: int, signal: Tensor) -> Tensor | None:
        """The residual to reuse, (B, L_noisy, D), or None where the other blocks must run."""
        reference = self._reference
        reuse = reference is not None and step < self._last and relative_change(signal, reference) < self._threshold
        self.ran = [*self.ran, not reuse]  # a new list, so that a shallow copy of the cache is a snapshot
        if reuse:
            return self._residual
        self._reference = signal
        return None

    def store(self, residual: Tensor) -> None:
        """Keep the residual of the blocks after the first, (B, L_noisy, D), for the steps that will skip them."""
        self._residual = residual
