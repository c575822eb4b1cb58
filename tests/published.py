"""The 13 B models at their published shapes, without weights."""

from framepack.models.families import FAMILIES
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Precision
from framepack.weights.meta import MetaModels

FAMILY = FAMILIES["hunyuan"]
assert FAMILY.shapes is not None
PLACES = {name: FAMILY.shapes / name for name in VARIANTS["framepack"].repositories}
"""Folders of the published configs, by the family's names."""


def published(precision: Precision) -> MetaModels:
    return MetaModels(FAMILY, PLACES, precision)
