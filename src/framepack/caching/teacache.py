"""TeaCache: skip the blocks while their input has hardly moved (Liu et al., arXiv 2411.19108).

The input to block 0, modulated by the timestep, changes from step to step about as the output does, once its relative
change has gone through a polynomial fitted for the model. The changes are added up; as long as the sum stays below the
threshold, the last residual stands in for the blocks. Reads nothing but the signal that `transformer.forward` hands it.
"""

from __future__ import annotations

from torch import Tensor

from framepack.caching.change import checked_threshold, relative_change
from framepack.spec.parts import THRESHOLDS

POLYNOMIAL = (7.33226126e02, -4.01131952e02, 6.75869174e01, -3.14987800e00, 9.61237896e-02)
"""Fitted for HunyuanVideo by TeaCache's authors, highest power first; the public FramePack application uses it too."""


def rescaled(change: float) -> float:
    """Estimate of the output's relative change from the relative change of the blocks' input."""
    value = 0.0
    for coefficient in POLYNOMIAL:
        value = value * change + coefficient
    return value


class TeaCache:
    """The BlockCache of one section and one branch (positive or negative): make a new one for each; there is no reset.

    `steps` is the number of calls to come; the first and the last always run the blocks. A batch decides as one.
    The signals and residuals handed in are kept as they are, not copied.
    """

    def __init__(self, steps: int, threshold: float = THRESHOLDS["teacache"]) -> None:
        self.ran: list[bool] = []
        """One entry for each step so far: True where the blocks ran."""
        self._last = steps - 1
        self._threshold = checked_threshold(threshold)
        self._moved = 0.0
        self._previous: Tensor | None = None
        self._residual: Tensor | None = None

    @property
    def probe_blocks(self) -> int:
        """No block runs before the decision."""
        return 0

    def lookup(self, step: int, signal: Tensor) -> Tensor | None:
        """The residual to reuse, (B, L_noisy, D), or None where the blocks must run."""
        previous, self._previous = self._previous, signal
        reuse = False
        if previous is not None and step < self._last:
            self._moved += rescaled(relative_change(signal, previous))
            reuse = self._moved < self._threshold
        self.ran = [*self.ran, not reuse]  # a new list, so that a shallow copy of the cache is a snapshot
        if reuse:
            return self._residual
        self._moved = 0.0
        return None

    def store(self, residual: Tensor) -> None:
        """Keep the blocks' residual on the noisy tokens, (B, L_noisy, D), for the steps that will skip them."""
        self._residual = residual
