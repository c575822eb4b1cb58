"""A variant's components without their weights, for estimates and checks: shapes and no bytes.

From the folders' configs where they are here, else at the published shapes, so that a job can be planned before
anything is downloaded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from framepack.models.families import FAMILIES
from framepack.models.family import ModelFamily
from framepack.spec.variants import Variant
from framepack.weights.loader import Precision
from framepack.weights.sources import MissingModelError, ModelSource, require


class MetaModels:
    """A variant's components without their weights: on the meta device, each built when it is first asked for."""

    def __init__(self, family: ModelFamily, places: Mapping[str, Path], precision: Precision) -> None:
        self.family, self.places, self.precision = family, places, precision
        self._built: dict[str, nn.Module] = {}

    @classmethod
    def of(cls, variant: Variant, source: ModelSource, precision: Precision) -> "MetaModels":
        """From what is on disk; the published shapes where a variant is not. MissingModelError for a bundled one."""
        family = FAMILIES[variant.family]
        try:
            places = require(variant, source)
        except MissingModelError:
            if variant.bundled or family.shapes is None:
                raise
            places = {name: family.shapes / name for name in variant.repositories}
        return cls(family, places, precision)

    def __getitem__(self, name: str) -> Any:
        """A component in the type it computes in."""
        if name not in self._built:
            component = self.family[name]
            module = component.empty(self.places[component.place])
            self._built[name] = module.to(getattr(self.precision, component.precision))
        return self._built[name]

    def with_network(self, name: str, network: nn.Module) -> "MetaModels":
        """The same and one more module, which is of no family. network: on the meta device."""
        other = MetaModels(self.family, self.places, self.precision)
        other._built = {**self._built, name: network}
        return other

    def blocks(self, name: str) -> Sequence[nn.Module]:
        """A component's blocks; none of what is no component."""
        return self.family[name].blocks(self[name]) if name in self.family else ()

    def sizes(self) -> dict[str, int]:
        """Bytes of each component's weights."""
        names = [component.name for component in self.family.components]
        return {name: sum(tensor.nbytes for tensor in self[name].state_dict().values()) for name in names}
