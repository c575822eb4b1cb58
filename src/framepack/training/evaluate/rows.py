"""What an evaluation is asked for and what it says: settings, one video's order, one row for each result.

Boundary: data only; `evaluate` fills it, `evaluate_report` shows it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from framepack.spec.geometry import HUNYUAN
from framepack.spec.variants import DEFAULT, VARIANTS
from framepack.training.data.motions import MOTIONS
from framepack.training.evaluate.cases import Picture
from framepack.training.evaluate.metrics import Drift, Video


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One video to make."""

    model: str
    picture: Picture
    prompt: str
    sections: int = 1
    end: Picture | None = None
    keyframes: tuple[tuple[float, Picture], ...] = ()
    """Seconds and picture."""
    seed: int = 0
    steering: Mapping[str, float] = field(default_factory=dict)
    """Fields of the request: motion, consistency."""
    side: int | None = None
    """Pixels of a square picture; None for the evaluation's size."""
    steps: int | None = None
    """None for the evaluation's."""


Maker = Callable[[Ask], Video]
Codec = Callable[[Video], Video]
"""What is left of a video after the VAE's encoder and decoder: the bound of what the model can show."""


PARTS = ("following", "sprites", "keyframes", "drift", "codec", "controls", "sizes", "words", "unknown")
USUAL = PARTS[:5]
"""What is measured where nobody says; the others take as long as all of it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to evaluate, and how much of it."""

    models: tuple[str, ...] = ("mini", "mini-f1")
    procedural: int = 4
    photos: int = 4
    motions: tuple[str, ...] = tuple(MOTIONS)
    """Prompts that are given; the nearest one is always sought among all motions."""
    size: tuple[int, int] = (VARIANTS[DEFAULT].bucket_base, VARIANTS[DEFAULT].bucket_base)
    """Width and height, multiples of 16."""
    steps: int = VARIANTS[DEFAULT].steps
    sampler: str = "unipc"
    sections: int = 6
    """Length of the videos that drift is measured on."""
    drifting: tuple[str, ...] = ("pan left", "roll clockwise")
    drift_scenes: int = 2
    """Scenes of each kind that drift is measured on."""
    window: int = 9
    seed: int = 7
    steered: tuple[str, ...] = ("pan left", "zoom in", "roll clockwise")
    """Motions that the controls are measured on."""
    sides: tuple[int, ...] = (128, 160, 192, 224)
    """Squares that sizes are compared of, pixels."""
    step_counts: tuple[int, ...] = (2, 3, 4, 25)
    """Numbers of steps that are compared at each size."""
    parts: tuple[str, ...] = USUAL

    def __post_init__(self) -> None:
        """Raise ValueError for names that are not there."""
        checks = (
            ("model", self.models, tuple(VARIANTS)),
            ("motion", (*self.motions, *self.drifting, *self.steered), tuple(MOTIONS)),
            ("part", self.parts, PARTS),
        )
        for what, names, known in checks:
            if unknown := [name for name in names if name not in known]:
                raise ValueError(f"{what} must be one of {', '.join(known)}, got {unknown[0]!r}")
        if any(side % 16 or side < 32 for side in self.size):
            raise ValueError(f"size must be multiples of 16 and at least 32, got {self.size[0]}x{self.size[1]}")

    @property
    def seconds(self) -> float:
        """Of one section."""
        return HUNYUAN.temporal * self.window / HUNYUAN.fps

    @property
    def inverted(self) -> tuple[str, ...]:
        """Models that take key frames."""
        return tuple(name for name in self.models if VARIANTS[name].planner == "inverted")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One video of a prompt on a picture."""

    model: str
    kind: str
    scene: str
    motion: str
    nearest: str
    """The motion whose true video is nearest."""
    psnr: float
    """To a true video, dB."""

    @property
    def hit(self) -> bool:
        """Whether the prompt was followed."""
        return self.nearest == self.motion


@dataclass(frozen=True, kw_only=True)
class Followed(Judged):
    """One prompt on one picture."""

    prompt: str
    ssim: float
    still_psnr: float
    """Of a video that does not move."""
    sharpness: float
    """Over the sharpness of the true video."""

    @property
    def gain(self) -> float:
        """dB over the video that does not move."""
        return self.psnr - self.still_psnr


class FollowedSprite(Followed):
    """One prompt for the cut-out of one picture; `nearest` is among what cut-outs do, or "still"."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """One key frame: PSNR to it at its time, given and not given."""

    model: str
    kind: str
    scene: str
    place: str
    """"end" or "middle"."""
    given: float
    without: float

    @property
    def gain(self) -> float:
        """dB the key frame brings."""
        return self.given - self.without


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """One long video in one order; `order` is "inverted", "forward", "repetition" or "truth"."""

    order: str
    kind: str
    scene: str
    motion: str
    drift: dict[str, Drift]
    nearness: tuple[float, ...]
    """PSNR of each section to the true video, dB."""

    @property
    def sharpness_loss(self) -> float:
        """Share of the sharpness that is lost from the first 15% to the last."""
        measured = self.drift["sharpness"]
        return 1 - measured.last / measured.first if measured.first else 0.0


@dataclass(frozen=True, kw_only=True)
class Coded:
    """What the VAE alone leaves of one picture and of its moving clip."""

    kind: str
    scene: str
    image_psnr: float
    clip_psnr: float
    sharpness: float
    """Over the true clip's."""


@dataclass(frozen=True, kw_only=True)
class Controlled(Judged):
    """One value of --motion or --consistency on one picture with one prompt; `psnr` is to the fitted true video."""

    control: str
    """"motion" or "consistency"."""
    value: float
    amplitude: float
    """Factor on the prompt's true motion whose video is nearest."""
    start: float
    """Of the last second to the start picture, the motion undone, dB."""
    roughness: float
    """How far a frame is from the mean of its neighbours, grey levels."""


@dataclass(frozen=True, kw_only=True)
class Sized(Judged):
    """One prompt on one picture at one size in so many steps."""

    side: int
    steps: int
    sharpness: float
    """Over the sharpness of the true video."""


@dataclass(frozen=True, kw_only=True)
class Worded(Judged):
    """One paraphrase on one picture."""

    prompt: str


@dataclass(frozen=True, kw_only=True)
class Whole:
    """One sentence that asks for nothing known, on one picture."""

    model: str
    kind: str
    scene: str
    prompt: str
    psnr: float
    """Of the last frame to the start, a gain and an offset for each colour aside, dB."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Frames to look at: a row of a contact sheet."""

    sheet: str
    frames: tuple[Picture, ...]
    labels: tuple[str, ...]
    """One below each frame."""


Row = Followed | FollowedSprite | Reached | Drifted | Coded | Controlled | Sized | Worded | Whole


@dataclass(kw_only=True)
class Evaluation:
    """All rows so far."""

    settings: Settings
    notices: list[str] = field(default_factory=list)
    following: list[Followed] = field(default_factory=list)
    sprites: list[FollowedSprite] = field(default_factory=list)
    keyframes: list[Reached] = field(default_factory=list)
    drift: list[Drifted] = field(default_factory=list)
    codec: list[Coded] = field(default_factory=list)
    controls: list[Controlled] = field(default_factory=list)
    sizes: list[Sized] = field(default_factory=list)
    words: list[Worded] = field(default_factory=list)
    unknown: list[Whole] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
