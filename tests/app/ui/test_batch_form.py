"""Several videos at once, without a browser: what a page says becomes the items of a batch."""

from pathlib import Path

import pytest

from framepack.app.service.job_service import Service, folders_at
from framepack.app.service.uploads import Incoming
from framepack.app.ui import batch_form
from framepack.app.ui.batch_form import BatchForm
from framepack.app.ui.controller import Controller
from framepack.app.ui.form import FieldError, defaults
from framepack.jobs.batch import BatchError
from framepack.jobs.pool import PoolConfig


@pytest.fixture
def still(tmp_path: Path):
    """A service whose jobs wait."""
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        yield service


@pytest.fixture
def upload(still: Service, sun: Path) -> str:
    with Incoming(still.folders) as incoming:
        incoming.write(sun.read_bytes())
        return incoming.accept().id


PROMPTS = "night falls\n\n# a note\nthe sun rises"


@pytest.mark.parametrize(
    ("event", "number"),
    [
        ({}, 0),
        ({"field": "seed", "values": " "}, 0),
        ({"images": [{"id": "a", "name": "a.png"}]}, 1),
        ({"prompts": PROMPTS}, 2),
        ({"field": "seed", "values": "1..4"}, 4),
        ({"field": "guidance", "values": "5, 7.5,10,"}, 3),
        ({"images": [{"id": "a"}] * 2, "prompts": PROMPTS, "field": "cache", "values": "none, teacache"}, 8),
    ],
)
def test_the_page_says_how_many_before_they_are_made(event, number) -> None:
    assert batch_form.count_view({**event, "serial": 3}) == {"serial": 3, "count": number, "error": ""}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"field": "seed", "values": "4..1"}, "a grid's range goes up"),
        ({"field": "prompt", "values": "a,b"}, "there is no field called 'prompt'"),
        ({"field": "image.file", "values": "a"}, "there is no field"),
        ({"prompts": "a\n" * 5000, "field": "seed", "values": "1..3"}, "a batch may have 10000 jobs"),
        ({"prompts": "a\n" * 200, "images": [{"id": "a"}] * 200}, "1..10000 combinations"),
        ({"images": "abc"}, "cannot be read"),
    ],
)
def test_an_error_is_shown_in_place_of_the_number(event, says) -> None:
    view = batch_form.count_view(event)
    assert view["count"] == 0
    assert says in view["error"]


def test_every_picture_with_every_sentence_and_value_becomes_a_job(still: Service, upload: str) -> None:
    batch = BatchForm(images=((upload, "my sun.png"), (upload, "b.png")), prompts=PROMPTS, field="seed", values="1,2")
    jobs = batch_form.submit(still, defaults() | {"image": None, "steps": 9}, batch, {})
    assert [(job.label, job.request.prompt, job.request.seed) for job in jobs[:3]] == [
        ("my sun night falls seed=1", "night falls", 1),
        ("my sun night falls seed=2", "night falls", 2),
        ("my sun the sun rises seed=1", "the sun rises", 1),
    ]
    assert (len(jobs), {job.request.steps for job in jobs}, len({job.batch for job in jobs})) == (8, {9}, 1)
    (shown,) = Controller(still, still.presets).batches()
    assert (shown["title"], shown["line"], shown["unfinished"], shown["sheet"]) == ("night falls", "8 waiting", 8, None)
    Controller(still, still.presets).job_action("cancel all", jobs[0].batch, 0, defaults())
    assert {job.status for job in still.jobs()} == {"cancelled"}
    assert Controller(still, still.presets).batches() == [], "what is over and has no sheet is not shown"


def test_the_forms_own_picture_and_sentence_stand_where_there_are_none(still: Service, upload: str) -> None:
    form = defaults() | {"image": upload, "prompt": "mine"}
    jobs = batch_form.submit(still, form, BatchForm(field="model", values="mini, mini-f1"), {})
    assert [(job.request.model, job.request.prompt, job.label) for job in jobs] == [
        ("mini", "mine", "model=mini"),
        ("mini-f1", "mine", "model=mini-f1"),
    ]
    with pytest.raises(FieldError, match="Add an image first"):
        batch_form.submit(still, defaults(), BatchForm(prompts=PROMPTS), {})
    with pytest.raises(ValueError, match="Add images, prompts or values"):
        batch_form.submit(still, form, BatchForm(), {})
    with pytest.raises(FieldError, match="restyle needs a video, and this is an image"):
        batch_form.submit(still, defaults() | {"task": "restyle"}, BatchForm(images=((upload, "a.png"),)), {})
    with pytest.raises(FieldError, match="Steps must be a whole number"):
        batch_form.submit(still, form | {"steps": "x"}, BatchForm(prompts=PROMPTS), {})


def test_a_mistake_names_its_row_and_queues_nothing(still: Service, upload: str) -> None:
    form = defaults() | {"image": upload}
    for batch, says in (
        (BatchForm(prompts="fine\n" + "x" * 10_001), "line 2: prompt may have 10000 characters"),
        (BatchForm(images=((upload, "a.png"), ("gone.png", "my b.png"))), r"image 2 \(my b\.png\): there is no upload"),
        (BatchForm(field="steps", values="3, 0"), r"steps=0: steps must be 1\.\.200, got 0"),
        (BatchForm(prompts="a\nb", field="seed", values="1,x"), "line 1, seed=x: seed"),
    ):
        with pytest.raises(BatchError, match=f"^{says}"):
            batch_form.submit(still, form, batch, {})
    assert still.jobs() == []


def test_one_can_go_through_every_field_of_one_value(still: Service) -> None:
    fields = {choice["field"] for choice in batch_form.grid_fields()}
    assert {"seed", "steps", "guidance", "model", "cache", "output.mark", "motion"} <= fields
    assert {"image", "prompt", "frames", "loras", "width"}.isdisjoint(fields)
    for choice in batch_form.grid_fields():
        assert choice["hint"]
