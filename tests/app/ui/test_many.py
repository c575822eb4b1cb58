"""Several videos at once, without a browser: what a page says becomes the items of a batch."""

from pathlib import Path

import pytest

from framepack.app.service.job_service import Service, folders_at
from framepack.app.service.uploads import Incoming
from framepack.app.ui import many
from framepack.app.ui.desk import Desk
from framepack.app.ui.form import FieldError, defaults
from framepack.app.ui.many import Many
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


SENTENCES = "night falls\n\n# a note\nthe sun rises"


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ({}, 0),
        ({"field": "seed", "values": " "}, 0),
        ({"pictures": [{"id": "a", "name": "a.png"}]}, 1),
        ({"prompts": SENTENCES}, 2),
        ({"field": "seed", "values": "1..4"}, 4),
        ({"field": "guidance", "values": "5, 7.5,10,"}, 3),
        ({"pictures": [{"id": "a"}] * 2, "prompts": SENTENCES, "field": "cache", "values": "none, teacache"}, 8),
    ],
)
def test_the_page_says_how_many_before_they_are_made(said, number) -> None:
    assert many.counted({**said, "asked": 3}) == {"asked": 3, "count": number, "wrong": ""}


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"field": "seed", "values": "4..1"}, "a grid's range goes up"),
        ({"field": "prompt", "values": "a,b"}, "there is no field called 'prompt'"),
        ({"field": "image.file", "values": "a"}, "there is no field"),
        ({"prompts": "a\n" * 5000, "field": "seed", "values": "1..3"}, "a batch may have 10000 jobs"),
        ({"prompts": "a\n" * 200, "pictures": [{"id": "a"}] * 200}, "1..10000 combinations"),
        ({"pictures": "abc"}, "cannot be read"),
    ],
)
def test_what_cannot_be_is_said_instead(said, says) -> None:
    told = many.counted(said)
    assert told["count"] == 0
    assert says in told["wrong"]


def test_every_picture_with_every_sentence_and_value_becomes_a_job(still: Service, upload: str) -> None:
    said = Many(pictures=((upload, "my sun.png"), (upload, "b.png")), prompts=SENTENCES, field="seed", values="1,2")
    jobs = many.make(still, defaults() | {"image": None, "steps": 9}, said, {})
    assert [(job.label, job.request.prompt, job.request.seed) for job in jobs[:3]] == [
        ("my sun night falls seed=1", "night falls", 1),
        ("my sun night falls seed=2", "night falls", 2),
        ("my sun the sun rises seed=1", "the sun rises", 1),
    ]
    assert (len(jobs), {job.request.steps for job in jobs}, len({job.batch for job in jobs})) == (8, {9}, 1)
    (shown,) = Desk(still, still.presets).batches()
    assert (shown["title"], shown["line"], shown["unfinished"], shown["sheet"]) == ("night falls", "8 waiting", 8, None)
    Desk(still, still.presets).act("cancel all", jobs[0].batch, 0, defaults())
    assert {job.status for job in still.jobs()} == {"cancelled"}
    assert Desk(still, still.presets).batches() == [], "what is over and has no sheet is not shown"


def test_the_forms_own_picture_and_sentence_stand_where_there_are_none(still: Service, upload: str) -> None:
    form = defaults() | {"image": upload, "prompt": "mine"}
    jobs = many.make(still, form, Many(field="model", values="mini, mini-f1"), {})
    assert [(job.request.model, job.request.prompt, job.label) for job in jobs] == [
        ("mini", "mine", "model=mini"),
        ("mini-f1", "mine", "model=mini-f1"),
    ]
    with pytest.raises(FieldError, match="Add a picture first"):
        many.make(still, defaults(), Many(prompts=SENTENCES), {})
    with pytest.raises(ValueError, match="Add pictures, sentences or values"):
        many.make(still, form, Many(), {})
    with pytest.raises(FieldError, match="Steps must be a whole number"):
        many.make(still, form | {"steps": "x"}, Many(prompts=SENTENCES), {})


def test_a_mistake_names_its_row_and_queues_nothing(still: Service, upload: str) -> None:
    form = defaults() | {"image": upload}
    for said, says in (
        (Many(prompts="fine\n" + "x" * 10_001), "line 2: prompt may have 10000 characters"),
        (Many(pictures=((upload, "a.png"), ("gone.png", "my b.png"))), r"picture 2 \(my b\.png\): there is no upload"),
        (Many(field="steps", values="3, 0"), r"steps=0: steps must be 1\.\.200, got 0"),
        (Many(prompts="a\nb", field="seed", values="1,x"), "line 1, seed=x: seed"),
    ):
        with pytest.raises(BatchError, match=f"^{says}"):
            many.make(still, form, said, {})
    assert still.jobs() == []


def test_one_can_go_through_every_field_of_one_value(still: Service) -> None:
    fields = {choice["field"] for choice in many.choices()}
    assert {"seed", "steps", "guidance", "model", "cache", "output.mark", "motion"} <= fields
    assert {"image", "prompt", "frames", "loras", "width"}.isdisjoint(fields)
    for choice in many.choices():
        assert choice["hint"]
