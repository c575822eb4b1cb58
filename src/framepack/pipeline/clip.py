"""Joins decoded clips at the growing edge: cross-fades their overlap and hands on the frames that are settled.

Frames are float32 (T, H, W, 3), nominally -1..1, until they settle; each settles once.
"""

from typing import Literal

import torch
from torch import Tensor


class ClipJoiner:
    """Holds only the frames that the next clip will still blend.

    The weight of the clip that lies earlier in time runs linspace(1, 0, overlap), as in the public application.
    """

    def __init__(self, direction: Literal["backward", "forward"]) -> None:
        self.backward = direction == "backward"
        self.provisional = torch.empty(0)

    def join(self, clip: Tensor, overlap: int, provisional: int) -> Tensor:
        """Blend `clip` in over `overlap` frames; return what is settled now, keep `provisional` frames at the edge."""
        if overlap:
            assert len(self.provisional) == overlap
            if self.backward:
                clip = torch.cat([clip[:-overlap], crossfade(clip[-overlap:], self.provisional)])
            else:
                clip = torch.cat([crossfade(self.provisional, clip[:overlap]), clip[overlap:]])
        self.hold(clip, provisional)
        if self.backward:
            return clip[provisional:]
        return clip[: len(clip) - provisional]

    def hold(self, clip: Tensor, provisional: int) -> None:
        """Keep a copy of the `provisional` frames of `clip` at the growing edge."""
        if self.backward:
            self.provisional = clip[:provisional].clone()
        else:
            self.provisional = clip[len(clip) - provisional :].clone()


def crossfade(earlier: Tensor, later: Tensor) -> Tensor:
    """Blend two clips (T, H, W, 3) of the same frames, from the earlier one to the later one."""
    weight = torch.linspace(1, 0, len(earlier), dtype=earlier.dtype).view(-1, 1, 1, 1)
    return weight * earlier + (1 - weight) * later
