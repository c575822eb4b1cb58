"""Which sample videos a training makes on its way, and how often; what was measured on them. Data only."""

from dataclasses import dataclass

from framepack.training.data.motions import MOTIONS, SPRITE_MOTIONS


@dataclass(frozen=True, kw_only=True)
class SampleRecipe:
    """Held-out pictures to move while the training goes on."""

    minutes: float = 0.0
    """between samplings, of training; 0 makes none"""
    pictures: int = 1
    """each is asked for every motion"""
    motions: tuple[str, ...] = (
        "pan left",
        "zoom in",
        "roll clockwise",
        "darken",
        "still",
        "sprite right",
        "sprite bounces",
        "sprite grows",
        "pan up",
    )
    size: tuple[int, int] = (96, 96)
    """width and height"""
    steps: int = 6
    """denoising steps"""

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be asked for."""
        known = MOTIONS.keys() | SPRITE_MOTIONS.keys()
        if unknown := [motion for motion in self.motions if motion not in known]:
            raise ValueError(f"motions to sample must be of {', '.join(sorted(known))}, got {unknown[0]!r}")
        if self.minutes < 0 or self.pictures < 1 or self.steps < 1 or not self.motions:
            raise ValueError(
                "samples need minutes of 0 or more, a picture, a motion and a step, "
                f"got {self.minutes}, {self.pictures}, {len(self.motions)} and {self.steps}"
            )


@dataclass(frozen=True, kw_only=True)
class SampleMetrics:
    """One sampling, means over its videos."""

    step: int
    samples: int
    """that the model had seen"""
    followed: float
    """share of videos nearest to the true video of their prompt"""
    psnr: float
    gain: float
    """dB over a video that stands still"""
    seconds: float
