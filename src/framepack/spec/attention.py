"""Ways to compute attention: their names, what they need and what they cannot do. Checked before anything is loaded.

Boundary: names and sentences; `models.attention` computes. Loads no torch and none of the packages.
"""

import sys
from importlib.util import find_spec

ATTENTIONS = ("auto", "sdpa", "sdpa-chunked", "flash-attn", "sage", "xformers")
PACKAGES = {"flash-attn": "flash_attn", "sage": "sageattention", "xformers": "xformers"}
"""What one needs besides torch."""
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
