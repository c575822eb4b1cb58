"""A clip decoded tile after tile in time, and a memo of the tiles that the next clip will hold too.

The same sum as diffusers' frame-wise tiling (16 frames, stride 12), which is what the public application decodes with.
Successive sections decode clips that share latents; where their tiles coincide (two of six at the default window) the
frames are taken from the memo: equal inputs, equal bits. Boundary: knows latents and frames, not how a tile is decoded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from framepack.models.transfer import to_device, to_host
from framepack.spec.geometry import TimeTiles


@dataclass
class TileMemo:
    """Decoded tiles that will be asked for again. One a job: it belongs to whoever decodes clip after clip."""

    repeats: range = range(0)
    """Latents of the clip that is decoded next which the clip after it will hold too: their tiles are kept."""
    _tiles: list[tuple[str, Tensor, Tensor]] = field(default_factory=list)
    _next: list[tuple[str, Tensor, Tensor]] = field(default_factory=list)

    def recall(self, mode: str, latents: Tensor) -> Tensor | None:
        """The frames of equal latents, decoded the same mode; None where they are new. Latents are on the host."""
        for known_mode, known, frames in self._tiles:
            if known_mode == mode and known.shape == latents.shape and torch.equal(known, latents):
                return frames
        return None

    def keep(self, mode: str, at: range, latents: Tensor, frames: Tensor) -> None:
        """Note a tile, on the host, if it will come again."""
        if at.start >= self.repeats.start and at.stop <= self.repeats.stop:
            host = to_host(frames)
            self._next.append((mode, latents.clone(), host.clone() if host is frames else host))

    def turn(self) -> None:
        """A clip is complete: what it kept is what the next one may find."""
        self._tiles, self._next = self._next, []

    def drop(self) -> None:
        """A clip broke off: forget what it kept, so that it can be decoded again."""
        self._next = []


def decode_in_time(
    z: Tensor,
    decode: Callable[[Tensor], Tensor],
    tiles: TimeTiles,
    temporal: int,
    memo: TileMemo | None = None,
    mode: str = "",
) -> Iterator[Tensor]:
    """Final frames (B, 3, n, H, W), run after run, of the latents `z` (B, C, T, h, w).

    decode: one tile's latents to its 1 + s (t - 1) frames, s = `temporal`. mode: how it decodes, by which the memo
    distinguishes tiles.
    """
    memo = memo or TileMemo()
    memo.drop()
    host, tail = to_host(z), None
    blend = temporal * (tiles.length - 1 - tiles.stride)
    for at in tiles.of(z.shape[2]):
        latents = host[:, :, at.start : at.stop]
        known = memo.recall(mode, latents)
        frames = decode(z[:, :, at.start : at.stop]) if known is None else to_device(known, z.device)
        memo.keep(mode, at, latents, frames)
        frames = frames[:, :, min(at.start, 1) :]
        if tail is not None:
            frames = torch.cat([cross_fade(tail, frames), frames[:, :, tail.shape[2] :]], dim=2)
        yield frames[:, :, : temporal * tiles.stride + (at.start == 0)]
        tail = frames[:, :, -blend:].clone()
    memo.turn()


def cross_fade(earlier: Tensor, later: Tensor) -> Tensor:
    """From `earlier`'s frames to the first ones of `later`, which is as long or longer: (B, 3, n, H, W)."""
    count = earlier.shape[2]
    return torch.stack([earlier[:, :, x] * (1 - x / count) + later[:, :, x] * (x / count) for x in range(count)], dim=2)
