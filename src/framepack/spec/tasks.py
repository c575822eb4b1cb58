"""What a request can be: its tasks, what each is given, and how many frames its latents become. Pure data.

Only the new part of a video is counted here; the frames of a source stand before or behind it untouched.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from framepack.spec.geometry import Geometry
from framepack.spec.variants import VARIANTS, Planner

Task = Literal["image", "extend", "lead_in", "bridge", "loop", "restyle"]
End = Literal["first", "last"]
Beside = Literal["before", "after"]


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """One row of TASKS."""

    command: str
    """On the command line."""
    title: str
    """What is asked for, as a sentence names it."""
    made: str
    """What is made, for a list."""
    clips: Mapping[str, End] = field(default_factory=dict)
    """Keys of pictures that are, or may be, videos, and the frame that stands for each where a picture is needed."""
    pictures: bool = True
    """Whether a picture will do as well."""
    beside: Mapping[Beside, str] = field(default_factory=dict)
    """What the new part joins, by where that lies: the key of its clip."""
    ends: str = ""
    """What the new part ends on in any case, so that it takes no end frame."""
    more: int = 1
    """Frames that the new part has beyond those of its latents, `temporal` each."""


TASKS: dict[Task, TaskRow] = {
    "image": TaskRow(command="generate", title="a video from an image", made="a video from an image"),
    "extend": TaskRow(
        command="extend",
        title="extend",
        made="what follows a video",
        clips={"start": "last"},
        pictures=False,
        beside={"before": "start"},
        more=0,
    ),
    "lead_in": TaskRow(
        command="lead-in",
        title="a lead-in",
        made="what led to a video",
        clips={"start": "first"},
        pictures=False,
        beside={"after": "start"},
        ends="its video",
        more=-3,
    ),
    "bridge": TaskRow(
        command="bridge",
        title="a bridge",
        made="what lies between two",
        clips={"start": "last", "target": "first"},
        beside={"before": "start", "after": "target"},
        ends="its target",
        more=0,
    ),
    "loop": TaskRow(command="loop", title="a loop", made="a loop from an image", ends="its start"),
    "restyle": TaskRow(
        command="restyle", title="restyle", made="a video anew", clips={"start": "first"}, pictures=False
    ),
}
"""By task. A lead-in's first latent is a clip's first, and one frame."""


def is_trimmed(task: Task) -> bool:
    """Whether a length to the frame may drop the last frames made: nothing that is given follows them."""
    return not TASKS[task].ends


def latents_for(task: Task, geometry: Geometry, frames: int, window: int) -> int:
    """Latents whose frames are `frames` or a few more; the nearest number where none can be dropped."""
    more = TASKS[task].more
    if more == 1 and is_trimmed(task):
        return geometry.latents_for(frames, window)
    places = (frames - more) / geometry.temporal
    return max(-(-(frames - more) // geometry.temporal) if is_trimmed(task) else round(places), 1)


def frames_of(task: Task, geometry: Geometry, latents: int, window: int) -> int:
    """Frames that the latents of the new part become."""
    if TASKS[task].more == 1:
        return geometry.video_frames(latents, window)
    return geometry.temporal * latents + TASKS[task].more


def refused(task: Task, model: str, given: Collection[str]) -> str:
    """Why a task cannot be, in a sentence with the way out; empty where it can. given: of target, end, mask."""
    row, backward = TASKS[task], VARIANTS[model].planner == "inverted"
    if (task == "bridge") != ("target" in given):
        if task == "bridge":
            return "a bridge leads from the image to a target: give the target, a picture or a video"
        return "a target is what a bridge leads to: use task bridge, or leave the target out"
    if row.ends and "end" in given:
        return f"{row.title} ends on {row.ends}, so it has no end frame: leave that out, or use a keyframe"
    if row.ends and not backward:
        other = sibling(model, "inverted")
        return f"{row.title} ends on what is given, and {model} has no slots for what comes later: use model {other}"
    if task == "extend" and backward and "end" not in given:
        return (
            f"{model} makes the end first, so that extend needs an end frame: give one, or use model "
            f"{sibling(model, 'forward')}"
        )
    if task == "bridge" and "mask" in given:
        return "outside a motion mask nothing changes, and a bridge leads elsewhere: leave the mask out"
    if task != "image" and not VARIANTS[model].geometry.overlap:
        return f"{model} makes each section alone, so it has no task but image: use another model"
    return ""


def able(task: Task, model: str, given: Collection[str]) -> str:
    """The model where it can do the task, else the one of its size that can; the model itself where there is none."""
    others = [model, sibling(model, "forward"), sibling(model, "inverted")]
    return next((other for other in others if not refused(task, other, given)), model)


def sibling(model: str, planner: Planner) -> str:
    """The model of the same size with the other order of sections."""
    bundled = VARIANTS[model].bundled
    return next(row.name for row in VARIANTS.values() if row.planner == planner and row.bundled == bundled)
