"""What the transformer asks of a block cache.

Boundary: only the questions. The answers (TeaCache, first-block) live in `framepack.caching`; all state of a
run is theirs, the transformer keeps nothing. One cache serves one branch (positive or negative) of one section.
"""

from typing import Protocol

from torch import Tensor


class BlockCache(Protocol):
    """Decides, step by step, whether the blocks run or their stored residual is reused.

    For each forward the transformer does

        run the first `probe_blocks` blocks
        residual = cache.lookup(step, signal)
        if residual is None: run the other blocks; cache.store(their output - their input)
        else:                output = their input + residual

    L_noisy counts the tokens of the noisy window, L_video those and the context's, in the order [4x, 2x, 1x, noisy].
    """

    @property
    def probe_blocks(self) -> int:
        """How many blocks always run before `lookup`: 0 for TeaCache, 1 for a first-block cache."""
        ...

    def lookup(self, step: int, signal: Tensor) -> Tensor | None:
        """Return the residual to reuse, (B, L_noisy, D), or None to let the blocks run.

        `step` is the step's index in the job's schedule. `signal` is (B, L_video, D): with `probe_blocks` 0 block 0's
        modulated norm1 of the embedded video tokens (TeaCache), else what the probe blocks added to the video tokens.
        """
        ...

    def store(self, residual: Tensor) -> None:
        """Keep what the blocks after the probe added to the noisy tokens, (B, L_noisy, D).

        Only these tokens reach the output projection. Called once after each `lookup` that returned None.
        """
        ...
