"""Where two pieces of a video meet: whether the step, the sharpness or the colour there stands out of the rest.

`seam` asks whether anyone sees it in a video that a model made; `crossing` how two different makers' frames follow one
another, and `speed` whether motion goes on. Boundary: arrays in, numbers out; knows no model. Videos are (T, H, W, 3)
uint8. A latent is four frames, whose steps differ by themselves, so a step is compared with those of its phase.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from framepack.training.evaluate.metrics import Video, colour_mean, luma, sharpness

PHASES = 4
"""Frames of a latent."""
REACH = 2
"""Frames on either side of a border whose steps count as its."""
BESIDE = 4
"""Frames on either side that are compared in sharpness and colour."""
MOST_STEP, MOST_SHARPNESS, MOST_COLOUR = 1.3, 0.1, 1.0
"""What nobody sees: times the median step, share of the sharpness, levels of 0..255."""
NEAR = 36
"""Frames on either side whose steps a crossing's is compared with: a section."""
APART = 6
"""Frames between those whose shift is measured."""
FARTHEST = 24
"""Pixels that a shift is looked for in."""
LEAST_CROSSING = 1.0
"""Levels: a step between two makers' frames that nobody sees is no jump, however still the video."""
LEAST_STEP = 0.25
"""Levels: below it a step is invisible, however small the median of a video that stands still."""


@dataclass(frozen=True, kw_only=True)
class Seam:
    """The border before frame `frame`."""

    frame: int
    step: float
    """The largest step near it over the median of the steps of its phase."""
    sharpness: float
    """Share by which sharpness changes from the frames before to those after."""
    colour: float
    """Levels by which the mean colour changes from the frame before to this one, in the channel that changes most."""

    @property
    def unseen(self) -> bool:
        """Whether all three are within their bounds."""
        return self.step <= MOST_STEP and self.sharpness <= MOST_SHARPNESS and self.colour <= MOST_COLOUR


def seam(video: Video, frame: int) -> Seam:
    """The border before `frame`, which has BESIDE frames on either side. ValueError where it has not."""
    if not BESIDE <= frame <= len(video) - BESIDE:
        raise ValueError(f"a border must have {BESIDE} frames on either side, got frame {frame} of {len(video)}")
    steps = np.abs(np.diff(luma(video), axis=0)).mean((1, 2))
    usual = np.array([np.median(steps[phase::PHASES]) for phase in range(PHASES)])
    ratios = [steps[at] / max(usual[at % PHASES], LEAST_STEP) for at in range(frame - 1 - REACH, frame + REACH)]
    before, after = video[frame - BESIDE : frame], video[frame : frame + BESIDE]
    sharp = [float(sharpness(part)[0]) for part in (before, after)]
    return Seam(
        frame=frame,
        step=float(max(ratios)),
        sharpness=abs(sharp[1] - sharp[0]) / max(*sharp, 1e-6),
        colour=float(np.abs(colour_mean(video[frame : frame + 1]) - colour_mean(video[frame - 1 : frame])).max()),
    )


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """What is seen where frame `at` follows the one before."""

    at: int
    step: float
    """Change between the two over the median of changes of that phase nearby."""
    sharpness: float
    """Share by which it jumps, either way."""
    colour: float
    """Levels by which the mean of a channel jumps, at most, beyond what it drifts by anyway."""


def crossing(video: Video, at: int) -> Crossing:
    """The crossing before frame `at`, of a video that has more than a latent's frames on either side."""
    steps = np.abs(np.diff(luma(video), axis=0)).mean((1, 2))
    near = [i for i in range(max(at - NEAR, 1), min(at + NEAR, len(video))) if (i - at) % PHASES == 0 and i != at]
    usual = float(np.median([steps[i - 1] for i in near]))
    before, after = video[max(at - BESIDE, 0) : at], video[at : at + BESIDE]
    sharp, sharper = float(sharpness(before)[0]), float(sharpness(after)[0])
    means = video[max(at - BESIDE, 0) : at + BESIDE].mean((1, 2), dtype=np.float64)
    middle = len(before)
    drift = (means[middle - 1] - means[0] + means[-1] - means[middle]) / max(len(means) - 2, 1)
    jump = np.abs(means[middle] - means[middle - 1] - drift).max()
    return Crossing(
        at=at,
        step=float(steps[at - 1]) / max(usual, LEAST_CROSSING),
        sharpness=abs(sharper - sharp) / max(sharp, 1e-6),
        colour=float(jump),
    )


def speed(video: Video) -> np.ndarray:
    """Pixels a frame that the picture moves right and down, the median over the video; by the best whole shifts."""
    shifts = [shift(video[i], video[i + APART]) for i in range(0, len(video) - APART, 2)]
    return np.median(shifts, axis=0) / APART


def shift(one: Video, two: Video) -> np.ndarray:
    """Right and down, in pixels, to a fraction: where the second frame fits the first one best, by least squares."""
    a, b = luma(one[None])[0], luma(two[None])[0]
    height, width = a.shape
    spectrum = np.conj(np.fft.rfft2(windowed(a))) * np.fft.rfft2(windowed(b))
    found = np.fft.irfft2(spectrum, s=(height, width))
    reach = min(FARTHEST, height // 3, width // 3)
    down, right = max(product(range(-reach, reach + 1), repeat=2), key=lambda place: found[place])
    return np.array([right + _between(found[down], right), down + _between(found[:, right], down)])


def windowed(grey: np.ndarray) -> np.ndarray:
    """Without its mean, fading to the edges, as they hold what came into view."""
    height, width = grey.shape
    return (grey - grey.mean()) * np.outer(np.hanning(height), np.hanning(width))


def _between(row: np.ndarray, peak: int) -> float:
    """Where a parabola through a peak and its neighbours is highest, -0.5..0.5 beside it."""
    left, middle, right = row[peak - 1], row[peak], row[(peak + 1) % len(row)]
    bend = left - 2 * middle + right
    return float(np.clip((left - right) / (2 * bend), -0.5, 0.5)) if bend else 0.0


def difference(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """How another speed differs: share of its size, and degrees of its direction."""
    sizes = float(np.linalg.norm(before)), float(np.linalg.norm(after))
    share = abs(sizes[1] - sizes[0]) / max(sizes[0], 1e-6)
    turn = np.dot(before, after) / max(sizes[0] * sizes[1], 1e-9)
    return share, float(np.degrees(np.arccos(np.clip(turn, -1, 1))))
