"""One request: what the CLI, the page, the HTTP API, the job table, presets and a video's metadata all speak.

Validation says the value, the bound and the way out. Files are not opened here; the pipeline does that.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from framepack.spec.buckets import find_bucket
from framepack.spec.geometry import HUNYUAN, Geometry
from framepack.spec.model import File, Model
from framepack.spec.output import OutputSettings
from framepack.spec.picture import Picture, PictureFile
from framepack.spec.rates import resampled_count
from framepack.spec.rules import as_text, at_most, base_multiple, one_of, size_multiple, within
from framepack.spec.variants import DEFAULT, FIRST_SIZES, VARIANTS, Length

SamplerName = Literal["unipc", "unipc-bh2", "dpm++2m", "euler"]
CacheName = Literal["none", "teacache", "first-block"]
THRESHOLDS: dict[str, float] = {"none": 0.15, "teacache": 0.15, "first-block": 0.07}
"""What each cache lets pass by default. TeaCache's is the public application's; with the first-block cache's the video
is as near to the uncached one (`benchmarks/cache_thresholds.py`)."""

TEXT_MOST = 10_000
"""Characters a prompt may have; the encoders read some 256 words of it."""
TEXTS_MOST = 100_000
"""Characters all prompts of a request may have: with its names it then fits into a video's metadata, 1 MB."""
FRAMES_MOST, PROMPTS_MOST, LORAS_MOST = 1000, 1000, 100
SECTIONS_MOST = 30_000
"""Sections a video may have: ten hours in windows of 9."""

Strength = Annotated[float, within(0, 1)]
Text = Annotated[str, Field(max_length=TEXT_MOST), BeforeValidator(as_text), at_most(TEXT_MOST, "characters")]


class GuideFrame(Model):
    """A picture the video should pass through at `second`; strength 0 leaves it out."""

    image: PictureFile
    second: Annotated[float, within(0, 36000)]
    strength: Strength = 1.0


class EndFrame(Model):
    """A picture the video should end on; strength 0 leaves it out."""

    image: PictureFile
    strength: Strength = 1.0


class TimedPrompt(Model):
    """From `second` on, this text holds instead of the request's prompt."""

    second: Annotated[float, within(0, 36000)]
    text: Text


class Lora(Model):
    """A LoRA file added to the transformer's weights; several add up, strength 0 leaves it out."""

    file: File
    strength: Annotated[float, within(-4, 4)] = 1.0


class GenerationRequest(Model):
    """Everything that determines a video, apart from the machine it is made on.

    Lossless as JSON: `GenerationRequest.model_validate_json(r.model_dump_json()) == r`.
    """

    image: PictureFile
    prompt: Text = ""
    negative_prompt: Text = ""
    model: Annotated[str, one_of(lambda: list(VARIANTS))] = DEFAULT
    """Where nobody names one: mini, or mini-f1 for more than 2.4 s or prompts that change, without pictures ahead."""
    seconds: Annotated[float, within(0.01, 36000)] = VARIANTS[DEFAULT].seconds
    """None, or nothing said, is the model's own: 2.4 for mini, else 5."""
    length: Length | None = None
    """What `seconds` means. exact: to the frame, in sections of nearly the same length, none longer than the window.
    sections: whole sections, as the public application has it (5 s give 4.83 s). None is the model's own."""
    seed: Annotated[int, within(0, 2**63 - 1)] = 31337
    steps: Annotated[int, within(1, 200)] = VARIANTS[DEFAULT].steps
    """None, or nothing said, is the model's own: 2 for mini, else 25."""
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
    """Side of the square whose area the video gets, in the picture's own shape; where no size is said, the model's
    own."""
    sampler: SamplerName = "unipc"
    shift: Annotated[float, within(0.1, 100)] | None = None
    """How far the steps lean towards noise; None goes by the video's size, at most 7. Few-step LoRAs want 15 to 17."""
    cache: CacheName = "none"
    cache_threshold: Annotated[float, within(0, 10)] = THRESHOLDS["none"]
    """None, or nothing said, is the cache's own default."""
    motion: Annotated[float, within(-1, 1)] = 0.0
    """How far things move: 0 as the model does by itself, 1 about a fifth farther, -1 half as far. Tried on mini."""
    consistency: Annotated[float, within(0, 2)] = 1.0
    """How strongly the start picture holds: 1 as the model does by itself, 0 loosely, 2 tightly. Tried on mini."""
    frames: Annotated[tuple[GuideFrame, ...], Field(max_length=FRAMES_MOST), at_most(FRAMES_MOST)] = ()
    end_frame: EndFrame | None = None
    prompts: Annotated[tuple[TimedPrompt, ...], Field(max_length=PROMPTS_MOST), at_most(PROMPTS_MOST)] = ()
    loras: Annotated[tuple[Lora, ...], Field(max_length=LORAS_MOST), at_most(LORAS_MOST)] = ()
    output: OutputSettings = Field(default_factory=OutputSettings)

    @classmethod
    def stored(cls, settings: Mapping[str, Any]) -> Self:
        """The request in settings that this version, or one before, had stored. Raises ValidationError for none.

        What is missing means what it meant then: videos were whole sections before `length` was there, and each
        model had the same steps and seconds.
        """
        before: dict[str, Any] = {"length": "sections", "steps": 25, "seconds": 5.0, "model": DEFAULT}
        if not any(settings.get(name) for name in ("width", "height", "resolution")):
            model = str(settings.get("model") or DEFAULT)
            settings = {**settings, "resolution": FIRST_SIZES.get(model)}
        return cls.model_validate({**before, **settings})

    @staticmethod
    def own(model: object) -> dict[str, Any]:
        """What a model makes of a request that does not say it; nothing for a model there is not."""
        variant = VARIANTS.get(str(model))
        if variant is None:
            return {}
        return {
            "steps": variant.steps,
            "seconds": variant.seconds,
            "resolution": variant.bucket_base,
            "window": variant.geometry.window,
        }

    def resolved(self) -> Self:
        """The same with what its model decides said, so that stored it means the same to later versions."""
        return self.model_copy(update={"length": self.length or VARIANTS[self.model].length})

    @property
    def pictures(self) -> dict[str, Picture]:
        """Those that have a say, by the plan's keys: "start", "frame:0" ..., "end"."""
        files = {"start": self.image}
        files |= {f"frame:{i}": frame.image for i, frame in enumerate(self.frames) if frame.strength > 0}
        if self.end_frame is not None and self.end_frame.strength > 0:
            files["end"] = self.end_frame.image
        return files

    @property
    def exact(self) -> bool:
        """Whether the video lasts `seconds` to the frame."""
        return (self.length or VARIANTS[self.model].length) == "exact"

    @property
    def geometry(self) -> Geometry:
        """The model's."""
        return VARIANTS[self.model].geometry

    @property
    def latent_count(self) -> int:
        """Latents to generate beside the start's."""
        if self.exact:
            return self.geometry.latents_for(self.geometry.exact_frames(self.seconds), self.window)
        return self.geometry.section_count(self.seconds, self.window) * self.window

    @property
    def frame_count(self) -> int:
        """Frames of the video at the model's own rate; what is made beyond them is dropped at the end."""
        if self.exact:
            return self.geometry.exact_frames(self.seconds, self.output.fps)
        return self.geometry.video_frames(self.latent_count, self.window)

    @property
    def delivered_frames(self) -> int:
        """Frames of the file, at its own rate; webp keeps a repeated frame once."""
        frames = resampled_count(self.frame_count, self.geometry.fps, self.output.fps)
        return min(frames, self.frame_count) if self.output.format == "webp" else frames

    def guide_latent(self, second: float) -> int:
        """The latent at which a guide frame of `second` stands.

        At the very end it is an end frame, one past the last, or the last latent but one where there is an end frame.
        """
        total = self.latent_count
        latent = self.geometry.latent_at(second, total, self.window)
        if latent < total:
            return latent
        return max(total - 1, 1) if "end" in self.pictures else total + 1

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) where the request names them."""
        return None if self.width is None or self.height is None else (self.height, self.width)

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the video of a picture of that size, where the request names none: its shape's bucket."""
        width, height = find_bucket(width, height, self.resolution or VARIANTS[self.model].bucket_base)
        return height, width

    @model_validator(mode="before")
    @classmethod
    def _as_the_model_has_it(cls, data: object) -> object:
        """What nobody says is the model's own, said here once, so that stored it means the same to later versions."""
        if not isinstance(data, dict):
            return data
        model = _model_for(data) if data.get("model") is None else data["model"]
        usual = cls.own(model)
        if any(data.get(name) is not None for name in ("width", "height", "resolution")):
            usual.pop("resolution", None)
        said = {**data, "model": model, **{name: value for name, value in usual.items() if data.get(name) is None}}
        output, rate = data.get("output") or {}, VARIANTS.get(str(model), VARIANTS[DEFAULT]).geometry.fps
        if isinstance(output, dict) and output.get("fps") is None and rate != HUNYUAN.fps:
            said["output"] = {**output, "fps": rate}
        return said

    @model_validator(mode="before")
    @classmethod
    def _threshold_of_cache(cls, data: object) -> object:
        if not isinstance(data, dict) or data.get("cache_threshold") is not None:
            return data
        return {**data, "cache_threshold": THRESHOLDS.get(str(data.get("cache")), THRESHOLDS["none"])}

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together: give both, or neither to follow the picture's shape")
        if self.width is not None and self.resolution is not None:
            raise ValueError("give either width and height or a resolution, not both")
        return self

    @model_validator(mode="after")
    def _can_be_held(self) -> Self:
        sections = math.ceil(self.latent_count / self.window)
        if sections > SECTIONS_MOST:
            raise ValueError(
                f"a video may have {SECTIONS_MOST} sections, {self.seconds:g} s in windows of {self.window} are "
                f"{sections}: shorten it or use a larger window"
            )
        texts = len(self.prompt) + len(self.negative_prompt) + sum(len(prompt.text) for prompt in self.prompts)
        if texts > TEXTS_MOST:
            raise ValueError(f"all prompts together may have {TEXTS_MOST} characters, got {texts}: shorten them")
        return self

    @model_validator(mode="after")
    def _times_are_inside(self) -> Self:
        length = self.frame_count / self.geometry.fps
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
        seconds: dict[int, float] = {}
        for frame in self.frames:
            if frame.strength == 0:
                continue
            latent = self.guide_latent(frame.second)
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


def _model_for(data: Mapping[str, Any]) -> str:
    """The model for a request that names none."""
    usual, seconds = VARIANTS[DEFAULT], data.get("seconds")
    try:
        length = usual.seconds if seconds is None else float(seconds)
    except (TypeError, ValueError):
        length = usual.seconds
    ahead = bool(data.get("frames") or data.get("end_frame"))
    forward = usual.suits_forward(length, changes=bool(data.get("prompts")), ahead=ahead)
    return usual.forward if forward and usual.forward else DEFAULT
