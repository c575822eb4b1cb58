"""FramePack: one picture and a prompt become a long, coherent video.

    import framepack

    with framepack.load("mini") as model:
        for event in model.generate(framepack.GenerationRequest(image="cat.png", prompt="a zoom in")):
            print(event)

Importing this package has no effects and pulls in neither torch nor a web framework: names are resolved on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framepack.media.credentials import read_credentials, sign_file
    from framepack.media.frames import extract_frames
    from framepack.media.inspection import inspect_file
    from framepack.media.keep import picture
    from framepack.pipeline.engine import SectionResult
    from framepack.pipeline.finishing import convert, convert_video, finish, finish_video
    from framepack.pipeline.framepack import FramePack
    from framepack.pipeline.like import request_like
    from framepack.pipeline.load import load
    from framepack.pipeline.presets import presets
    from framepack.pipeline.takes import redo
    from framepack.pipeline.timelines import export_timeline, request_from_timeline
    from framepack.spec.events import Event, Finished, Look, Notice, Planned, SectionDone, StageStarted, StepDone
    from framepack.spec.output import OutputSettings
    from framepack.spec.parts import EndFrame, Keyframe, Lora, Reference, TimedPrompt
    from framepack.spec.picture import Picture
    from framepack.spec.request import GenerationRequest

__version__ = "0.1.0"
PLACES = {
    "media.credentials": ("read_credentials", "sign_file"),
    "media.frames": ("extract_frames",),
    "media.inspection": ("inspect_file",),
    "media.keep": ("picture",),
    "pipeline.engine": ("SectionResult",),
    "pipeline.finishing": ("convert", "convert_video", "finish", "finish_video"),
    "pipeline.framepack": ("FramePack",),
    "pipeline.like": ("request_like",),
    "pipeline.load": ("load",),
    "pipeline.presets": ("presets",),
    "pipeline.takes": ("redo",),
    "pipeline.timelines": ("export_timeline", "request_from_timeline"),
    "spec.events": ("Event", "Finished", "Look", "Notice", "Planned", "SectionDone", "StageStarted", "StepDone"),
    "spec.output": ("OutputSettings",),
    "spec.picture": ("Picture",),
    "spec.parts": ("EndFrame", "Keyframe", "Lora", "Reference", "TimedPrompt"),
    "spec.request": ("GenerationRequest",),
}
"""Public names by the module they are in."""
ALIASES = {"GuideFrame": "Keyframe"}
"""Names of 0.1.0, for one version."""
__all__ = [
    "EndFrame",
    "Event",
    "Finished",
    "FramePack",
    "GenerationRequest",
    "Keyframe",
    "Look",
    "Lora",
    "Notice",
    "OutputSettings",
    "Picture",
    "Planned",
    "Reference",
    "SectionDone",
    "SectionResult",
    "StageStarted",
    "StepDone",
    "TimedPrompt",
    "__version__",
    "convert",
    "convert_video",
    "export_timeline",
    "extract_frames",
    "finish",
    "finish_video",
    "inspect_file",
    "load",
    "picture",
    "presets",
    "read_credentials",
    "redo",
    "request_from_timeline",
    "request_like",
    "sign_file",
]


def __getattr__(name: str) -> object:
    """Import the public names lazily (PEP 562), so that `import framepack` stays instant."""
    wanted = ALIASES.get(name, name)
    for place, names in PLACES.items():
        if wanted in names:
            if place.startswith("pipeline"):
                wait_without_spinning()
            return getattr(import_module(f"framepack.{place}"), wanted)
    raise AttributeError(f"module 'framepack' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def wait_without_spinning() -> None:
    """For torch's threads, before it is loaded: spinning ones are many times slower beside other programs."""
    import os

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
