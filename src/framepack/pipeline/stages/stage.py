"""A stage is one kind of a job's work, and its own estimate: `work` runs with real tensors, and with meta ones.

Boundary: what is computed with which component; who leases it, and what that takes, are `runner` and `estimate`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from framepack.memory import FallbackLevel
from framepack.models.nag import Nag
from framepack.spec.events import Part, VaeMode
from framepack.spec.geometry import Geometry
from framepack.spec.plan import SectionPlan
from framepack.spec.windows import Window
from framepack.weights.meta import MetaModels


@dataclass(frozen=True, kw_only=True)
class Job:
    """What of a request the sizes of its stages depend on."""

    geometry: Geometry
    height: int
    """In pixels."""
    width: int
    letters: int
    """Of the longest prompt."""
    steps: int
    branches: int
    """Forwards a step: two with guidance by a negative prompt."""
    cached: bool
    """Whether a block cache keeps a step's signal and residual."""
    nag: Nag | None = None
    """How attention leads away from the negative prompt in some of the steps."""
    nag_share: float = 0.0
    """In which share of them."""
    texts: int
    """Prompts to encode."""
    pictures: int
    source_frames: int
    """Of the longest pass that encodes a source; 0 where there is none."""
    source_passes: int
    source_held: int
    """Frames of a source that RAM holds at once."""
    mixes: int
    """Different mixes of pictures that sections are given."""
    sections: int
    made: int
    """Those of them that are sampled: the others are another take's."""
    stills: tuple[Window, ...]
    """Single latents that are made before the sections."""
    section: SectionPlan
    """The one with most tokens."""
    decoded: int
    """Most latents a section decodes."""
    tiles: int
    """Tiles of time that a section decodes anew."""
    enlarged: int = 0
    """Final frames that go through a network which enlarges them."""

    @property
    def latent_size(self) -> tuple[int, int]:
        """Rows and columns of a latent."""
        return self.geometry.latent_size(self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class Modes:
    """How stages compute. The same result but for rounding, except in tiles."""

    chunk_size: int | None = None
    """Tokens at a time in the transformer's blocks; None takes all at once."""
    encode: VaeMode = "whole"
    decode: VaeMode = "whole"

    def under(self, level: FallbackLevel) -> "Modes":
        """The same, or with less memory where the fallback level says so."""
        chunk_size = min((size for size in (self.chunk_size, level.chunk_size) if size), default=None)
        if level.tiled:
            return Modes(chunk_size=chunk_size, encode="tiled", decode="tiled")
        decode = "chunked" if level.chunk_size and self.decode == "whole" else self.decode
        return replace(self, chunk_size=chunk_size, decode=decode)


Outputs = Mapping[str, Any]
"""What earlier stages make, on the meta device, by their names."""


class Stage(ABC):
    """Stateless, but for what a device and a model decide once."""

    name: ClassVar[Part]
    title: ClassVar[str]
    """For a person."""
    component: ClassVar[str]
    once: ClassVar[bool] = False
    """Whether it uses the component's once-a-job modules instead of its blocks."""
    in_sections: ClassVar[bool] = False
    """Whether it is done for each section, not once a job."""
    convolutions: ClassVar[bool] = False
    """Whether most of its time is spent in them."""
    supports: ClassVar[frozenset[str]] = frozenset({"resident", "disk"})
    """Fallbacks that mean something to it."""

    @abstractmethod
    def inputs(self, job: Job, models: MetaModels, outputs: Outputs) -> tuple[Any, ...]:
        """What `work` takes beside the component, on the meta device."""

    @abstractmethod
    def work(self, module: Any, *inputs: Any, modes: Modes) -> Any:
        """One call of it."""

    def needed(self, job: Job) -> bool:
        """Whether the job has such work."""
        return self.passes(job) > 0

    def calls(self, job: Job) -> float:
        """Calls of `work` in one pass; one that has less to do counts in part."""
        return 1

    def passes(self, job: Job) -> int:
        """How often it is done; for a stage in sections, in one of them."""
        return 1

    def sections(self, job: Job) -> int:
        """In how many sections it is done, for a stage in sections."""
        return job.sections

    def lighter(self, job: Job, models: MetaModels, inputs: tuple[Any, ...]) -> tuple[float, tuple[Any, ...]]:
        """Which share of the calls has less to do, and their inputs; memory must hold the others."""
        return 0.0, inputs

    def mode(self, modes: Modes) -> object:
        """What of the modes changes it."""
        return None

    def counted(self, modes: Modes) -> tuple[Modes, float]:
        """The modes in which its operations are counted, and how many times as many it does in these."""
        return modes, 1.0

    def beside(self, job: Job, models: MetaModels, outputs: Outputs) -> int:
        """Bytes on the device during the work that are neither weights nor made by it."""
        return 0

    def waiting(self, job: Job, models: MetaModels, outputs: Outputs, on_device: int) -> int:
        """Bytes that wait in RAM meanwhile; `on_device`: how many branches' share is counted with the device."""
        return 0
