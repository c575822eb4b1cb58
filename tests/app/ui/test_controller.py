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
from framepack.app.ui.controller import Controller
from framepack.app.ui.form import FieldError, defaults
from framepack.app.ui.notices import error_notice
from framepack.jobs.pool import PoolConfig
from framepack.media.frames import still
from framepack.media.image import load_image
from framepack.pipeline.preset_settings import OF_ONE_VIDEO
from framepack.pipeline.presets import Presets
from framepack.spec.output import OutputSettings
from framepack.spec.parts import Lora
from framepack.spec.request import GenerationRequest


@pytest.fixture
def controller(service: Service, tmp_path: Path) -> Controller:
    return Controller(service, Presets(tmp_path / "presets"))


def values(controller: Controller, sun: Path, **more) -> dict:
    with Incoming(controller.service.folders) as incoming:
        incoming.write(sun.read_bytes())
        return defaults() | {"image": incoming.accept().id, "steps": 2, "seconds": 2.4} | more


def ended(controller: Controller, job: str) -> dict:
    until = time.monotonic() + 240
    while (view := controller.viewer(job))["status"] in ("queued", "running"):
        assert time.monotonic() < until, view
        time.sleep(0.05)
    return view


def test_a_job_goes_from_the_form_to_a_video_and_back_to_the_form(controller: Controller, sun: Path) -> None:
    asked = values(controller, sun, prompt="sunset")
    job = controller.submit(asked, "", "").job
    assert job
    view = ended(controller, job)
    assert (view["status"], view["show"], view["percent"]) == ("done", "video", 100)
    assert view["actions"] == ["input", "extend", "reuse", "delete"]
    assert controller.job_action("reuse", job, 0, asked).values == asked
    taken = controller.job_action("input", job, 0, asked).values["image"]
    assert (controller.service.folders.uploads / taken).is_file()
    assert [row["id"] for row in controller.refresh(job, "SUNSET")[2]] == [job]
    assert controller.refresh(job, "moon")[2] == []
    controller.job_action("delete", job, 0, asked)
    assert controller.viewer(job) == {"status": "empty"}
    assert list(controller.service.folders.outputs.glob("*.mp4")) == []


def test_a_frame_of_a_video_becomes_any_picture_of_the_form(controller: Controller, sun: Path) -> None:
    asked = values(controller, sun, frames=[{"image": "other.png", "second": 1, "strength": 0.5}])
    job = controller.submit(asked | {"frames": []}, "", "").job
    assert job
    ended(controller, job)
    video = controller.service.video(job)
    assert video
    frame = still(video, which=40)

    def pixels(name: str) -> np.ndarray:
        return load_image(controller.service.folders.uploads / name)

    start = controller.job_action("start", job, 40, asked).values["image"]
    ((end,),) = controller.job_action("end", job, 40, asked).values.values()
    taken = controller.job_action("keyframe", job, 40, asked)
    first, keyframe = taken.values["frames"]
    assert first == asked["frames"][0]
    assert (keyframe["second"], keyframe["strength"]) == (round(frame.second, 2), 1)
    assert taken.messages == [f"Frame 40 is now a keyframe at {frame.second:.2f} s."]
    for name in (start, end["image"], keyframe["image"]):
        assert np.array_equal(pixels(name), frame.pixels)
    (early,) = controller.job_action("keyframe", job, 0, asked | {"frames": []}).values["frames"]
    assert early["second"] == 0.1, "a keyframe lies after the start"
    with pytest.raises(ValueError, match="there is no frame 4000"):
        controller.job_action("start", job, 4000, asked)


def test_a_second_job_waits_is_edited_moved_and_cancelled(controller: Controller, sun: Path) -> None:
    slow = values(controller, sun, prompt="until called")
    first = controller.submit(slow, "", "").job
    assert first
    assert controller.submit(slow | {"prompt": "b"}, first, "").job is None, "the tab stays with the job that runs"
    controller.submit(slow | {"prompt": "c"}, first, "")
    b, c = (row for row in controller.refresh("", "")[1]["jobs"] if row["prompt"] in "bc")
    controller.job_action("up", c["id"], 0, slow)
    assert [row["prompt"] for row in controller.refresh("", "")[1]["jobs"]] == ["until called", "c", "b"]
    edit = controller.job_action("edit", b["id"], 0, slow)
    assert edit.editing == b["id"]
    assert edit.values
    done = controller.submit(edit.values | {"prompt": "edited"}, first, b["id"])
    assert done.editing == ""
    assert [row["prompt"] for row in controller.refresh("", "")[1]["jobs"]] == ["until called", "c", "edited"]
    for job in (b["id"], c["id"], first):
        controller.job_action("cancel", job, 0, slow)
    assert ended(controller, first)["status"] == "cancelled"


def test_a_job_that_begins_while_it_is_edited_leaves_its_settings_in_the_form(sun: Path, tmp_path: Path) -> None:
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        controller = Controller(service, Presets(tmp_path / "presets"))
        (job,) = service.submit([GenerationRequest(image=sun)])
        edit = controller.job_action("edit", job.id, 0, defaults())
        assert service.store.claims.take("w")
        for gone in (job.id, "another"):
            saved = controller.submit(edit.values, "", gone)
            assert (saved.edit_lost, saved.editing, saved.values) == (True, None, {})
            assert "has started or is gone" in saved.text
        saved_form = {"values": edit.values, "lock": False, "preserve": "", "editing": job.id}
        form = controller.initial_form(json.dumps({"here": saved_form}))
        assert (form.editing, form.values) == ("", edit.values)


def test_memory_to_leave_free_goes_with_the_job_and_comes_back_with_its_settings(
    controller: Controller, sun: Path
) -> None:
    asked = values(controller, sun)
    with pytest.raises(ValueError, match="no worker of this service has a GPU"):
        controller.submit(asked, "", "", "6")
    controller.service.has_gpu = True
    job = controller.submit(asked, "", "", "6").job
    assert job
    assert controller.service.get(job).machine == {"preserve": "6GB"}
    assert controller.job_action("reuse", job, 0, asked).machine == {"preserve": "6GB"}
    assert ended(controller, job)["status"] == "done"


def test_a_preset_leaves_the_settings_of_one_video_alone(controller: Controller, sun: Path, tmp_path: Path) -> None:
    prompts = [{"second": 1.2, "text": "and then"}]
    asked = values(controller, sun, guidance=3.5, prompt="mine", seed="5", prompts=prompts)
    controller.preset_action("save", {"name": "mine"}, asked)
    preset = controller.presets.load("mine")
    assert {"image", "frames", "end_frame", "prompt", "prompts", "seed"}.isdisjoint(preset)
    assert (preset["guidance"], preset["negative_prompt"]) == (3.5, "")
    old = preset | {"prompt": "of another version", "seed": 1}
    (tmp_path / "presets" / "old.json").write_text(json.dumps(old))
    for name in ("mine", "old"):
        loaded = controller.preset_action("load", {"name": name}, defaults())
        assert loaded.values == {key: asked[key] for key in asked.keys() - set(OF_ONE_VIDEO)}
        assert loaded.messages == [f"{name} is loaded."]


def test_a_preset_is_saved_whatever_is_wrong_with_what_it_leaves_out(controller: Controller) -> None:
    wrong_video = {"seed": "abc", "prompts": [{"second": "x", "text": ""}]}
    controller.preset_action("save", {"name": "mine"}, defaults() | wrong_video)
    with pytest.raises(FieldError, match="Steps must be a whole number") as wrong:
        controller.preset_action("save", {"name": "bad"}, defaults() | {"steps": "abc"})
    assert (wrong.value.field, controller.presets.names()) == ("steps", ["mine"])


def test_what_can_never_be_loaded_is_no_preset(controller: Controller) -> None:
    with pytest.raises(ValueError, match="width and height go together"):
        controller.preset_action("save", {"name": "wide"}, defaults() | {"width": "512"})
    both = json.dumps({"good": {"steps": 3}, "wide": {"width": 512}})
    with pytest.raises(ValueError, match="The preset wide cannot be imported"):
        controller.preset_action("import", {"text": both}, defaults())
    assert controller.presets.names() == []


def test_the_last_of_many_jobs_is_moved_and_the_page_says_how_many_it_does_not_show(sun: Path, tmp_path: Path) -> None:
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        controller = Controller(service, Presets(tmp_path / "presets"))
        jobs = service.submit([GenerationRequest(image=sun)] * 103)
        queue = controller.refresh("", "")[1]
        assert (len(queue["jobs"]), queue["more"]) == (100, 3)
        controller.job_action("up", jobs[102].id, 0, defaults())
        assert [job.id for job in service.jobs(offset=101)] == [jobs[102].id, jobs[101].id]


@pytest.mark.parametrize("allowed", [False, True])
def test_a_job_that_is_edited_keeps_the_name_of_its_file(allowed: bool, sun: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.mp4"
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        controller = Controller(service, Presets(tmp_path / "presets"))
        (job,) = service.submit([GenerationRequest(image=sun, output=OutputSettings(path=file, overwrite=allowed))])
        for name, kept in (("mp4", file), ("webm", tmp_path / "mine.webm")):
            settings = controller.job_action("edit", job.id, 0, defaults()).values
            assert settings
            controller.submit(settings | {"output.format": name}, "", job.id)
            output = service.get(job.id).request.output
            assert (output.path, output.overwrite) == (kept, allowed)


def test_a_job_that_is_edited_keeps_its_lora_wherever_it_lies(sun: Path, tmp_path: Path) -> None:
    own = tmp_path / "v2" / "style.safetensors"
    own.parent.mkdir()
    own.write_bytes(b"x")
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        (service.folders.home / "loras" / own.name).write_bytes(b"another")
        controller = Controller(service, Presets(tmp_path / "presets"))
        (job,) = service.submit([GenerationRequest(image=sun, loras=(Lora(file=own),))])
        settings = controller.job_action("edit", job.id, 0, defaults()).values
        assert settings
        controller.submit(settings | {"prompt": "edited"}, "", job.id)
        now = service.get(job.id).request
        assert (now.prompt, now.loras[0].file) == ("edited", own)
        with TestClient(make_app(service, Access()), base_url="http://localhost") as client:
            seen = client.get(f"/api/jobs/{job.id}").json()["request"]
            del seen["output"]
            assert client.put(f"/api/jobs/{job.id}", json=seen | {"seed": 5}).status_code == 200
        assert (service.get(job.id).request.seed, service.get(job.id).request.loras[0].file) == (5, own)


def test_a_video_outside_the_outputs_folder_is_not_offered(sun: Path, tmp_path: Path) -> None:
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        controller = Controller(service, Presets(tmp_path / "presets"))
        for file, offered in ((tmp_path / "mine.mp4", False), (service.folders.outputs / "ours.mp4", True)):
            (job,) = service.submit([GenerationRequest(image=sun)])
            claimed = service.store.claims.take("w")
            assert claimed
            service.store.claims.finish(job.id, claimed.claim or "", "done", outputs=[file])
            assert bool(controller.viewer(job.id)["video"]) == offered
            assert bool(controller.refresh("", "")[2][0]["video"]) == offered


def test_moving_a_job_that_has_just_begun_is_refused_in_a_sentence(sun: Path, tmp_path: Path) -> None:
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        controller = Controller(service, Presets(tmp_path / "presets"))
        (job,) = service.submit([GenerationRequest(image=sun)])
        service.store.claims.take("w")
        with pytest.raises(ValueError, match="job can be moved"):
            controller.job_action("up", job.id, 0, defaults())


def test_a_mistake_is_a_sentence_and_any_other_error_has_its_traceback() -> None:
    assert error_notice(ValueError("the seed is odd")) == {"tone": "error", "text": "The seed is odd."}
    surprise = error_notice(RuntimeError("boom"))
    assert surprise["text"].endswith("Boom.")
    assert "RuntimeError" in surprise["detail"]


def test_an_unknown_job_in_an_address_is_an_empty_page(controller: Controller) -> None:
    assert controller.viewer("../../etc") == {"status": "empty"}


def test_edited_images_outlive_a_reload_and_edits_that_cannot_be_made_do_not(controller: Controller, sun: Path) -> None:
    upload = values(controller, sun)["image"]
    good = {"file": upload, "rotate": 90, "crop": [0, 0, 0.5, 1]}
    row = {"image": good, "second": 1, "strength": 1}
    form = values(controller, sun, image=good, frames=[row], end_frame=[{"image": good, "strength": 1}])

    def reloaded(now: dict) -> dict:
        saved_form = {"values": now, "lock": False, "preserve": "", "editing": ""}
        return controller.initial_form(json.dumps({"here": saved_form})).values

    assert reloaded(form) == form
    for wrong in (good | {"rotate": 45}, {"rotate": 90}, good | {"file": "/etc/passwd"}, good | {"file": 3}, 7):
        back = reloaded(form | {"image": wrong, "frames": [row | {"image": wrong}]})
        assert (back["image"], back["frames"], back["end_frame"]) == (None, [], form["end_frame"])
