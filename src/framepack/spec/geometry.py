"""Time and space of a family's latent videos: how pixels, frames, latents, tokens and sections relate. No tensors.

The VAEs are causal in time: a clip's first latent is one frame, each other one `temporal` frames.
"""

import math
from dataclasses import dataclass

from framepack.spec.rates import exact_rate


@dataclass(frozen=True, kw_only=True)
class TimeTiles:
    """A clip is decoded in tiles of time, in latents: each begins `stride` after the one before and overlaps it."""

    length: int
    stride: int

    def of(self, latents: int) -> list[range]:
        """The tiles of a clip. A last one of a single latent would be one frame that the tile before has already."""
        tiles = (range(start, min(start + self.length, latents)) for start in range(0, latents, self.stride))
        return [tile for tile in tiles if len(tile) > 1 or not tile.start]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Of one family. A video has latents 1 .. N in sections; latent 0 is the start picture."""

    fps: int
    """Frames a second of the model itself; another rate is resampling of its output."""
    temporal: int
    """Frames of a latent."""
    spatial: int
    """Pixels of a latent, down and across."""
    patch: int
    """Latents of a token, down and across."""
    window: int
    """Latents of a section, as the model was trained."""
    context: tuple[int, int, int] = (1, 2, 16)
    """Latents of history that a section sees in full detail, at half and at a quarter of it."""
    tiles: TimeTiles = TimeTiles(length=5, stride=3)
    """What the VAE decodes at once: HunyuanVideo's 16 frames, every 12."""
    overlap: bool = True
    """Whether a section is decoded together with the one made before and cross-faded into it; else each alone, and the
    start picture is no part of the video."""

    @property
    def multiple(self) -> int:
        """What divides a video's height and width, in pixels."""
        return self.spatial * self.patch

    @property
    def history(self) -> int:
        """Latents of history that a section sees."""
        return sum(self.context)

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of a latent, of a size in pixels."""
        return height // self.spatial, width // self.spatial

    def tokens(self, height: int, width: int) -> int:
        """Tokens of one latent in full detail, of a size in pixels."""
        return (height // self.multiple) * (width // self.multiple)

    def frames_of(self, latents: int) -> int:
        """Frames that `latents` >= 1 latents, decoded as one clip, are."""
        return self.temporal * (latents - 1) + 1

    def latent_of_frame(self, frame: int) -> int:
        """Index of the latent that holds `frame` of a clip."""
        return math.ceil(frame / self.temporal)

    def section_count(self, seconds: float, window: int) -> int:
        """Sections of `window` latents that a video of `seconds` takes (Python's round, at least one)."""
        frames = self.temporal * window if self.overlap else self.frames_of(window)
        return max(round(seconds * self.fps / frames), 1)

    def video_frames(self, latents: int, window: int) -> int:
        """Frames of a video of `latents` beside the start, in sections of at most `window`."""
        if self.overlap:
            return self.frames_of(latents + 1)
        return self.temporal * latents - (self.temporal - 1) * math.ceil(latents / window)

    def latents_for(self, frames: int, window: int) -> int:
        """The fewest latents beside the start whose video has `frames` or more."""
        if self.overlap:
            return max(self.latent_of_frame(frames - 1), 1)
        sections = math.ceil(frames / self.frames_of(window))
        return max(math.ceil((frames + (self.temporal - 1) * sections) / self.temporal), 1)

    def exact_frames(self, seconds: float, fps: float | None = None) -> int:
        """Frames of the model to which a file of `fps` lasts as near to `seconds` as it can, at least one."""
        if fps is None or fps >= self.fps:
            return max(round(seconds * self.fps), 1)
        return math.floor((max(round(seconds * fps), 1) - 1) * self.fps / exact_rate(fps)) + 1

    def seconds_of(self, latent: float, total: int, window: int) -> float:
        """When a latent of a video of `total` is shown; at its last frame."""
        if self.overlap:
            return latent * self.temporal / self.fps
        return latent / total * self.video_frames(total, window) / self.fps

    def latent_at(self, second: float, total: int, window: int) -> int:
        """The latent that is shown at `second`, 1 or later."""
        if self.overlap:
            return max(self.latent_of_frame(round(second * self.fps)), 1)
        return max(math.ceil(round(second * self.fps) * total / self.video_frames(total, window)), 1)


HUNYUAN = Geometry(fps=30, temporal=4, spatial=8, patch=2, window=9)
"""HunyuanVideo's VAE and FramePack's packed context (arXiv 2412.03603, 2504.12626)."""
