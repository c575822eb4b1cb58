"""The 13 B models at their published shapes, without weights."""

from framepack.models.families import FAMILIES
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Precision
from framepack.weights.meta import MetaModels


def published(precision: Precision) -> MetaModels:
    family = FAMILIES["hunyuan"]
    assert family.shapes is not None
    return MetaModels(family, {name: family.shapes / name for name in VARIANTS["framepack"].repositories}, precision)
