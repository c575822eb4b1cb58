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


@dataclass(frozen=True, kw_only=True)
class TimeTiles:
    """Sizes in latents, then in frames."""

    length: int
    """Latents of a tile: one more than its stride of frames needs, for the causal start."""
    stride: int
    frames: int
    """Frames that one tile settles."""
    blend: int
    """Frames that cross-fade with the tile before."""


@dataclass
class TileMemo:
    """Decoded tiles that will be asked for again. One a job: it belongs to whoever decodes clip after clip."""

    repeats: range = range(0)
    """Latents of the clip that is decoded next which the clip after it will hold too: their tiles are kept."""
    hits: int = 0
    """Tiles taken from the memo so far."""
    _tiles: list[tuple[str, Tensor, Tensor]] = field(default_factory=list)
    _next: list[tuple[str, Tensor, Tensor]] = field(default_factory=list)

    def recall(self, way: str, latents: Tensor) -> Tensor | None:
        """The frames of equal latents, decoded the same way; None where they are new. Latents are on the host."""
        for known_way, known, frames in self._tiles:
            if known_way == way and known.shape == latents.shape and torch.equal(known, latents):
                self.hits += 1
                return frames
        return None

    def keep(self, way: str, at: range, latents: Tensor, frames: Tensor) -> None:
        """Note a tile, on the host, if it will come again."""
        if at.start >= self.repeats.start and at.stop <= self.repeats.stop:
            host = to_host(frames)
            self._next.append((way, latents.clone(), host.clone() if host is frames else host))

    def turn(self) -> None:
        """A clip is complete: what it kept is what the next one may find."""
        self._tiles, self._next = self._next, []

    def drop(self) -> None:
        """A clip broke off: forget what it kept, so that it can be decoded again."""
        self._next = []


def decode_in_time(
    z: Tensor, decode: Callable[[Tensor], Tensor], tiles: TimeTiles, memo: TileMemo | None = None, way: str = ""
) -> Iterator[Tensor]:
    """Settled frames (B, 3, n, H, W), run after run, of the latents `z` (B, C, T, h, w).

    decode: one tile's latents to its 1 + 4 (t - 1) frames. way: how it decodes, by which the memo tells tiles apart.
    """
    memo = memo or TileMemo()
    memo.drop()
    host = to_host(z)
    total, tail = z.shape[2], None
    for start in range(0, total, tiles.stride):
        at = range(start, min(start + tiles.length, total))
        if start and len(at) == 1:
            break  # its one frame is the tile before's
        latents = host[:, :, at.start : at.stop]
        known = memo.recall(way, latents)
        frames = decode(z[:, :, at.start : at.stop]) if known is None else to_device(known, z.device)
        memo.keep(way, at, latents, frames)
        frames = frames[:, :, min(start, 1) :]
        if tail is not None:
            frames = torch.cat([cross_fade(tail, frames), frames[:, :, tail.shape[2] :]], dim=2)
        yield frames[:, :, : tiles.frames + (start == 0)]
        tail = frames[:, :, -tiles.blend :].clone()
    memo.turn()


def cross_fade(earlier: Tensor, later: Tensor) -> Tensor:
    """From `earlier`'s frames to the first ones of `later`, which is as long or longer: (B, 3, n, H, W)."""
    count = earlier.shape[2]
    return torch.stack([earlier[:, :, x] * (1 - x / count) + later[:, :, x] * (x / count) for x in range(count)], dim=2)
