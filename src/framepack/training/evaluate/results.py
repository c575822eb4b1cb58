"""An evaluation's settings, its requests for videos, and its results: one for each thing measured.

Boundary: data only; `run` fills it, `report` writes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from framepack.spec.geometry import HUNYUAN
from framepack.spec.variants import DEFAULT, VARIANTS
from framepack.training.data.motions import MOTIONS
from framepack.training.evaluate.metrics import Drift, Video
from framepack.training.evaluate.scenes import Picture


@dataclass(frozen=True, kw_only=True)
class VideoRequest:
    """One video to generate."""

    model: str
    picture: Picture
    prompt: str
    sections: int = 1
    end: Picture | None = None
    keyframes: tuple[tuple[float, Picture], ...] = ()
    """Seconds and picture."""
    seed: int = 0
    steering: Mapping[str, float] = field(default_factory=dict)
    """Fields of the request: motion, consistency, nag, guard ..."""
    negative: str = ""
    """What should not happen, where the steering uses it."""
    side: int | None = None
    """Pixels of a square picture; None for the evaluation's size."""
    steps: int | None = None
    """None for the evaluation's."""


Generate = Callable[[VideoRequest], Video]
Reconstruct = Callable[[Video], Video]
"""A video through the VAE's encoder and decoder: the bound of what the model can show."""

PARTS = ("following", "sprites", "keyframes", "drift", "codec", "controls", "sizes", "words", "unknown")
USUAL = PARTS[:5]
"""Measured by default; each of the others takes as long as all of these."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to evaluate, and how much of it."""

    models: tuple[str, ...] = ("mini", "mini-f1")
    procedural: int = 4
    photos: int = 4
    motions: tuple[str, ...] = tuple(MOTIONS)
    """Of the prompts; the nearest one is always sought among all motions."""
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
    """Of the squares whose sizes are compared, pixels."""
    step_counts: tuple[int, ...] = (2, 3, 4, 25)
    """Compared at each size."""
    parts: tuple[str, ...] = USUAL

    def __post_init__(self) -> None:
        """Raise ValueError for unknown names and unsuitable sizes."""
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
class Result:
    """Something measured on one picture."""

    kind: str
    """Of picture: "procedural", "photos" or "cut-outs"."""
    scene: str


@dataclass(frozen=True, kw_only=True)
class MotionResult(Result):
    """One video of a prompt on a picture."""

    model: str
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
class PromptResult(MotionResult):
    """One prompt for a camera, the light, or the picture's cut-out; `nearest` is among motions of that kind."""

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


@dataclass(frozen=True, kw_only=True)
class KeyframeResult(Result):
    """One key frame: PSNR to it at its time, given and not given."""

    model: str
    place: str
    """"end" or "middle"."""
    given: float
    without: float

    @property
    def gain(self) -> float:
        """dB the key frame brings."""
        return self.given - self.without


@dataclass(frozen=True, kw_only=True)
class DriftResult(Result):
    """One long video in one order; `order` is "inverted", "forward", "repetition" or "truth"."""

    order: str
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
class CodecResult(Result):
    """One picture and its moving clip through the VAE alone."""

    image_psnr: float
    clip_psnr: float
    sharpness: float
    """Over the true clip's."""


@dataclass(frozen=True, kw_only=True)
class ControlResult(MotionResult):
    """One value of a control on one picture with one prompt; `psnr` is to the fitted true video."""

    control: str
    """The request's field, such as motion."""
    value: float
    amplitude: float
    """Factor on the prompt's true motion whose video is nearest."""
    start: float
    """Of the last second to the start picture, the motion undone, dB."""
    roughness: float
    """How far a frame is from the mean of its neighbours, grey levels."""

    @property
    def setting(self) -> str:
        """The control and its value."""
        return f"{self.control} {self.value:g}"


@dataclass(frozen=True, kw_only=True)
class SizeResult(MotionResult):
    """One prompt on one picture at one size in so many steps."""

    side: int
    steps: int
    sharpness: float
    """Over the sharpness of the true video."""

    @property
    def motions(self) -> str:
        """The kind of motion: pan, zoom, roll, ..."""
        return self.motion.split()[0]


@dataclass(frozen=True, kw_only=True)
class ParaphraseResult(MotionResult):
    """One paraphrase on one picture."""

    prompt: str


@dataclass(frozen=True, kw_only=True)
class UnknownResult(Result):
    """One sentence that asks for nothing known, on one picture."""

    model: str
    prompt: str
    psnr: float
    """Of the last frame to the start, a gain and an offset for each colour aside, dB."""


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """A row of a contact sheet."""

    sheet: str
    frames: tuple[Picture, ...]
    labels: tuple[str, ...]
    """One below each frame."""


@dataclass(kw_only=True)
class Evaluation:
    """All results so far, a list for each of PARTS."""

    settings: Settings
    notices: list[str] = field(default_factory=list)
    following: list[PromptResult] = field(default_factory=list)
    sprites: list[PromptResult] = field(default_factory=list)
    keyframes: list[KeyframeResult] = field(default_factory=list)
    drift: list[DriftResult] = field(default_factory=list)
    codec: list[CodecResult] = field(default_factory=list)
    controls: list[ControlResult] = field(default_factory=list)
    sizes: list[SizeResult] = field(default_factory=list)
    words: list[ParaphraseResult] = field(default_factory=list)
    unknown: list[UnknownResult] = field(default_factory=list)
    samples: list[SheetRow] = field(default_factory=list)
