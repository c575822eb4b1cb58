"""What version 0.1.0 has left on disks still opens: its queue, a work folder, presets, a video, its command lines."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from framepack.app.cli.main import app
from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.pool import PoolConfig
from framepack.pipeline.like import request_like
from framepack.pipeline.presets import Presets
from framepack.spec.request import GenerationRequest

DATA = Path(__file__).parents[1] / "data" / "version_1"


def plain(request: GenerationRequest) -> dict:
    return request.model_dump(mode="json")


def expect_everything(request: GenerationRequest) -> None:
    """All that the video's request says beside the names of its pictures."""
    assert (request.prompt, request.model, request.seconds, request.window) == ("a zoom in", "mini", 1.0, 4)
    assert (request.steps, request.seed, request.resolution, request.exact) == (2, 7, 64, True)
    assert (request.sampler, request.cache, request.cache_threshold) == ("dpm++2m", "first-block", 0.07)
    assert (request.motion, request.consistency) == (0.5, 1.5)
    assert (request.image.rotate, request.image.fit) == (90, "blur")
    assert [(frame.second, frame.strength) for frame in request.frames] == [(0.5, 0.5)]
    assert request.end_frame is not None
    assert request.end_frame.strength == 1
    assert [(prompt.second, prompt.text) for prompt in request.prompts] == [(0.6, "it gets darker")]
    assert (request.output.fps, request.output.crf, request.output.format) == (24, 30, "mp4")


def test_its_queue_opens_with_all_jobs(tmp_path: Path) -> None:
    home = shutil.copytree(DATA / "home", tmp_path / "home")
    with Service(folders_at(tmp_path / "outputs", home, reserve=0), PoolConfig(target="", workers=[])) as service:
        jobs = {job.status: GenerationRequest.stored(json.loads(job.request_json)) for job in service.jobs()}
    assert set(jobs) == {"queued", "paused", "done"}
    expect_everything(jobs["queued"])
    assert (jobs["paused"].model, jobs["paused"].resolution) == ("framepack-f1", 640)
    assert (jobs["done"].prompt, jobs["done"].exact) == ("done already", True)


def test_its_work_folder_goes_on_after_the_last_finished_section(tmp_path: Path) -> None:
    from framepack.pipeline.framepack import FramePack
    from framepack.pipeline.seal import read_json, write_json
    from framepack.spec.events import Finished, Notice, StepDone

    work, sun = shutil.copytree(DATA / "work", tmp_path / "work"), str(DATA / "sun.png")
    written = read_json(work / "request.json")
    moved = {"image": sun, "contents": {sun: written["contents"][written["image"]]}}
    write_json(work / "request.json", written | moved)
    request = GenerationRequest(
        image=DATA / "sun.png", prompt="the sun sets", model="mini", seconds=1.6, window=4, resolution=64, steps=2,
        output={"path": tmp_path / "video.mp4"},
    )  # fmt: skip
    events = list(FramePack.load("mini", device="cpu", dtype="float32").generate(request, work=work))
    assert {event.section for event in events if isinstance(event, StepDone)} == {2}
    assert [event.frames for event in events if isinstance(event, Finished)] == [48]
    assert not [event for event in events if isinstance(event, Notice) and "again" in event.message]


def test_its_presets_mean_what_they_meant() -> None:
    presets = Presets(DATA / "presets")
    assert presets.names() == ["Public app", "Quick night"]
    night, public = (presets.apply(name, image="sun.png") for name in ("Quick night", "Public app"))
    assert (night.steps, night.resolution, night.motion, night.output.format) == (3, 128, -0.5, "webm")
    assert (public.model, public.cache, public.cfg, public.steps) == ("framepack", "teacache", 2.0, 25)


def test_its_video_tells_how_it_was_made(tmp_path: Path) -> None:
    shutil.copy(DATA / "video.mp4", tmp_path)
    request = request_like(tmp_path / "video.mp4", DATA / "sun.png", DATA / "noon.png", DATA / "evening.png")
    expect_everything(request)
    assert request.frames[0].image.file == DATA / "noon.png"


def commands(command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Each command there is, and its options."""
    for name, part in getattr(command, "commands", {}).items():
        yield from commands(part, (*path, name))
    if not getattr(command, "commands", None):
        yield " ".join(path), {name for option in command.params for name in [*option.opts, *option.secondary_opts]}


@pytest.mark.parametrize(("command", "options"), json.loads((DATA / "options.json").read_text()).items())
def test_its_command_lines_are_understood(command: str, options: list[str]) -> None:
    assert set(options) <= dict(commands(typer.main.get_command(app)))[command]


def test_what_is_stored_says_its_schema_and_a_later_ones_is_refused() -> None:
    request = GenerationRequest(image=Path("a.png"), seconds=1)
    written = request.to_store()
    assert written["schema"] == 2
    assert GenerationRequest.stored(written) == GenerationRequest.model_validate(written) == request
    with pytest.raises(ValueError, match=r"of a later version \(schema 3\): use that version"):
        GenerationRequest.stored({**written, "schema": 3})
