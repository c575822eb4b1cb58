"""The fields of a request, each written once: type, bounds, default and help.

Command line, HTTP schema, page and reference are made of them; what they mean together is `request`'s.
"""

from typing import Annotated

from pydantic import Field

from framepack.spec.buckets import LARGEST_BASE, SMALLEST_BASE
from framepack.spec.fields import option
from framepack.spec.finish import Finish
from framepack.spec.model import Model
from framepack.spec.output import OutputSettings
from framepack.spec.parts import (
    FRAMES_MOST,
    LORAS_MOST,
    PROMPTS_MOST,
    REDO_MOST,
    THRESHOLDS,
    CacheName,
    EndFrame,
    GuidanceMode,
    Keyframe,
    Lora,
    Redo,
    Reference,
    SamplerName,
    Side,
    Still,
    Text,
    TimedPrompt,
)
from framepack.spec.picture import PictureFile
from framepack.spec.rules import one_of
from framepack.spec.tasks import Task
from framepack.spec.variants import DEFAULT, VARIANTS, Length


class RequestFields(Model):
    """The fields alone; their docstrings are the help everywhere."""

    image: PictureFile
    """The picture the video starts with.

    Of extend, lead_in, bridge and restyle: the video they work on.
    """
    task: Task = "image"
    """What is made. image: a video that starts with the image. extend: what follows a video. lead_in: what led to it.
    bridge: what lies between the image and the target. loop: a video that ends where it starts. restyle: a video anew.

    Seconds and times count the new part.
    """
    target: Annotated[PictureFile | None, Field(json_schema_extra=option(form="FILE[EDITS]"))] = None
    """What a bridge leads to, a picture or a video."""
    strength: Annotated[float, Field(ge=0.05, le=1)] = 0.6
    """How far restyle leaves its video: small stays near it, 1 keeps its first picture only."""
    motion_mask: Annotated[PictureFile | None, Field(json_schema_extra=option(form="FILE[EDITS]"))] = None
    """A picture whose white parts may move and whose black parts stand still. Keyframes are outside its law."""
    prompt: Annotated[Text, Field(json_schema_extra=option("--prompt", "-p"))] = ""
    """What happens, in one sentence about the movement; what the picture shows need not be said.

    Times in it change it on the way: `[0s: the camera pans left] [2.4s: night falls]`.
    """
    negative_prompt: Annotated[Text, Field(json_schema_extra=option("--negative"))] = ""
    """What should not happen; used where nag or cfg is not 1."""
    model: Annotated[str, one_of(VARIANTS), Field(json_schema_extra=option(follows=True, enum=list(VARIANTS)))] = (
        DEFAULT
    )
    """The mini models come with FramePack and run anywhere; the others have 13 billion parameters, and their weights'
    licence does not apply in the EU, the UK and South Korea.

    Where nobody says one: mini, or mini-f1 for more than 2.4 s without pictures ahead.
    """
    seconds: Annotated[
        float, Field(ge=0.01, le=36000, json_schema_extra=option("--seconds", "-s", usual=(1, 60), follows=True))
    ] = VARIANTS[DEFAULT].seconds
    """Length of the video: to the frame with the mini models, in whole sections with the others.

    Where nobody says it: 2.4 for mini, else 5.
    """
    length: Length | None = None
    """What the seconds mean. exact: to the frame; sections: whole ones, as published (5 s give 4.83 s).

    Where nobody says it: exact for mini, else sections. Those of an exact length are nearly equally long.
    """
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 31337
    """The same one gives the same video."""
    steps: Annotated[int, Field(ge=1, le=200, json_schema_extra=option(usual=(1, 60), follows=True))] = VARIANTS[
        DEFAULT
    ].steps
    """Denoising steps a section: more are finer and slower.

    Where nobody says it: 2 for mini, else 25.
    """
    guidance: Annotated[float, Field(ge=0, le=100, json_schema_extra=option(usual=(0, 32)))] = 10.0
    """How closely the video follows the prompt: distilled guidance, an input of the model; costs no time."""
    cfg: Annotated[float, Field(ge=0, le=30, json_schema_extra=option(usual=(0, 10)))] = 1.0
    """Classifier-free guidance: any value but 1 uses the negative prompt too and doubles the time."""
    cfg_rescale: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Draws the contrast back that a high cfg adds."""
    guidance_mode: GuidanceMode = "cfg"
    """How cfg leads away from the negative prompt. zero-star fits the negative prediction to the positive one first,
    apg leaves out what over-saturates.
    """
    nag: Annotated[float, Field(ge=1, le=30, json_schema_extra=option(usual=(1, 11)))] = 1.0
    """Leads away from the negative prompt inside the attention, at cfg 1: 1 is off, 5 usual, 11 strong.

    mini is led in its pooled text as well, through which it hears its prompt.
    Takes about half again the time in the steps down to nag_end, where cfg doubles it.
    """
    nag_alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of what nag does in the result; 0 leaves it out."""
    nag_tau: Annotated[float, Field(ge=1, le=10)] = 1.5
    """How many times as large as without it nag may make what it leads: the attention's values, mini's pooled text."""
    nag_end: Annotated[float, Field(ge=0, le=1)] = 0.75
    """Noise level, from 1 at the start to 0, below which nag rests: lower is stronger and slower."""
    window: Annotated[int, Field(ge=1, le=33)] = 9
    """Latents a section. The published models were trained with 9."""
    width: Side = None
    """Pixels, a multiple of 16 with the models of today, together with the height."""
    height: Side = None
    """Pixels, a multiple of 16 with the models of today, together with the width."""
    resolution: Annotated[int | None, Field(ge=SMALLEST_BASE, le=LARGEST_BASE)] = None
    """As a square's side: the video gets its area, in the picture's own shape.

    Where nobody says a size: 160 for mini, else 640.
    """
    sampler: SamplerName = "unipc"
    """How noise becomes a video; unipc is what the published system uses."""
    shift: Annotated[float | None, Field(ge=0.1, le=100)] = None
    """How far the steps lean towards noise; without it the size decides, at most 7. Few-step LoRAs want 15 to 17."""
    cache: CacheName = "none"
    """Skips work that hardly changes: up to twice as fast, slightly different, hands suffer first."""
    cache_threshold: Annotated[float, Field(ge=0, le=10, json_schema_extra=option(usual=(0, 1), follows=True))] = (
        THRESHOLDS["none"]
    )
    """How much change the cache lets pass: more is faster and rougher.

    Where nobody says it: 0.07 for first-block, else 0.15.
    """
    motion: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """How far things move: 0 as the model does by itself, less is calmer. Measured on mini, not tried on 13 B.

    1 is about a fifth farther, -1 half as far.
    """
    consistency: Annotated[float, Field(ge=0, le=2)] = 1.0
    """How closely the video holds to the start picture; 1 is the model's own. Measured on mini, not tried on 13 B."""
    guard: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Holds each section's colours and contrast to those of the first two under its prompt; 0 does not, 1 fully.

    Against long videos that drift. Leave it at 0 where light is to change. Measured on mini, not tried on 13 B.
    """
    frames: Annotated[
        tuple[Keyframe, ...],
        Field(max_length=FRAMES_MOST, json_schema_extra=option("--frame", form="FILE@SECONDS[:STRENGTH]")),
    ] = ()
    """The video passes through each of these pictures at its time. Strength 1 holds it fully, 0 leaves it out."""
    end_frame: Annotated[EndFrame | None, Field(json_schema_extra=option(form="FILE[:STRENGTH]"))] = None
    """The picture the video ends on."""
    reference: Annotated[Reference | None, Field(json_schema_extra=option(form="FILE[:STRENGTH]"))] = None
    """A picture of who or what the video shows, such as a face; all sections see it, and it is none of the frames."""
    restate: Annotated[int, Field(ge=0, le=1000, json_schema_extra=option(usual=(0, 10)))] = 0
    """Every so many sections, the nearest of start picture and keyframes is shown to the model once more; 0: never."""
    prompts: Annotated[
        tuple[TimedPrompt, ...], Field(max_length=PROMPTS_MOST, json_schema_extra=option("--then", form="SECONDS:TEXT"))
    ] = ()
    """Prompts that take the place of the first one, each from its second on."""
    blend: Annotated[float, Field(ge=0, le=60, json_schema_extra=option(usual=(0, 5)))] = 0.0
    """Seconds over which one prompt turns into the next, around the time of a change. 0 is at once."""
    loras: Annotated[
        tuple[Lora, ...], Field(max_length=LORAS_MOST, json_schema_extra=option("--lora", form="FILE[:STRENGTH]"))
    ] = ()
    """Styles and movements learned on top of a model; they have to be made for the model that is used."""
    redo: Annotated[
        tuple[Redo, ...], Field(max_length=REDO_MOST, json_schema_extra=option(form="SECTION", apart=True))
    ] = ()
    """Sections that were made anew, one take after the other; `framepack jobs redo` and its HTTP route add one."""
    still: Annotated[Still | None, Field(json_schema_extra=option(form="INDEX", apart=True))] = None
    """One frame in place of a video, as a PNG; `framepack still` and `framepack storyboard` ask for it."""
    finish: Finish = Field(default_factory=Finish)
    """What is done to the final frames before they are encoded."""
    output: OutputSettings = Field(default_factory=OutputSettings)
    """The file to write."""
