"""Ways to compute attention: their names, what they need and what they cannot do. Checked before anything is loaded.

Boundary: names and sentences; `models.attention` computes. Loads no torch and none of the packages.
"""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from framepack.spec.plan import SectionPlan

ATTENTIONS = ("auto", "sdpa", "sdpa-chunked", "flash-attn", "sage", "xformers")
PACKAGES = {"flash-attn": "flash_attn", "sage": "sageattention", "xformers": "xformers"}
"""What one needs besides torch. These know no weights of keys."""
WHEN = {
    "flash-attn": "auto takes it where PyTorch has no FlashAttention of its own, as on Windows; else they are the same",
    "sage": "it is approximate (8-bit logits), so auto never takes it",
    "xformers": "PyTorch has the same kernels, so auto never takes it",
}
"""Whether `auto` takes one that is installed, and why."""


def installed(name: str) -> bool:
    """Whether the package of an attention is here. It is not loaded: that takes seconds, and may fail."""
    package = PACKAGES[name]
    return package in sys.modules or find_spec(package) is not None


def require_attention(name: str) -> None:
    """ValueError for an unknown name, and for one whose package is not installed."""
    if name not in ATTENTIONS:
        raise ValueError(f"attention must be one of {', '.join(ATTENTIONS)}, got {name!r}")
    if name in PACKAGES and not installed(name):
        raise ValueError(f"attention {name} needs the package {PACKAGES[name]}, which is not installed; use auto")


def left_to_sdpa(name: str, sections: Sequence[SectionPlan]) -> list[str]:
    """A sentence where sections weigh what they see, which the attention called `name` cannot."""
    weighed = sum(any(span.weight != 1 for span in section.context) for section in sections)
    if name not in PACKAGES or not weighed:
        return []
    return [
        f"attention {name} supports no strength of pictures: {weighed} of {len(sections)} sections have one other than "
        "1 and are computed with PyTorch's (sdpa)"
    ]
