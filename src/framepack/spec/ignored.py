"""Finds the settings of a request that have no effect on its video, with a sentence for each.

Pure. A field at its default is never reported; what is invalid, `request` refuses.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Any

from framepack.spec.finish import Finish
from framepack.spec.formats import CODECS
from framepack.spec.output import FileCoding, OutputSettings
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import changes_of, prompt_at, tiles_of, unseen_keyframes, unused_prompts
from framepack.spec.variants import VARIANTS

ONE_FRAME = "a still is one frame, as the model makes it"
GUARDED_FROM = 2
"""Sections under one prompt that the guard only measures."""
FULL_STEPS = 2
"""The first and the last step of a section run in full under every cache, and all samplers do the same in two steps."""
Rule = tuple[str, Callable[[GenerationRequest], bool], str]
"""A field, when it has no effect, and the reason with the fix; `r` in it is the request."""

RULES: tuple[Rule, ...] = (
    (
        "negative_prompt",
        lambda r: r.cfg == r.nag == 1,
        "it is used where nag or cfg is not 1: set nag, such as 5, or leave it out",
    ),
    ("guidance_mode", lambda r: r.cfg == 1, "it says how cfg guides, and cfg is 1"),
    ("nag", lambda r: r.nag_alpha == 0, "a nag_alpha of 0 leaves it out"),
    (
        "nag",
        lambda r: r.task == "restyle" and r.strength <= r.nag_end,
        "it acts above a noise of nag_end {r.nag_end:g}, and strength {r.strength:g} begins below: change one of them",
    ),
    ("nag_alpha", lambda r: r.nag == 1, "nag is 1, which is off"),
    ("nag_tau", lambda r: r.nag == 1, "nag is 1, which is off"),
    ("nag_end", lambda r: r.nag == 1, "nag is 1, which is off"),
    ("guard", lambda r: longest_scene(r) <= GUARDED_FROM, "the first two sections under a prompt are its measure"),
    (
        "restate",
        lambda r: r.restate > len(tiles_of(r)),
        "the video has fewer sections than that: lower it, or leave it out",
    ),
    ("cfg_rescale", lambda r: r.cfg == 1, "it corrects what a cfg other than 1 does, and cfg is 1"),
    ("strength", lambda r: r.task != "restyle", "it says how far restyle leaves its video: use task restyle"),
    ("cache_threshold", lambda r: r.cache == "none", "there is no cache: choose teacache or first-block"),
    ("cache", lambda r: r.cache_threshold == 0, "a threshold of 0 lets no step be skipped"),
    (
        "cache",
        lambda r: r.steps <= FULL_STEPS,
        "the first and the last step are never skipped, and there are no others",
    ),
    ("sampler", lambda r: r.steps <= FULL_STEPS, "with one or two steps all samplers do the same"),
    ("blend", lambda r: not r.prompts, "one prompt holds all the time: add timed prompts"),
    ("output.crf", lambda r: not CODECS[r.output.codec_name].crf, "{r.output.format} is not compressed by it"),
    ("output.crf", lambda r: r.output.quality is not None, "quality {r.output.quality} takes its place"),
    ("output.crf", lambda r: r.output.bitrate is not None, "bitrate {r.output.bitrate:g} takes its place"),
    (
        "output.fps_mode",
        lambda r: r.output.fps == r.output.played(r.geometry.fps),
        "the file has the model's own frames, so there are none between them",
    ),
    ("output.fps", lambda r: r.still is not None and r.output.fps != r.geometry.fps, ONE_FRAME),
    ("output.speed", lambda r: r.still is not None, ONE_FRAME),
    *((f"finish.{name}", lambda r: r.still is not None, ONE_FRAME) for name in Finish.model_fields),
    ("finish.network", lambda r: r.finish.enlarge == 1, "finish.enlarge is 1: say how much larger"),
    ("finish.deflicker", lambda r: r.finish.deflicker == 1, "brightness is evened out over 2 frames or more"),
    ("output.overwrite", lambda r: r.output.path is None, "the file gets a new name, so there is none to replace"),
)


def ignored_settings(request: GenerationRequest) -> list[str]:
    """A sentence for each setting of the request without effect."""
    said = [
        f"{field} {shortened(value_at(request, field))} has no effect: {why.format(r=request)}"
        for field, ignored, why in RULES
        if value_at(request, field) != DEFAULTS[field] and ignored(request)
    ]
    for key, picture in request.pictures.items():
        if picture.focus != (0.5, 0.5) and picture.fit != "crop":
            said.append(f"focus of the picture {key!r} has no effect: fit {picture.fit} shows all of it")
    variant = VARIANTS[request.model]
    if request.still is None and variant.suits_forward(request.seconds, ahead=request.pictures_ahead):
        why = "a long video drifts more"
        said.append(f"{request.model} makes the end first, where {why}: use model {variant.forward} for this video")
    most = variant.cfg_most
    if most is not None and request.cfg > most:
        said.append(f"cfg {request.cfg:g} burns the picture of {request.model}: up to {most:g} is safe, 1 is best")
    if request.prompt and not is_said(request):
        said.append(f"prompt {shortened(request.prompt)} has no effect: timed prompts take its place in all sections")
    return [*said, *unused_prompts(request), *unseen_keyframes(request)]


def ignored_coding(output: FileCoding) -> list[str]:
    """A sentence for each setting without effect."""
    if "crf" not in output.model_fields_set:
        return []
    reasons = (
        (not CODECS[output.codec_name].crf, f"{output.format} is not compressed by it"),
        (output.quality is not None, f"quality {output.quality} takes its place"),
        (output.bitrate is not None, f"bitrate {output.bitrate} takes its place"),
    )
    return [f"crf {output.crf} has no effect: {why}" for holds, why in reasons if holds][:1]


def longest_scene(request: GenerationRequest) -> int:
    """Sections of the longest run of them that have one prompt."""
    if request.still is not None:
        return 1
    changes = changes_of(request)
    said = [prompt_at(request, changes, latents) for latents in tiles_of(request)]
    return max(len(list(run)) for _, run in groupby(said))


def is_said(request: GenerationRequest) -> bool:
    """Whether any section takes the request's own prompt."""
    changes = changes_of(request)
    return any(prompt_at(request, changes, latents) == request.prompt for latents in tiles_of(request))


def value_at(request: GenerationRequest, field: str) -> Any:
    """A field's value; a dot leads into a part."""
    value: Any = request
    for name in field.split("."):
        value = getattr(value, name)
    return value


def default_of(field: str) -> Any:
    """What a field is where nobody says anything."""
    owner = {"output": OutputSettings, "finish": Finish}.get(field.rpartition(".")[0], GenerationRequest)
    return owner.model_fields[field.rpartition(".")[2]].default


DEFAULTS = {field: default_of(field) for field, _, _ in RULES}


def shortened(value: object, most: int = 60) -> str:
    """A value as a message shows it."""
    text = repr(value) if isinstance(value, str) and " " in value else f"{value}"
    return text if len(text) <= most else f"{text[:most]}..."
