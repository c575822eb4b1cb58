"""FramePack: one picture and a sentence become a long, coherent video.

Importing this package has no effects and pulls in neither torch nor a web framework; `framepack.FramePack`
is resolved on first use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framepack.pipeline.framepack import FramePack
    from framepack.spec.request import EndFrame, GenerationRequest, GuideFrame

__version__ = "0.1.0"
__all__ = ["EndFrame", "FramePack", "GenerationRequest", "GuideFrame", "__version__"]


def __getattr__(name: str) -> object:
    """Import the three public names lazily (PEP 562), so that `import framepack` stays instant."""
    if name == "FramePack":
        from framepack.pipeline.framepack import FramePack

        return FramePack
    if name in ("EndFrame", "GenerationRequest", "GuideFrame"):
        from framepack.spec import request

        return getattr(request, name)
    raise AttributeError(f"module 'framepack' has no attribute {name!r}")
