"""The part of a recipe about training clips: shares of motions, paces and cut-outs, checked when it is read."""

import math
from dataclasses import dataclass, field

from framepack.training.data.motions import MOTIONS, SPEEDS, SPRITE_MOTIONS


@dataclass(frozen=True, kw_only=True)
class ClipRecipe:
    """What the clips show."""

    motions: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MOTIONS, 1.0))
    """relative share of each motion"""
    paces: dict[str, float] = field(default_factory=lambda: {"slow": 0.25, "normal": 0.5, "fast": 0.25})
    combined: float = 0.12
    """share of clips with a camera motion and a change of light, or a moving cut-out and one of both"""
    sprites: float = 0.0
    """share of clips with a cut-out in the picture"""
    sprite_moves: float = 0.8
    """share of these in which it moves by itself; in the others it is a part of the picture"""
    sprite_motions: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SPRITE_MOTIONS, 1.0))
    """relative share of what cut-outs do"""
    smallest_crop: float = 0.5
    """crops take this share of the image's side or more"""
    free_text: float = 0.5
    """share of batches whose prompts have words around the motion"""
    wordless: float = 0.0
    """share of clips whose prompt names no motion: they stand still, unless the section shows a picture to come"""
    history_blur: float = 0.0
    """known sections are blurred by at most this share, against drift; half of the batches have none"""

    def __post_init__(self) -> None:
        """Raise ValueError for unknown motions and paces, and for shares that leave nothing to draw."""
        for name, known in (("motions", MOTIONS), ("sprite_motions", SPRITE_MOTIONS), ("paces", SPEEDS)):
            shares: dict[str, float] = getattr(self, name)
            if unknown := sorted(set(shares) - set(known)):
                raise ValueError(f"[clips.{name}] has unknown entries {unknown}; known are {sorted(known)}")
            if not all(_is_share(share) for share in shares.values()) or not sum(shares.values()) > 0:
                raise ValueError(f"[clips.{name}] needs shares of 0 or more, one of them above 0, got {shares}")


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def check_sizes(where: str, sizes: object) -> None:
    """ValueError unless these are pairs of height and width that the model can take."""
    listed = sizes if isinstance(sizes, tuple) else (sizes,)
    if not listed:
        raise ValueError(f"[{where}] needs sizes such as [[64, 64], [64, 96]], got none")
    for size in listed:
        if not isinstance(size, tuple) or len(size) != 2 or not all(isinstance(length, int) for length in size):
            raise ValueError(f"[{where}] sizes must be pairs such as [[64, 64], [64, 96]], got {size!r} among them")
        if any(length % 16 or length <= 0 for length in size):
            raise ValueError(f"sizes must be multiples of 16, got {list(size)}: round it")
