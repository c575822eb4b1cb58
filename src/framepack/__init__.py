"""FramePack: one picture and a sentence become a long, coherent video.

Importing this package has no effects and pulls in neither torch nor a web framework; `framepack.FramePack`
is resolved on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framepack.media.frames import extract_frames
    from framepack.media.inspection import inspect_file
    from framepack.media.keep import picture
    from framepack.pipeline.framepack import FramePack
    from framepack.pipeline.like import request_like
    from framepack.pipeline.load import load
    from framepack.pipeline.presets import presets
    from framepack.spec.picture import Picture
    from framepack.spec.request import EndFrame, GenerationRequest, GuideFrame

__version__ = "0.1.0"
__all__ = [
    "EndFrame",
    "FramePack",
    "GenerationRequest",
    "GuideFrame",
    "Picture",
    "__version__",
    "extract_frames",
    "inspect_file",
    "load",
    "picture",
    "presets",
    "request_like",
]
PLACES = {
    "FramePack": "framepack.pipeline.framepack",
    "EndFrame": "framepack.spec.request",
    "GenerationRequest": "framepack.spec.request",
    "GuideFrame": "framepack.spec.request",
    "Picture": "framepack.spec.picture",
    "extract_frames": "framepack.media.frames",
    "load": "framepack.pipeline.load",
    "inspect_file": "framepack.media.inspection",
    "picture": "framepack.media.keep",
    "presets": "framepack.pipeline.presets",
    "request_like": "framepack.pipeline.like",
}


def __getattr__(name: str) -> object:
    """Import the public names lazily (PEP 562), so that `import framepack` stays instant."""
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module 'framepack' has no attribute {name!r}")
