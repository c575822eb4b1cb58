import json
from pathlib import Path

import numpy as np
import pytest

from framepack.spec.events import (
    Cancelled,
    Failed,
    Finished,
    Look,
    Notice,
    Planned,
    PlannedStage,
    SectionDone,
    StageStarted,
    StepDone,
)
from framepack.spec.events_json import from_json, to_json

STAGE = PlannedStage(
    part="sample",
    title="sampling",
    placement="streamed",
    where="12 of 60 blocks on the device",
    from_disk=False,
    chunk_size=4096,
    mode=None,
    weights=1,
    activations=2,
    peak=3,
    host=4,
    passes=25,
    copied=5,
    seconds=None,
)
LOOK = Look(colour=(1.5, 2.0, 3.0), contrast=4.0, sharpness=0.1, distance=None)
EVENTS = [
    Planned(device="cuda", capacity=6, stages=(STAGE, STAGE), peak=3, host=4, seconds=1.5, notes=("a", "b")),
    StageStarted(stage="encode", message="reading", section=None),
    Notice(message="cut"),
    StepDone(section=1, sections=2, step=3, steps=4),
    SectionDone(section=0, sections=2, frames=36, seconds=1.5, file=Path("a.mp4")),
    SectionDone(section=0, sections=2, frames=36, seconds=1.5, file=None, look=LOOK),
    Finished(file=Path("b.mp4"), frames=73, seconds=2.0),
    Cancelled(file=None, frames=0),
    Failed(message="no", traceback="Traceback"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_went(event):
    assert from_json(json.loads(json.dumps(to_json(event)))) == event


def test_a_preview_comes_back_pixel_by_pixel_or_is_left_out():
    preview = np.random.default_rng(0).integers(0, 255, (9, 5, 7, 3), np.uint8)
    event = StepDone(section=0, sections=1, step=0, steps=1, preview=preview)
    back = from_json(json.loads(json.dumps(to_json(event))))
    assert np.array_equal(back.preview, preview)
    assert "preview" not in to_json(event, preview=False)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"type": "none"},
        {"type": ["step"]},
        {"type": "notice"},
        {"type": "notice", "message": "a", "x": 1},
        {"type": "planned"},
        {"type": "planned", "stages": [{}]},
    ],
)
def test_what_is_no_event_is_refused(data):
    with pytest.raises(ValueError, match="event"):
        from_json(data)


def test_a_strip_that_does_not_divide_is_refused():
    event = StepDone(section=0, sections=1, step=0, steps=1, preview=np.zeros((2, 3, 3, 3), np.uint8))
    data = to_json(event)
    data["preview"]["frames"] = 4
    with pytest.raises(ValueError, match="does not hold 4 frames"):
        from_json(data)
