"""Between the engine and the disk: what exists already is handed in, what is new is written down, and said."""

from collections.abc import Iterator

from torch import Tensor

from framepack.pipeline.engine import Engine, SectionResult
from framepack.pipeline.output import VideoOutput
from framepack.pipeline.section_store import SectionStore, shape_of
from framepack.spec.events import Event, Notice, SectionDone
from framepack.spec.plan import SectionPlan


def recorded(engine: Engine, store: SectionStore, video: VideoOutput) -> Iterator[Event]:
    """Let the engine make what the store lacks; write down each section, then its frames, and say how far it is."""
    sections, like = engine.sections, engine.latents["start"]
    there, sums, damaged = store.intact(sections, like)
    lost = video.lost(sums)
    for message in filter(None, (damaged, lost and f"{lost}: its frames are decoded again from the finished sections")):
        yield Notice(message=message)

    def given(section: SectionPlan) -> Tensor | None:
        if section.index < there or store.shares(section.index):
            return store.load_section(section.index, shape_of(section, like))[0]
        return None

    for made in engine.run(given, frames_from=0 if lost else there):
        if not isinstance(made, SectionResult):
            yield made
            continue
        index = made.section.index
        if made.frames is not None:
            video.write(index, made.frames.numpy())
        new = not made.given or index >= there
        if not made.given or store.older:
            store.save_section(index, made.latents, video.sums.get(index, ""), made.look)
        elif lost or new:
            store.save_frames(index, video.sums.get(index, ""))
        if index == there - 1 and store.older:
            store.sign()
        if new or index == there - 1 < len(sections) - 1:
            file, frames = video.publish(index, made.provisional.numpy())
            yield SectionDone(
                section=index,
                sections=len(sections),
                frames=frames,
                seconds=made.seconds,
                file=file,
                look=made.look or store.look(index),
            )
