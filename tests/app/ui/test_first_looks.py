"""Frames before the long run, and what of finished videos goes into the form, without a browser."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_worker import paint
from PIL import Image

from framepack.app.service.job_service import Service, folders_at
from framepack.app.service.uploads import Incoming
from framepack.app.ui import first_looks, views
from framepack.app.ui.controller import Controller
from framepack.app.ui.form import FieldError, defaults, request_of
from framepack.jobs.job import Job
from framepack.jobs.pool import PoolConfig
from framepack.media.video import VideoWriter
from framepack.pipeline.presets import Presets
from framepack.spec.redo import redone
from framepack.spec.request import GenerationRequest
from framepack.spec.storyboard import still_at


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    """Of a service without workers."""
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        yield Controller(service, Presets(tmp_path / "presets"))


@pytest.fixture
def asked(controller: Controller, sun: Path) -> dict:
    """The values of a form with an image, for a video of four sections."""
    with Incoming(controller.service.folders) as incoming:
        incoming.write(sun.read_bytes())
        return defaults() | {"image": incoming.accept().id, "seconds": 4.8, "prompt": "a"}


def finish(controller: Controller, name: str) -> Job:
    """End the first job of the queue as done, with a file of this name."""
    file = controller.service.folders.outputs / name
    if file.suffix == ".png":
        Image.fromarray(paint(0.5, (64, 64))).save(file)
    else:
        with VideoWriter(file, size=(64, 64)) as writer:
            writer.write(np.stack([paint(at / 5, (64, 64)) for at in range(5)]))
    claimed = controller.service.store.claims.take("w")
    assert claimed
    controller.service.store.claims.finish(claimed.id, claimed.claim or "", "done", outputs=[file])
    return controller.service.get(claimed.id)


def test_one_frame_is_of_the_forms_video_with_the_prompt_of_its_time(controller: Controller, asked: dict) -> None:
    frame = {"image": asked["image"], "second": 2.4, "strength": 1}
    form = asked | {"prompts": [{"second": 2.4, "text": "b"}], "frames": [frame]}
    for second, prompt, index in (("", "a", 9), ("1,2", "a", 9), ("3.6", "b", 27)):
        outcome = controller.first_look("still", second, form, "", "")
        assert outcome.job
        assert outcome.messages == ["One frame is queued."]
        request = controller.service.get(outcome.job).request
        assert request.still
        assert (request.still.index, request.prompt, request.frames, request.prompts) == (index, prompt, (), ())
    for second, words in (("soon", "must be a number, got 'soon'"), ("9", "within the video's 4.80 s, got 9 s")):
        with pytest.raises(ValueError, match=words):
            controller.first_look("still", second, form, "", "")
    with pytest.raises(FieldError, match="One frame and a storyboard are of a video from an image") as wrong:
        controller.first_look("storyboard", "", form | {"task": "loop"}, "", "")
    assert wrong.value.field == "task"


def test_what_is_chosen_of_a_storyboard_becomes_keyframes(controller: Controller, asked: dict) -> None:
    outcome = controller.first_look("storyboard", "", asked, "", "")
    assert outcome.messages == ["4 frames are queued. Choose among them under Batches."]
    (batch,) = controller.batches()
    assert [(panel["label"], panel["picture"]) for panel in batch["panels"]] == [
        (f"{second} s", "") for second in ("1.2", "2.4", "3.6", "4.8")
    ]
    with pytest.raises(ValueError, match="choose frames of the storyboard that are there"):
        controller.storyboard_keyframes(batch["name"], [batch["panels"][0]["job"]], asked)
    first, second = finish(controller, "one.png"), finish(controller, "two.png")
    panels = controller.batches()[0]["panels"]
    assert [panel["picture"] for panel in panels] == [
        "/api/uploads/one.png/picture", "/api/uploads/two.png/picture", "", "",
    ]  # fmt: skip
    own = {"image": asked["image"], "second": 2, "strength": 0.5}
    used = controller.storyboard_keyframes(batch["name"], [second.id, first.id], asked | {"frames": [own]})
    assert [row["second"] for row in used.values["frames"]] == [1.2, 2, 2.4]
    for job in (first, second):
        controller.service.delete(job.id, files=True)
    assert len(request_of(asked | used.values, controller.service.folders).frames) == 3, "they outlive the frames"
    assert first_looks.panels(controller.service, "harbour-20261201-101010-12345678") == []


@pytest.mark.parametrize(("second", "typed"), [(None, ""), (1.2, ""), (0.5, "0.533"), (4.8, "4.8")])
def test_a_frames_settings_say_at_which_second_it_lies(second: float | None, typed: str) -> None:
    request = still_at(GenerationRequest(image=Path("a.png"), seconds=4.8), second)
    assert first_looks.second_in(request.model_dump(mode="json")) == typed
    again = still_at(GenerationRequest(image=Path("a.png"), seconds=4.8), first_looks.second_of(typed))
    assert again == request
    assert first_looks.second_in({"still": {"at": 1.5}}) == "1.5"
    assert first_looks.second_in({"still": None}) == ""


def test_a_frame_is_shown_as_one_and_used_as_it_is(controller: Controller, asked: dict) -> None:
    queued = controller.first_look("still", "1.2", asked, "", "").job
    assert queued
    assert views.actions(controller.service.get(queued)) == ["cancel", "pause", "up", "down"], "no edit into a video"
    job = finish(controller, "one.png")
    view = controller.viewer(job.id)
    assert (view["show"], view["save"], view["formats"]) == ("image", f"/api/jobs/{job.id}/video?v=done", [])
    assert view["picture"] == "/api/uploads/one.png/picture"
    assert (view["cells"], view["takes"], view["settings"].split(" · ")[1]) == ([], None, "one frame")
    assert view["actions"] == ["input", "reuse", "delete"]
    image = controller.job_action("input", job.id, 0, asked).values["image"]
    assert (controller.service.folders.uploads / image).read_bytes() == job.outputs[0].read_bytes()
    reused = controller.job_action("reuse", job.id, 0, defaults())
    assert (reused.look_at, reused.values["output.format"]) == ("", "mp4")
    assert "They made one frame" in reused.text


def test_a_finished_video_is_extended_by_the_model_that_can(controller: Controller, asked: dict) -> None:
    controller.submit(asked, "", "")
    job = finish(controller, "walk.mp4")
    assert controller.viewer(job.id)["actions"] == ["input", "extend", "reuse", "delete"]
    used = controller.job_action("extend", job.id, 0, asked).values
    assert (used["task"], used["model"]) == ("extend", "mini-f1")
    controller.service.delete(job.id, files=True)
    request = request_of(asked | used, controller.service.folders)
    assert request.task == "extend"
    assert request.image.file.is_file(), "the source outlives its job"
    controller.submit(asked, "", "")
    frame = finish(controller, "run.mp4")
    back = controller.job_action("start", frame.id, 2, asked | used).values
    assert back["task"] == "image", "an image is not extended"


@pytest.mark.parametrize(
    ("model", "task", "end", "other"),
    [
        ("mini", "extend", False, "mini-f1"),
        ("mini", "extend", True, "mini"),
        ("framepack-f1", "loop", False, "framepack"),
        ("mini-f1", "bridge", False, "mini"),
        ("mini-f1", "restyle", False, "mini-f1"),
    ],
)
def test_a_task_takes_the_model_of_the_same_size_that_can_do_it(
    controller: Controller, model: str, task: str, end: bool, other: str
) -> None:
    rows = [{"image": "e.png", "strength": 1}] if end else []
    followed = controller.follow_task(defaults() | {"model": model, "task": task, "end_frame": rows})
    assert followed.values == ({} if model == other else {"model": other})
    assert bool(followed.messages) == (model != other)


def test_a_take_cannot_be_edited_and_its_video_says_what_is_kept_for_others(
    controller: Controller, asked: dict
) -> None:
    first = controller.submit(asked, "", "").job
    assert first
    job = finish(controller, "first.mp4")
    assert controller.viewer(job.id)["takes"] == {"kept": 0}
    kept = controller.service.folders.work_of(job.id, job.request_json)
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "section-0000.safetensors").write_bytes(b"x" * 100)
    assert controller.viewer(job.id)["takes"]["kept"] >= 100
    (take,) = controller.service.store.submit([redone(job.request, 2)], labels=["take 2"], tree=job.id)
    assert "edit" not in views.actions(take)
    assert "They are those of its first take" in controller.job_action("reuse", take.id, 0, asked).text
