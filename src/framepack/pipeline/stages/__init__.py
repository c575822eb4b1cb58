"""The kinds of work of a job, in the order they come."""

from framepack.models.attention import Attention
from framepack.models.family import ModelFamily
from framepack.pipeline.stages.decode import DecodeStage
from framepack.pipeline.stages.encoders import ImageStage, LatentStage, TextStage
from framepack.pipeline.stages.sampling import PrepareStage, SampleStage, StillStage
from framepack.pipeline.stages.source import SourceStage
from framepack.pipeline.stages.stage import Job, Modes, Stage

__all__ = ["Job", "Modes", "Stage", "stages_of"]


def stages_of(family: ModelFamily, attention: Attention) -> dict[str, Stage]:
    """Those of a family by name; one without an image encoder has no stage for it."""
    before = (TextStage(), ImageStage(), LatentStage(), SourceStage(), PrepareStage())
    every = (*before, StillStage(attention), SampleStage(attention), DecodeStage())
    return {stage.name: stage for stage in every if stage.component in family}
