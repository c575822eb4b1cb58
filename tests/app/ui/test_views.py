"""What the page shows of jobs."""

import json
from pathlib import Path

import pytest

from framepack.app.ui import views
from framepack.jobs.job import Job, Progress
from framepack.spec.parts import Keyframe, TimedPrompt
from framepack.spec.request import GenerationRequest


def job(status: str = "running", **more) -> Job:
    request = GenerationRequest(image=Path("x.png"), model="mini", prompt="<script>alert(1)</script>", seconds=4.8)
    return Job(
        **{"id": "a", "status": status, "position": 1, "request_json": request.model_dump_json(), "created": 0.0} | more
    )


def test_the_timeline_is_in_the_videos_order_and_says_when_each_section_is_made() -> None:
    backward = views.viewer(job())
    assert [cell["order"] for cell in backward["cells"]] == [3, 2, 1, 0]
    assert backward["backward"]
    assert sum(cell["share"] for cell in backward["cells"]) == pytest.approx(1)
    forward = GenerationRequest(image=Path("x.png"), model="mini-f1", seconds=4.8).model_dump_json()
    assert [cell["order"] for cell in views.viewer(job(request_json=forward))["cells"]] == [0, 1, 2, 3]


def test_keyframes_are_pins_on_the_timeline() -> None:
    frame = Keyframe(image=Path("y.png"), second=2.4)
    request = GenerationRequest(image=Path("x.png"), seconds=4.8, frames=(frame,))
    assert views.timeline(request)["pins"] == pytest.approx([0.5])


def test_a_running_job_says_where_it_is_and_how_long_it_takes() -> None:
    progress = Progress(stage="sampling", section=1, sections=4, step=3, steps=25, fraction=0.28, seconds_left=83.0,
                        memory={"ram": 2**30})  # fmt: skip
    view = views.viewer(job(progress=progress), preview=9)
    assert view["where"] == "Section 2 of 4, step 3 of 25"
    assert view["left"] == "about 1:23 left"
    assert view["memory"] == "RAM 1.0 GB"
    assert view["preview"].startswith("/api/jobs/a/preview?")


@pytest.mark.parametrize(
    ("status", "actions"),
    [
        ("queued", ["cancel", "pause", "up", "down", "edit"]),
        ("paused", ["cancel", "resume", "up", "down", "edit"]),
        ("failed", ["retry", "reuse", "delete"]),
        ("running", ["cancel", "pause", "stop"]),
    ],
)
def test_only_buttons_that_work_are_shown(status: str, actions: list[str]) -> None:
    assert views.viewer(job(status))["actions"] == actions


def test_a_finished_section_shows_under_a_new_address() -> None:
    before = views.video_view(job(outputs=(Path("v.mp4"),), progress=Progress(section=1)))
    after = views.video_view(job(outputs=(Path("v.mp4"),), progress=Progress(section=2)))
    assert before["video"] != after["video"]
    assert before["show"] == "video"


def test_the_api_takes_every_address_that_a_view_gives(service) -> None:
    testing = pytest.importorskip("fastapi.testclient")
    from framepack.app.api import make_app
    from framepack.app.api.guard import Access

    client = testing.TestClient(make_app(service, Access()), base_url="http://127.0.0.1")
    given = [views.viewer(job(), preview=9)["preview"]]
    for file in ("v.mp4", "v.mkv"):
        video_view = views.video_view(job(outputs=(Path(file),)))
        given += [video_view["video"], video_view["save"]]
    assert [client.get(address).status_code for address in given] == [404] * 5


def test_a_file_no_browser_plays_is_shown_as_an_mp4_and_saved_as_it_is() -> None:
    for name in ("v.mkv", "v.zip"):
        video_view = views.video_view(job("done", outputs=(Path(name),)))
        assert (video_view["show"], video_view["video"]) == ("video", "/api/jobs/a/video?format=mp4&v=done")
        assert (video_view["save"], video_view["file"]) == ("/api/jobs/a/video?v=done", name)
    assert views.video_view(job("done", outputs=(Path("v.gif"),)))["show"] == "image"


def test_other_formats_are_offered_once_the_video_no_longer_grows() -> None:
    assert views.video_view(job(outputs=(Path("v.part.mkv"),)))["formats"] == []
    others = views.video_view(job("done", outputs=(Path("v.mp4"),)))["formats"]
    assert others == ["mkv", "webm", "mov", "gif", "webp", "apng", "png", "tiff", "exr"]
    assert "mp4" in views.video_view(job("cancelled", outputs=(Path("v.part.mkv"),)))["formats"]


def test_a_request_that_todays_rules_refuse_still_has_a_line() -> None:
    old = json.dumps({"image": "x.png", "prompt": "old", "model": "gone", "seconds": 5, "seed": 1, "steps": 2})
    view = views.viewer(job("done", request_json=old))
    assert view["prompt"] == "old"
    assert view["cells"] == []


def test_a_request_no_plan_can_be_made_of_takes_no_page_along() -> None:
    frames = [{"image": "y.png", "second": 1.0, "strength": 1.0}] * 2
    old = json.loads(job().request_json) | {"frames": frames}
    assert views.viewer(job("cancelled", request_json=json.dumps(old)))["pins"] == []


def test_notices_are_shown_with_the_video() -> None:
    view = views.viewer(job("done", progress=Progress(notices=("the prompt was cut",))))
    assert view["notices"] == ["The prompt was cut."]


def test_a_prompt_that_no_section_takes_is_noted_before_the_video_is_made() -> None:
    def summary(second: float) -> str:
        prompts = (TimedPrompt(second=second, text="then night falls"),)
        request = GenerationRequest(image=Path("x.png"), prompt="zoom in", seconds=2.4, prompts=prompts)
        return views.summary(request, None, {})

    assert summary(1.2) == "2.4 s · 72 frames · 2 sections, the end first"
    assert "No section takes the prompt from 2.39 s on, 'then night falls'" in summary(2.39)
    request = GenerationRequest(image=Path("x.png"), prompt="she smiles")
    assert "Nothing in the prompt is known to this small model" in views.summary(request, None, {})


def test_what_the_videos_shape_cuts_off_is_noted_before_the_video_is_made() -> None:
    request = GenerationRequest(image=Path("x.png"), prompt="zoom in", width=64, height=64)
    assert "75% of the picture 'start' is cut off" in views.summary(request, None, {"start": (256, 64)})


def test_a_missing_model_is_shown_with_its_size_and_how_to_get_it() -> None:
    assert views.advice("framepack", None, models_dir=False) is None
    advice = views.advice("framepack", 42_870_000_000, models_dir=False)
    assert advice
    assert advice["title"] == "framepack is not downloaded"
    assert "About 42.9 GB are missing" in advice["text"]
    assert "does not apply in the European Union, the United Kingdom and South Korea" in advice["then"]
    assert advice["command"] == "framepack models download framepack"
    few = views.advice("framepack", 900, models_dir=True)
    assert few
    assert "A few files are missing" in few["text"]
    assert few["command"].endswith("--models-dir FOLDER")


def test_a_label_does_not_repeat_the_prompt() -> None:
    assert views.job_row(job(label="dawn <script>alert(1)</script> seed=1"), 0)["label"] == "dawn seed=1"
    assert views.extra_label("dawn " + "x" * 60, "x" * 200) == "dawn"
    assert views.extra_label("seed=1", "") == "seed=1"
