"""What the page's buttons do, without a browser."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from framepack.app.api import make_app
from framepack.app.api.guard import Access
from framepack.app.service.job_service import Service, folders_at
from framepack.app.service.uploads import Incoming
from framepack.app.ui.desk import Desk, trouble
from framepack.app.ui.form import FieldError, defaults
from framepack.jobs.pool import PoolConfig
from framepack.media.frames import still
from framepack.media.image import load_image
from framepack.pipeline.preset_settings import OF_ONE_VIDEO
from framepack.pipeline.presets import Presets
from framepack.spec.output import OutputSettings
from framepack.spec.request import GenerationRequest, Lora


@pytest.fixture
def desk(service: Service, tmp_path: Path) -> Desk:
    return Desk(service, Presets(tmp_path / "presets"))


def values(desk: Desk, sun: Path, **more) -> dict:
    with Incoming(desk.service.folders) as incoming:
        incoming.write(sun.read_bytes())
        return defaults() | {"image": incoming.accept().id, "steps": 2, "seconds": 2.4} | more


def ended(desk: Desk, job: str) -> dict:
    until = time.monotonic() + 240
    while (view := desk.stage(job))["status"] in ("queued", "running"):
        assert time.monotonic() < until, view
        time.sleep(0.05)
    return view


def test_a_job_goes_from_the_form_to_a_video_and_back_to_the_form(desk: Desk, sun: Path) -> None:
    asked = values(desk, sun, prompt="sunset")
    job = desk.submit(asked, "", "").job
    assert job
    view = ended(desk, job)
    assert (view["status"], view["show"], view["percent"]) == ("done", "video", 100)
    assert view["actions"] == ["input", "reuse", "delete"]
    assert desk.act("reuse", job, 0, asked).values == asked
    taken = desk.act("input", job, 0, asked).values["image"]
    assert (desk.service.folders.uploads / taken).is_file()
    assert [row["id"] for row in desk.look(job, "SUNSET")[2]] == [job]
    assert desk.look(job, "moon")[2] == []
    desk.act("delete", job, 0, asked)
    assert desk.stage(job) == {"status": "empty"}
    assert list(desk.service.folders.outputs.glob("*.mp4")) == []


def test_a_frame_of_a_video_becomes_any_picture_of_the_form(desk: Desk, sun: Path) -> None:
    asked = values(desk, sun, frames=[{"image": "other.png", "second": 1, "strength": 0.5}])
    job = desk.submit(asked | {"frames": []}, "", "").job
    assert job
    ended(desk, job)
    video = desk.service.video(job)
    assert video
    frame = still(video, which=40)

    def pixels(name: str) -> np.ndarray:
        return load_image(desk.service.folders.uploads / name)

    start = desk.act("start", job, 40, asked).values["image"]
    ((end,),) = desk.act("end", job, 40, asked).values.values()
    taken = desk.act("guide", job, 40, asked)
    kept, guide = taken.values["frames"]
    assert kept == asked["frames"][0]
    assert (guide["second"], guide["strength"]) == (round(frame.second, 2), 1)
    assert taken.said == [f"Frame 40 is a keyframe now, at {frame.second:.2f} s."]
    for name in (start, end["image"], guide["image"]):
        assert np.array_equal(pixels(name), frame.pixels)
    (first,) = desk.act("guide", job, 0, asked | {"frames": []}).values["frames"]
    assert first["second"] == 0.1, "a keyframe lies after the start"
    with pytest.raises(ValueError, match="there is no frame 4000"):
        desk.act("start", job, 4000, asked)


def test_a_second_job_waits_is_edited_moved_and_cancelled(desk: Desk, sun: Path) -> None:
    slow = values(desk, sun, prompt="until told")
    first = desk.submit(slow, "", "").job
    assert first
    assert desk.submit(slow | {"prompt": "b"}, first, "").job is None, "the tab stays with the job that runs"
    desk.submit(slow | {"prompt": "c"}, first, "")
    b, c = (row for row in desk.look("", "")[1]["jobs"] if row["prompt"] in "bc")
    desk.act("up", c["id"], 0, slow)
    assert [row["prompt"] for row in desk.look("", "")[1]["jobs"]] == ["until told", "c", "b"]
    edit = desk.act("edit", b["id"], 0, slow)
    assert edit.editing == b["id"]
    assert edit.values
    done = desk.submit(edit.values | {"prompt": "edited"}, first, b["id"])
    assert done.editing == ""
    assert [row["prompt"] for row in desk.look("", "")[1]["jobs"]] == ["until told", "c", "edited"]
    for job in (b["id"], c["id"], first):
        desk.act("cancel", job, 0, slow)
    assert ended(desk, first)["status"] == "cancelled"


def test_a_job_that_begins_while_it_is_edited_leaves_its_settings_in_the_form(sun: Path, tmp_path: Path) -> None:
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        desk = Desk(service, Presets(tmp_path / "presets"))
        (job,) = service.submit([GenerationRequest(image=sun)])
        edit = desk.act("edit", job.id, 0, defaults())
        assert service.store.claims.take("w")
        for gone in (job.id, "another"):
            saved = desk.submit(edit.values, "", gone)
            assert (saved.loose, saved.editing, saved.values) == (True, None, {})
            assert "has begun or is gone" in saved.text
        kept = {"values": edit.values, "lock": False, "preserve": "", "editing": job.id}
        begun = desk.begun(json.dumps({"here": kept}))
        assert (begun.editing, begun.values) == ("", edit.values)


def test_memory_to_leave_free_goes_with_the_job_and_comes_back_with_its_settings(desk: Desk, sun: Path) -> None:
    asked = values(desk, sun)
    with pytest.raises(ValueError, match="no worker of this service has a GPU"):
        desk.submit(asked, "", "", "6")
    desk.service.has_gpu = True
    job = desk.submit(asked, "", "", "6").job
    assert job
    assert desk.service.get(job).machine == {"preserve": "6GB"}
    assert desk.act("reuse", job, 0, asked).machine == {"preserve": "6GB"}
    assert ended(desk, job)["status"] == "done"


def test_a_preset_is_a_look_and_leaves_alone_what_makes_one_video(desk: Desk, sun: Path, tmp_path: Path) -> None:
    asked = values(desk, sun, guidance=3.5, prompt="mine", seed="5", prompts=[{"second": 1.2, "text": "and then"}])
    desk.preset("save", {"name": "mine"}, asked)
    kept = desk.presets.load("mine")
    assert {"image", "frames", "end_frame", "prompt", "prompts", "seed"}.isdisjoint(kept)
    assert (kept["guidance"], kept["negative_prompt"]) == (3.5, "")
    old = kept | {"prompt": "of another version", "seed": 1}
    (tmp_path / "presets" / "old.json").write_text(json.dumps(old))
    for name in ("mine", "old"):
        loaded = desk.preset("load", {"name": name}, defaults())
        assert loaded.values == {key: asked[key] for key in asked.keys() - set(OF_ONE_VIDEO)}
        assert loaded.said == [f"{name} is loaded."]


def test_a_preset_is_saved_whatever_is_wrong_with_what_it_leaves_out(desk: Desk) -> None:
    desk.preset("save", {"name": "mine"}, defaults() | {"seed": "abc", "prompts": [{"second": "x", "text": ""}]})
    with pytest.raises(FieldError, match="Steps must be a whole number") as wrong:
        desk.preset("save", {"name": "bad"}, defaults() | {"steps": "abc"})
    assert (wrong.value.field, desk.presets.names()) == ("steps", ["mine"])


def test_what_can_never_be_loaded_is_no_preset(desk: Desk) -> None:
    with pytest.raises(ValueError, match="width and height go together"):
        desk.preset("save", {"name": "wide"}, defaults() | {"width": "512"})
    both = json.dumps({"good": {"steps": 3}, "wide": {"width": 512}})
    with pytest.raises(ValueError, match="The preset wide cannot be imported"):
        desk.preset("import", {"text": both}, defaults())
    assert desk.presets.names() == []


def test_the_last_of_many_jobs_is_moved_and_the_page_says_how_many_it_does_not_show(sun: Path, tmp_path: Path) -> None:
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        desk = Desk(service, Presets(tmp_path / "presets"))
        jobs = service.submit([GenerationRequest(image=sun)] * 103)
        queue = desk.look("", "")[1]
        assert (len(queue["jobs"]), queue["more"]) == (100, 3)
        desk.act("up", jobs[102].id, 0, defaults())
        assert [job.id for job in service.jobs(offset=101)] == [jobs[102].id, jobs[101].id]


@pytest.mark.parametrize("allowed", [False, True])
def test_a_job_that_is_edited_keeps_the_name_of_its_file(allowed: bool, sun: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.mp4"
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        desk = Desk(service, Presets(tmp_path / "presets"))
        (job,) = service.submit([GenerationRequest(image=sun, output=OutputSettings(path=file, overwrite=allowed))])
        for name, kept in (("mp4", file), ("webm", tmp_path / "mine.webm")):
            settings = desk.act("edit", job.id, 0, defaults()).values
            assert settings
            desk.submit(settings | {"output.format": name}, "", job.id)
            output = service.get(job.id).request.output
            assert (output.path, output.overwrite) == (kept, allowed)


def test_a_job_that_is_edited_keeps_its_lora_wherever_it_lies(sun: Path, tmp_path: Path) -> None:
    own = tmp_path / "v2" / "style.safetensors"
    own.parent.mkdir()
    own.write_bytes(b"x")
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        (service.folders.home / "loras" / own.name).write_bytes(b"another")
        desk = Desk(service, Presets(tmp_path / "presets"))
        (job,) = service.submit([GenerationRequest(image=sun, loras=(Lora(file=own),))])
        settings = desk.act("edit", job.id, 0, defaults()).values
        assert settings
        desk.submit(settings | {"prompt": "edited"}, "", job.id)
        now = service.get(job.id).request
        assert (now.prompt, now.loras[0].file) == ("edited", own)
        with TestClient(make_app(service, Access()), base_url="http://localhost") as client:
            told = client.get(f"/api/jobs/{job.id}").json()["request"]
            del told["output"]
            assert client.put(f"/api/jobs/{job.id}", json=told | {"seed": 5}).status_code == 200
        assert (service.get(job.id).request.seed, service.get(job.id).request.loras[0].file) == (5, own)


def test_a_video_outside_the_outputs_folder_is_not_offered(sun: Path, tmp_path: Path) -> None:
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        desk = Desk(service, Presets(tmp_path / "presets"))
        for file, offered in ((tmp_path / "mine.mp4", False), (service.folders.outputs / "ours.mp4", True)):
            (job,) = service.submit([GenerationRequest(image=sun)])
            claimed = service.store.claims.take("w")
            assert claimed
            service.store.claims.finish(job.id, claimed.claim or "", "done", outputs=[file])
            assert bool(desk.stage(job.id)["video"]) == offered
            assert bool(desk.look("", "")[2][0]["video"]) == offered


def test_moving_a_job_that_has_just_begun_is_refused_in_a_sentence(sun: Path, tmp_path: Path) -> None:
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        desk = Desk(service, Presets(tmp_path / "presets"))
        (job,) = service.submit([GenerationRequest(image=sun)])
        service.store.claims.take("w")
        with pytest.raises(ValueError, match="job can be moved"):
            desk.act("up", job.id, 0, defaults())


def test_errors_are_sentences_and_surprises_have_their_story() -> None:
    assert trouble(ValueError("the seed is odd")) == {"tone": "wrong", "text": "The seed is odd."}
    surprise = trouble(RuntimeError("boom"))
    assert surprise["text"].endswith("Boom.")
    assert "RuntimeError" in surprise["detail"]


def test_an_unknown_job_in_an_address_is_an_empty_page(desk: Desk) -> None:
    assert desk.stage("../../etc") == {"status": "empty"}


def test_edited_pictures_outlive_a_reload_and_edits_that_cannot_be_made_do_not(desk: Desk, sun: Path) -> None:
    upload = values(desk, sun)["image"]
    good = {"file": upload, "rotate": 90, "crop": [0, 0, 0.5, 1]}
    row = {"image": good, "second": 1, "strength": 1}
    form = values(desk, sun, image=good, frames=[row], end_frame=[{"image": good, "strength": 1}])

    def reloaded(now: dict) -> dict:
        kept = {"values": now, "lock": False, "preserve": "", "editing": ""}
        return desk.begun(json.dumps({"here": kept})).values

    assert reloaded(form) == form
    for wrong in (good | {"rotate": 45}, {"rotate": 90}, good | {"file": "/etc/passwd"}, good | {"file": 3}, 7):
        back = reloaded(form | {"image": wrong, "frames": [row | {"image": wrong}]})
        assert (back["image"], back["frames"], back["end_frame"]) == (None, [], form["end_frame"])
