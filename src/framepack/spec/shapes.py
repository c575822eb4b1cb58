"""Time and space of a HunyuanVideo latent video: how frames, latents and sections relate.

The VAE is causal with strides 4 in time and 8 in space: frame 0 is latent 0, frames 4i-3..4i are latent i.
Source: the HunyuanVideo VAE (arXiv 2412.03603) and the FramePack paper (arXiv 2504.12626).
"""

import math
from fractions import Fraction

FPS = 30
"""Frames a second of the model itself; another rate is resampling of its output."""
GIF_FPS = 50
"""Frames a second of a gif at most: it counts hundredths of a second, and browsers show no frame for one alone."""
TEMPORAL_STRIDE = 4
SPATIAL_STRIDE = 8
SIZE_MULTIPLE = 16
"""Pixel sizes are multiples of VAE stride 8 times the transformer's patch 2."""


def section_count(seconds: float, window: int) -> int:
    """Sections a video of `seconds` takes with `window` latents each (Python's round, at least one)."""
    return max(round(seconds * FPS / (TEMPORAL_STRIDE * window)), 1)


def frames_of(latents: int) -> int:
    """Frames that `latents` >= 1 latents decode to: 1 + 4 (latents - 1)."""
    return TEMPORAL_STRIDE * (latents - 1) + 1


def latent_of_frame(frame: int) -> int:
    """Index of the latent that holds `frame`."""
    return math.ceil(frame / TEMPORAL_STRIDE)


def guide_latent(second: float, total: int, *, before_end: bool) -> int:
    """The latent at which a guide frame of `second` stands in a video of `total` latents beside the start.

    At the very end it is an end frame, `total` + 1, or the last latent but one where there is an end frame already.
    """
    latent = max(latent_of_frame(round(second * FPS)), 1)
    if latent < total:
        return latent
    return max(total - 1, 1) if before_end else total + 1


def exact_frames(seconds: float, fps: float = FPS) -> int:
    """Frames of the model to which a file of `fps` lasts as near to `seconds` as it can, at least one."""
    if fps >= FPS:
        return max(round(seconds * FPS), 1)
    return math.floor((max(round(seconds * fps), 1) - 1) * FPS / exact_rate(fps)) + 1


def resampled_count(frames: int, fps_in: Fraction | float, fps_out: Fraction | float, *, start: int = 0) -> int:
    """How many of `frames`, the first of them number `start`, there are at another rate over the same time."""
    step = exact_rate(fps_in) / exact_rate(fps_out)
    return math.ceil((start + frames) / step) - math.ceil(start / step)


def exact_rate(fps: Fraction | float) -> Fraction:
    """Frames a second as a fraction; ValueError for what is no rate."""
    if not 0 < fps < float("inf"):  # false for NaN too
        raise ValueError(f"fps must be above 0, got {fps}")
    return Fraction(fps).limit_denominator(1001)
