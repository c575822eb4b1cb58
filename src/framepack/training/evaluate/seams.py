"""Where two pieces of a video meet: whether the step, the sharpness or the colour there stands out of the rest.

Boundary: arrays in, numbers out; knows no model. Videos are (T, H, W, 3) uint8. A latent is four frames, whose steps
differ by themselves, so a step is compared with those of its phase.
"""

from dataclasses import dataclass

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
