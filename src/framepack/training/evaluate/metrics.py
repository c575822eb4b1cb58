"""Numbers about videos: nearness to a true one (PSNR, SSIM), and measures without a network, for drift.

Boundary: arrays in, numbers out; knows no model and no prompts. Videos are (T, H, W, 3) uint8. Sources: SSIM, Wang et
al., 2004; noise, Immerkaer, 1996; drift as |M(first 15%) - M(last 15%)|, FramePack, arXiv 2504.12626.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Video = NDArray[np.uint8]
Vector = NDArray[np.float64]

CEILING = 100.0
"""dB of two equal videos."""
EDGE = 0.15
"""Share of a video at each end that drift compares."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def psnr(video: Video, truth: Video) -> float:
    """dB over all frames together, at most 100. ValueError where the shapes differ."""
    _same(video, truth)
    error = float(np.mean(np.square(video.astype(np.float32) - truth.astype(np.float32))))
    return min(CEILING, 10 * math.log10(255**2 / error)) if error else CEILING


def ssim(video: Video, truth: Video) -> float:
    """Structural similarity of the luma, mean over frames: 1 for equal ones. Gaussian window of 11, sigma 1.5."""
    _same(video, truth)
    x, y = (torch.from_numpy(luma(v))[:, None] for v in (video, truth))
    taps = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    taps = taps / taps.sum()

    def blur(z: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(functional.conv2d(z, taps.view(1, 1, 11, 1)), taps.view(1, 1, 1, 11))

    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))).mean())


def luma(video: Video) -> NDArray[np.float32]:
    """(T, H, W) float32, 0..255."""
    return video.astype(np.float32) @ LUMA


def sharpness(video: Video) -> Vector:
    """Mean length of the luma's gradient."""
    grey = luma(video)
    across, down = np.diff(grey, axis=2)[:, :-1], np.diff(grey, axis=1)[:, :, :-1]
    return np.array([np.sqrt(across**2 + down**2).mean()])


def sharpness_ratio(video: Video, truth: Video) -> float:
    """Sharpness of one over that of the other, the start frame left out."""
    return float(sharpness(video[1:])[0] / max(sharpness(truth[1:])[0], 1e-6))


def colour_mean(video: Video) -> Vector:
    """Mean of red, green and blue."""
    return video.mean(axis=(0, 1, 2), dtype=np.float64)


def colour_spread(video: Video) -> Vector:
    """Standard deviation of red, green and blue."""
    return video.std(axis=(0, 1, 2), dtype=np.float64)


def noise(video: Video) -> Vector:
    """Standard deviation of the noise, from the response to a mask that is blind to slopes and edges."""
    grey = torch.from_numpy(luma(video))[:, None]
    mask = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]).view(1, 1, 3, 3)
    return np.array([float(functional.conv2d(grey, mask).abs().mean()) * math.sqrt(math.pi / 2) / 6])


def roughness(video: Video) -> Vector:
    """How far a frame is from the mean of its neighbours: 0 for a perfectly smooth motion."""
    grey = luma(video)
    return np.array([np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean()])


def motion_size(video: Video) -> Vector:
    """Mean change from frame to frame."""
    return np.array([np.abs(np.diff(luma(video), axis=0)).mean()])


MEASURES: dict[str, Callable[[Video], Vector]] = {
    "sharpness": sharpness,
    "colour mean": colour_mean,
    "colour spread": colour_spread,
    "noise": noise,
    "motion roughness": roughness,
    "motion size": motion_size,
}
"""What drift is measured in, grey levels 0..255."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How one measure changes over a video."""

    first: float
    """M of the first 15% (the length of the vector, for colours)."""
    last: float
    difference: float
    """|M(first 15%) - M(last 15%)|"""
    slope: float
    """Change a section, least squares over the sections."""
    course: tuple[float, ...]
    """M of each section."""


def drift(video: Video, sections: int) -> dict[str, Drift]:
    """Every measure's drift. The video is cut into `sections` equal parts for the slope; each has 3 frames or more."""
    edge = max(3, round(EDGE * len(video)))
    parts = np.array_split(video, sections)
    result = {}
    for name, measure in MEASURES.items():
        first, last = measure(video[:edge]), measure(video[-edge:])
        course = np.stack([measure(part) for part in parts])
        slope = np.polyfit(np.arange(sections), course, 1)[0] if sections > 1 else np.zeros_like(first)
        result[name] = Drift(
            first=float(np.linalg.norm(first)),
            last=float(np.linalg.norm(last)),
            difference=float(np.linalg.norm(first - last)),
            slope=float(slope[0]) if len(slope) == 1 else float(np.linalg.norm(slope)),
            course=tuple(float(np.linalg.norm(values)) for values in course),
        )
    return result


def _same(video: Video, truth: Video) -> None:
    if video.shape != truth.shape:
        raise ValueError(f"videos must have one shape to be compared, got {video.shape} and {truth.shape}")
