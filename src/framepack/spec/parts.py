"""What a request has several of, or one beside its picture: keyframes, the end, timed prompts, LoRAs."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from framepack.spec.model import File, Model
from framepack.spec.picture import PictureFile
from framepack.spec.rules import as_text

SamplerName = Literal["unipc", "unipc-bh2", "dpm++2m", "euler"]
CacheName = Literal["none", "teacache", "first-block"]
GuidanceMode = Literal["cfg", "zero-star", "apg"]
THRESHOLDS: dict[str, float] = {"none": 0.15, "teacache": 0.15, "first-block": 0.07}
"""What each cache lets pass by default. TeaCache's is the public application's; with the first-block cache's the video
is as near to the uncached one (`benchmarks/cache_thresholds.py`)."""

TEXTS_MOST = 100_000
"""Characters all prompts of a request may have: with its names it then fits into a video's metadata, 1 MB."""
FRAMES_MOST, PROMPTS_MOST, LORAS_MOST, REDO_MOST = 1000, 1000, 100, 1000
SECTIONS_MOST = 30_000
"""Sections a video may have: ten hours in windows of 9."""

TEXT_MOST = 10_000
"""Characters a prompt may have; the encoders read some 256 words of it."""
OF_ONE_VIDEO = (
    *("image", "task", "target", "motion_mask", "frames", "end_frame", "reference", "prompt", "prompts", "seed"),
    *("redo", "still"),
)
"""Fields that make one video and no other: a preset neither keeps nor changes them."""
OF_ONE_FILE = ("path", "overwrite")
"""The same of the output's settings."""
OF_ONE_MACHINE = ("network", "lut", "audio")
"""The same of what is done to the final frames: files that lie on one machine."""

Strength = Annotated[float, Field(ge=0, le=1)]
Second = Annotated[float, Field(ge=0, le=36000)]
Side = Annotated[int | None, Field(ge=32, le=4096)]
Text = Annotated[str, Field(max_length=TEXT_MOST), BeforeValidator(as_text)]


class Keyframe(Model):
    """A picture the video should pass through."""

    image: PictureFile
    """The picture."""
    second: Second
    """When the video passes through it."""
    strength: Strength = 1.0
    """1 holds it fully, 0 leaves it out."""


class EndFrame(Model):
    """A picture the video should end on."""

    image: PictureFile
    """The picture."""
    strength: Strength = 1.0
    """1 holds it fully, 0 leaves it out."""


class Reference(Model):
    """A picture of who or what the video shows, which is none of its frames."""

    image: PictureFile
    """The picture."""
    strength: Strength = 0.3
    """1 counts as much as the start picture, and colours and places come along; 0 leaves it out."""


class TimedPrompt(Model):
    """A prompt that holds from a second on instead of the request's."""

    second: Second
    """From when it holds."""
    text: Text
    """What happens from there on."""


class Still(Model):
    """One frame in place of a video."""

    index: Annotated[int | None, Field(ge=1, le=1000)] = None
    """How far from the start picture the model is told that it lies, in latents of four frames: 1 changes little.

    Where nobody says it: the window, 9.
    """
    at: Annotated[float | None, Field(ge=0, le=36000)] = None
    """The same in seconds of a video."""
    context: bool = True
    """Leaves a video's other sections to the model as empty places, as in training; without them it is a bit faster."""

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if self.index is not None and self.at is not None:
            raise ValueError("give either the index or the second a still lies at, not both")
        return self


class Redo(Model):
    """A section that was made anew; with it begins another take of the video."""

    section: Annotated[int, Field(ge=1, le=SECTIONS_MOST)]
    """Which one, counted from 1 in the order of time."""
    only: bool = True
    """Only this one, between neighbours that stay; else all that are made after it too."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)]
    """Its noise is what a video of this seed has there."""
    prompt: Text | None = None
    """What happens in this section; without one it keeps its prompt."""
    take: Annotated[int, Field(ge=2)]
    """Number of the take that begins with it; the first take is the video as it was made first."""


class Lora(Model):
    """A LoRA file added to the transformer's weights; several add up."""

    file: File
    """Its .safetensors file; over HTTP one that the service has."""
    strength: Annotated[float, Field(ge=-4, le=4)] = 1.0
    """How much of it is added; 0 leaves it out."""
