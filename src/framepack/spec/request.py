"""One request: what the CLI, the page, the HTTP API, the job table, presets and a video's metadata all speak.

Validation says the value, the bound and the way out. Files are not opened here; the pipeline does that.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from framepack.spec.buckets import buckets, find_bucket
from framepack.spec.shapes import GIF_FPS, SIZE_MULTIPLE, guide_latent, section_count, video_seconds
from framepack.spec.variants import VARIANTS

Format = Literal["mp4", "mkv", "webm", "gif", "webp", "png"]
SUFFIXES = {**{f".{name}": name for name in get_args(Format) if name != "png"}, ".zip": "png"}
"""The format of a file by its suffix; png is a zip of pictures."""
SamplerName = Literal["unipc", "unipc-bh2", "dpm++2m", "euler"]
CacheName = Literal["none", "teacache", "first-block"]


def within(low: float, high: float) -> AfterValidator:
    """A bound whose message names the field, the range and the value; NaN and infinity never pass."""

    def check(value: float, info: ValidationInfo) -> float:
        if not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"{info.field_name} must be {low:g}..{high:g}, got {value}")
        return value

    return AfterValidator(check)


def one_of(names: Callable[[], list[str]]) -> AfterValidator:
    """A choice whose message lists what there is."""

    def check(value: str, info: ValidationInfo) -> str:
        if value not in names():
            raise ValueError(f"{info.field_name} must be one of {', '.join(names())}, got {value!r}")
        return value

    return AfterValidator(check)


def base_multiple(value: int | None) -> int | None:
    """The side of a square that buckets are made of."""
    if value is not None:
        buckets(value)
    return value


def size_multiple(value: int | None, info: ValidationInfo) -> int | None:
    """Sizes are multiples of 16, because the VAE shrinks by 8 and the transformer's patches by 2."""
    if value is None:
        return None
    if not 32 <= value <= 4096:
        raise ValueError(f"{info.field_name} must be 32..4096, got {value}")
    if value % SIZE_MULTIPLE:
        below = value // SIZE_MULTIPLE * SIZE_MULTIPLE
        raise ValueError(
            f"{info.field_name} must be a multiple of {SIZE_MULTIPLE}, got {value}; "
            f"try {max(below, 32)} or {below + SIZE_MULTIPLE}"
        )
    return value


class Model(BaseModel):
    """Frozen, no unknown fields, so that a misspelt option is an error and never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def without_folders(self) -> Self:
        """The same with bare file names, here and in all parts: what may go into a file that others get."""
        return self.model_copy(update={name: _bare(value) for name, value in self})


def _bare(value: object) -> object:
    if isinstance(value, Path):
        return Path(value.name)
    if isinstance(value, tuple):
        return tuple(_bare(entry) for entry in value)
    return value.without_folders() if isinstance(value, Model) else value


Strength = Annotated[float, within(0, 1)]


class GuideFrame(Model):
    """A picture the video should pass through at `second`; strength 0 leaves it out."""

    image: Path
    second: Annotated[float, within(0, 36000)]
    strength: Strength = 1.0


class EndFrame(Model):
    """A picture the video should end on; strength 0 leaves it out."""

    image: Path
    strength: Strength = 1.0


class TimedPrompt(Model):
    """From `second` on, this text holds instead of the request's prompt."""

    second: Annotated[float, within(0, 36000)]
    text: str


class Lora(Model):
    """A LoRA file added to the transformer's weights; several add up, strength 0 leaves it out."""

    file: Path
    strength: Annotated[float, within(-4, 4)] = 1.0


class OutputSettings(Model):
    """The file to write. `path` None means a dated name in the outputs folder; the format follows a path's suffix."""

    path: Path | None = None
    format: Format = "mp4"
    crf: Annotated[int, within(1, 51)] = 16
    """Compression of mp4, webm and webp, on x264's scale: smaller is better and larger on disk. mkv is lossless."""
    fps: Annotated[float, within(1, 120)] = 30.0
    live: bool = True
    """Let the file that plays after each section also hold the frames the next section will still blend."""
    overwrite: bool = False
    """Replace a finished file of this name; else the job is refused before it begins."""

    @model_validator(mode="after")
    def _format_can(self) -> Self:
        if self.format == "gif" and self.fps > GIF_FPS:
            raise ValueError(f"a gif shows 1..{GIF_FPS} frames a second, got fps {self.fps:g}; webp shows more")
        return self

    @model_validator(mode="before")
    @classmethod
    def _format_of_path(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        path = data.get("path")
        if not isinstance(path, str | Path) or "format" in data:
            return data
        suffix = Path(path).suffix
        if not suffix:
            return data
        if suffix.lower() not in SUFFIXES:
            raise ValueError(
                f"no video format has the suffix {suffix!r} of '{Path(path).name}': use one of {', '.join(SUFFIXES)}"
            )
        return {**data, "format": SUFFIXES[suffix.lower()]}


class GenerationRequest(Model):
    """Everything that determines a video, apart from the machine it is made on.

    Lossless as JSON: `GenerationRequest.model_validate_json(r.model_dump_json()) == r`.
    """

    image: Path
    prompt: str = ""
    negative_prompt: str = ""
    model: Annotated[str, one_of(lambda: list(VARIANTS))] = "mini"
    seconds: Annotated[float, within(0.01, 36000)] = 5.0
    seed: Annotated[int, within(0, 2**63 - 1)] = 31337
    steps: Annotated[int, within(1, 200)] = 25
    guidance: Annotated[float, within(0, 100)] = 10.0
    """Distilled guidance scale, an input of the model; costs nothing."""
    cfg: Annotated[float, within(0, 30)] = 1.0
    """Classifier-free guidance scale; any value but 1 runs the negative prompt too and doubles the time."""
    cfg_rescale: Annotated[float, within(0, 1)] = 0.0
    window: Annotated[int, within(1, 33)] = 9
    """Latents a section; 9 is what the public checkpoints were trained with."""
    width: Annotated[int | None, AfterValidator(size_multiple)] = None
    height: Annotated[int | None, AfterValidator(size_multiple)] = None
    resolution: Annotated[int | None, AfterValidator(base_multiple)] = None
    """Side of the square whose area the video gets, in the picture's own shape; None is the model's own."""
    sampler: SamplerName = "unipc"
    cache: CacheName = "none"
    cache_threshold: Annotated[float, within(0, 10)] = 0.15
    frames: tuple[GuideFrame, ...] = ()
    end_frame: EndFrame | None = None
    prompts: tuple[TimedPrompt, ...] = ()
    loras: tuple[Lora, ...] = ()
    output: OutputSettings = Field(default_factory=OutputSettings)

    @property
    def pictures(self) -> dict[str, Path]:
        """The files that have a say, by the plan's keys: "start", "frame:0" ..., "end"."""
        files = {"start": self.image}
        files |= {f"frame:{i}": frame.image for i, frame in enumerate(self.frames) if frame.strength > 0}
        if self.end_frame is not None and self.end_frame.strength > 0:
            files["end"] = self.end_frame.image
        return files

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) where the request names them."""
        return None if self.width is None or self.height is None else (self.height, self.width)

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the video of a picture of that size, where the request names none: its shape's bucket."""
        width, height = find_bucket(width, height, self.resolution or VARIANTS[self.model].bucket_base)
        return height, width

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together: give both, or neither to follow the picture's shape")
        if self.width is not None and self.resolution is not None:
            raise ValueError("give either width and height or a resolution, not both")
        return self

    @model_validator(mode="after")
    def _times_are_inside(self) -> Self:
        length = video_seconds(self.seconds, self.window)
        for frame in self.frames:
            if not 0 < frame.second <= length:
                raise ValueError(
                    f"a guide frame must lie after 0 and within the video's {length:.2f} s, got {frame.second:g} s; "
                    "move it or lengthen the video"
                )
        for prompt in self.prompts:
            if prompt.second >= length:
                raise ValueError(
                    f"a timed prompt must begin within the video's {length:.2f} s, got {prompt.second:g} s"
                )
        return self

    @model_validator(mode="after")
    def _guides_lie_apart(self) -> Self:
        total = section_count(self.seconds, self.window) * self.window
        seconds: dict[int, float] = {}
        for frame in self.frames:
            if frame.strength == 0:
                continue
            latent = guide_latent(frame.second, total, before_end="end" in self.pictures)
            if latent in seconds:
                raise ValueError(
                    f"the guide frames at {seconds[latent]:g} s and {frame.second:g} s fall on the same place: "
                    "a video has one for every 4 frames, so move or remove one"
                )
            seconds[latent] = frame.second
        return self

    @model_validator(mode="after")
    def _model_can(self) -> Self:
        variant = VARIANTS[self.model]
        if len(self.pictures) > 1 and not variant.guides_ahead:
            raise ValueError(
                f"{self.model} was trained to grow forward and has no slot for a later frame; "
                "use model framepack for guide and end frames"
            )
        return self


def explain(error: ValidationError) -> str:
    """The first finding of a ValidationError as one sentence."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return message
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"there is no setting called {where}"
    return f"{where}: {message[0].lower()}{message[1:]}, got {first['input']!r}"
