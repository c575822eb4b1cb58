"""One request: what the CLI, the page, the HTTP API, the job table, presets and a video's metadata all speak.

Validation says the value, the bound and the way out. Files are not opened here; the pipeline does that.
"""

import math
from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from framepack.spec.buckets import find_bucket
from framepack.spec.finish import check_sound
from framepack.spec.formats import check_size
from framepack.spec.geometry import HUNYUAN, Geometry
from framepack.spec.output import PICTURE, output_of_still
from framepack.spec.parts import (
    SECTIONS_MOST,
    TEXTS_MOST,
    THRESHOLDS,
)
from framepack.spec.picture import Picture
from framepack.spec.prompt_times import require_apart, times_apart
from framepack.spec.rates import resampled_count
from framepack.spec.request_fields import RequestFields
from framepack.spec.rules import Bounds, shortened
from framepack.spec.stored import LATEST, SCHEMA, upgraded
from framepack.spec.tasks import TASKS, Beside, frames_of, is_trimmed, latents_for, refused
from framepack.spec.variants import DEFAULT, VARIANTS, Length, model_for

SIZES = ("width", "height", "resolution")
"""Fields in pixels."""


class GenerationRequest(RequestFields):
    """Everything that determines a video, apart from the machine it is made on.

    Lossless as JSON: `GenerationRequest.model_validate_json(r.model_dump_json()) == r`.
    """

    @classmethod
    def stored(cls, settings: Mapping[str, Any]) -> Self:
        """The request in settings that this version, or one before, had stored. ValueError for none."""
        return cls.model_validate(upgraded(settings))

    def to_store(self, **shown: Any) -> dict[str, Any]:
        """As JSON for queue, work folders, presets and files; `stored` of this and of later versions reads it.

        shown: as `model_dump` has it.
        """
        return {SCHEMA: LATEST, **self.model_dump(mode="json", **shown)}

    @staticmethod
    def own(model: object) -> dict[str, Any]:
        """What a model makes of a request that does not say it; nothing for a model there is not."""
        return VARIANTS[str(model)].own if str(model) in VARIANTS else {}

    def resolved(self) -> Self:
        """The same with what its model decides said, so that stored it means the same to later versions."""
        return self.model_copy(update={"length": self.own_length})

    @property
    def pictures(self) -> dict[str, Picture]:
        """Those that have a say, by the plan's keys: "start", "frame:0" ..., "end"."""
        files = {"start": self.image}
        files |= {f"frame:{i}": frame.image for i, frame in enumerate(self.frames) if frame.strength > 0}
        if self.end_frame is not None and self.end_frame.strength > 0:
            files["end"] = self.end_frame.image
        if self.reference is not None and self.reference.strength > 0:
            files["reference"] = self.reference.image
        if self.target is not None:
            files["target"] = self.target
        return files

    @property
    def files(self) -> dict[str, Picture]:
        """Every file of pixels that has a say: the pictures, and the mask."""
        return self.pictures | ({"mask": self.motion_mask} if self.motion_mask else {})

    @property
    def beside(self) -> Mapping[Beside, str]:
        """What the new part joins: the key of its clip, by where that lies."""
        return TASKS[self.task].beside

    @property
    def pictures_ahead(self) -> bool:
        """Whether there are keyframes or an end frame that have a say, or a bridge's target."""
        return not self.pictures.keys() <= {"start", "reference"}

    @property
    def exact(self) -> bool:
        """Whether the video lasts `seconds` to the frame."""
        return self.own_length == "exact"

    @property
    def own_length(self) -> Length:
        """What the seconds mean: what is said, else the model's own; a video is restyled to the frame."""
        return self.length or ("exact" if self.task == "restyle" else VARIANTS[self.model].length)

    @property
    def geometry(self) -> Geometry:
        """The model's."""
        return VARIANTS[self.model].geometry

    @property
    def latent_count(self) -> int:
        """Latents to generate beside the start's."""
        if self.still is not None:
            return 1
        if self.exact:
            return latents_for(self.task, self.geometry, self.geometry.exact_frames(self.seconds), self.window)
        return self.geometry.section_count(self.seconds, self.window) * self.window

    @property
    def frame_count(self) -> int:
        """Frames of the new part at the model's own rate; what is made beyond them is dropped at the end."""
        if self.still is not None:
            return 1
        if self.exact and is_trimmed(self.task):
            return self.geometry.exact_frames(self.seconds, self.output.fps / self.output.speed)
        return frames_of(self.task, self.geometry, self.latent_count, self.window)

    @property
    def delivered_frames(self) -> int:
        """Frames of the file, at its own rate; webp keeps a repeated frame once."""
        output = self.output
        frames = resampled_count(self.frame_count, output.played(self.geometry.fps), output.fps)
        return min(frames, self.frame_count) if output.format == "webp" and output.fps_mode == "repeat" else frames

    @property
    def end_latent(self) -> int:
        """Where an end frame stands: on the last latent if it is shown, else one past all."""
        return self.latent_count + (not VARIANTS[self.model].shows_keyframes)

    def keyframe_latent(self, second: float) -> int:
        """The latent at which a keyframe of `second` stands; at the very end the end frame's place, or before it."""
        total = self.latent_count
        closed = "end" in self.pictures or TASKS[self.task].ends
        at_end = max(total - 1, 1) if closed else self.end_latent
        latent = self.geometry.latent_at(second, total, self.window)
        return latent if latent < total else at_end

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) where the request names them."""
        return None if self.width is None or self.height is None else (self.height, self.width)

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the video of a picture of that size, where the request names none: its shape's bucket."""
        variant = VARIANTS[self.model]
        base = self.resolution or variant.bucket_base
        width, height = find_bucket(width, height, base, variant.buckets, variant.geometry.multiple)
        return height, width

    @classmethod
    def limits(cls, name: str, before: Mapping[str, Any]) -> Bounds:
        """Sizes are multiples of what the model's geometry says."""
        limits = super().limits(name, before)
        if name not in SIZES or "model" not in before:
            return limits
        return limits._replace(multiple=VARIANTS[before["model"]].geometry.multiple)

    @model_validator(mode="before")
    @classmethod
    def _as_the_model_has_it(cls, data: object) -> object:
        """What nobody says is the model's own, said here once, so that stored it means the same to later versions."""
        if not isinstance(data, dict):
            return data
        data = {name: value for name, value in data.items() if name != SCHEMA}
        model = model_for(data) if data.get("model") is None else data["model"]
        usual = cls.own(model)
        if any(data.get(name) is not None for name in ("width", "height", "resolution")):
            usual.pop("resolution", None)
        said = {**data, "model": model, **{name: value for name, value in usual.items() if data.get(name) is None}}
        if data.get("still") is not None:
            said["output"] = output_of_still(data.get("output"))
        output, rate = said.get("output") or {}, VARIANTS.get(str(model), VARIANTS[DEFAULT]).geometry.fps
        if isinstance(output, dict) and output.get("fps") is None and rate != HUNYUAN.fps:
            said["output"] = {**output, "fps": rate}
        return said

    @model_validator(mode="before")
    @classmethod
    def _threshold_of_cache(cls, data: object) -> object:
        if not isinstance(data, dict) or data.get("cache_threshold") is not None:
            return data
        return {**data, "cache_threshold": THRESHOLDS.get(str(data.get("cache")), THRESHOLDS["none"])}

    @model_validator(mode="before")
    @classmethod
    def _times_in_prompt(cls, data: object) -> object:
        return times_apart(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _still_is_one_frame(self) -> Self:
        path = self.output.path
        picture = path is not None and path.suffix.lower() == PICTURE
        if self.still is None:
            if picture:
                raise ValueError(
                    f"a {PICTURE} holds one frame: name a .zip for all frames of a video, or ask for a still"
                )
            check_sound(self.finish, self.output.format)
            return self
        if path is not None and not picture:
            raise ValueError(f"a still is one picture, got {shortened(path.name)}: name a {PICTURE}")
        if self.output.format != "png":
            raise ValueError(f"a still is a {PICTURE}: leave output.format {self.output.format} out")
        if self.task != "image":
            raise ValueError(f"a still is one frame, made of the picture and the prompt: leave task {self.task} out")
        for name in ("frames", "end_frame", "prompts", "redo"):
            if getattr(self, name):
                raise ValueError(f"a still is one frame, made of the picture and the prompt: leave {name} out")
        return self

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together: give both, or neither to follow the picture's shape")
        if self.width is not None and self.resolution is not None:
            raise ValueError("give either width and height or a resolution, not both")
        if self.width is not None and self.height is not None:
            check_size((self.width, self.height), self.output.codec_name)
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
    def _task_can(self) -> Self:
        if refusal := refused(self.task, self.model, self.files):
            raise ValueError(refusal)
        return self

    @model_validator(mode="after")
    def _times_are_inside(self) -> Self:
        length = self.frame_count / self.geometry.fps
        whole = max(length, self.seconds) if self.exact else length  # at few frames a second the last one comes earlier
        for frame in self.frames:
            if not 0 < frame.second <= whole:
                raise ValueError(
                    f"a keyframe must lie after 0 and within the video's {whole:.2f} s, got {frame.second:g} s; "
                    "move it or lengthen the video"
                )
        for prompt in self.prompts:
            if prompt.second >= length:
                raise ValueError(
                    f"a timed prompt must begin within the video's {length:.2f} s, got {prompt.second:g} s"
                )
        return self

    @model_validator(mode="after")
    def _blends_lie_apart(self) -> Self:
        require_apart([prompt.second for prompt in self.prompts], self.blend)
        return self

    @model_validator(mode="after")
    def _guides_lie_apart(self) -> Self:
        seconds: dict[int, float] = {}
        for frame in self.frames:
            if frame.strength == 0:
                continue
            latent = self.keyframe_latent(frame.second)
            if latent in seconds:
                raise ValueError(
                    f"the keyframes at {seconds[latent]:g} s and {frame.second:g} s fall on the same place: "
                    "a video has one for every 4 frames, so move or remove one"
                )
            seconds[latent] = frame.second
        places = seconds.keys() | ({self.end_latent} if "end" in self.pictures else set())
        if VARIANTS[self.model].shows_keyframes and len(places) == self.latent_count:
            raise ValueError(
                f"keyframes fill all {len(places) * self.geometry.temporal + 1} frames of the video: lengthen it or "
                "remove one"
            )
        return self

    @model_validator(mode="after")
    def _model_can(self) -> Self:
        variant = VARIANTS[self.model]
        if self.pictures_ahead and not variant.keyframes_ahead:
            raise ValueError(
                f"{self.model} was trained to grow forward and has no slot for a later frame; "
                "use model framepack for keyframes and end frames"
            )
        return self
