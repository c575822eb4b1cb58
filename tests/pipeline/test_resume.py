"""Work that was interrupted, damaged or changed goes on to the same video, or is refused."""

import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import latents, make, request_of

from framepack import GenerationRequest
from framepack.files.atomic import AtomicFile
from framepack.files.errors import DiskFullError, FileTooLargeError
from framepack.media.read import probe, read_video
from framepack.pipeline.engine import Engine
from framepack.pipeline.output import VideoOutput
from framepack.pipeline.section_store import SectionStore
from framepack.spec.events import SectionDone, StageStarted, StepDone
from framepack.spec.plan import SectionPlan, plan


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_a_run_that_was_stopped_goes_on_to_the_same_latents_and_frames(
    model: str, framepacks: dict, picture: Path, tmp_path: Path
):
    request = request_of(picture, tmp_path / "v.mp4", model=model)
    whole = make(framepacks[model], request, tmp_path / "whole")
    for stop_after in (1, 2):
        work = tmp_path / f"stopped-{stop_after}"
        run = framepacks[model].generate(request, work=work)
        done = 0
        for event in run:
            done += isinstance(event, SectionDone)
            if done == stop_after and isinstance(event, StepDone):
                run.close()
        assert len(latents(work)) == stop_after
        assert all(torch.equal(x, y) for x, y in zip(make(framepacks[model], request, work), whole, strict=True))
        assert probe(tmp_path / "v.mp4").frames == 37


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_a_section_that_was_deleted_is_made_again_with_all_frames(
    model: str, framepacks: dict, picture: Path, tmp_path: Path
):
    request = request_of(picture, tmp_path / "v.mkv", model=model)
    whole = make(framepacks[model], request, tmp_path / "work")
    frames = np.stack(list(read_video(tmp_path / "v.mkv")))
    (tmp_path / "work" / "section-0001.safetensors").unlink()
    events = list(framepacks[model].generate(request, work=tmp_path / "work"))
    assert [event.section for event in events if isinstance(event, SectionDone) and event.seconds] == [1, 2]
    assert all(torch.equal(x, y) for x, y in zip(latents(tmp_path / "work"), whole, strict=True))
    assert np.array_equal(np.stack(list(read_video(tmp_path / "v.mkv"))), frames)


def test_a_run_that_decodes_lost_frames_again_can_be_cancelled_between_sections(
    framepacks: dict, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    request = request_of(picture, tmp_path / "v.mkv")
    make(framepacks["mini"], request, tmp_path / "work")
    for file in (tmp_path / "work").glob("settled-*"):
        file.unlink()
    shown, join = [], Engine._join

    def noted(self: Engine, section: SectionPlan, *, wanted: bool) -> torch.Tensor | None:
        shown.append(section.index)
        return join(self, section, wanted=wanted)

    monkeypatch.setattr(Engine, "_join", noted)
    run = framepacks["mini"].generate(request, work=tmp_path / "work")
    for event in run:
        if isinstance(event, StageStarted) and event.stage == "decode":
            assert shown == list(range(event.section))
            if event.section == 1:
                run.close()
    assert shown == [0]


def test_a_run_that_is_taken_up_says_at_once_what_there_is(framepacks: dict, picture: Path, tmp_path: Path):
    request = request_of(picture, None)
    run = framepacks["mini"].generate(request, outputs=tmp_path / "o", work=tmp_path / "work")
    first = next(event for event in run if isinstance(event, SectionDone))
    run.close()
    run = framepacks["mini"].generate(request, outputs=tmp_path / "o", work=tmp_path / "work")
    again = next(event for event in run if isinstance(event, SectionDone))
    run.close()
    assert (again.section, again.frames, again.file, again.seconds) == (0, first.frames, first.file, 0)
    assert first.seconds > 0


def test_what_a_killed_run_was_just_writing_is_dropped_by_the_one_that_goes_on(picture: Path, tmp_path: Path):
    def killed() -> tuple[Path, ...]:
        left = tuple(AtomicFile(tmp_path / name).temporary for name in ("v.mp4", "v.part.mp4", "w.mp4"))
        for part in left:
            part.touch()
        return left

    request = request_of(picture, tmp_path / "v.mp4")
    sections = plan(request)

    def going_on(work: str) -> None:
        with (
            SectionStore.open(tmp_path / work, request, tmp_path) as folder,
            VideoOutput.open(request, tmp_path, folder, sections),
        ):
            pass

    first = killed()
    going_on("work")  # a run that may not be the one that was killed: another may be at work on them
    assert [part.exists() for part in first] == [True, True, True]
    going_on("work")
    assert [part.exists() for part in first] == [False, False, True]


def test_work_of_another_request_is_not_continued(framepacks: dict, picture: Path, tmp_path: Path):
    request = request_of(picture, tmp_path / "v.mp4")
    make(framepacks["mini"], request, tmp_path / "work")
    with pytest.raises(ValueError, match=r"another request \(other: seed\)"):
        list(framepacks["mini"].generate(request.model_copy(update={"seed": 1}), work=tmp_path / "work"))


@pytest.mark.parametrize("which", ["picture", "end frame", "lora"])
def test_work_with_another_file_of_the_same_name_is_not_continued(which: str, picture: Path, tmp_path: Path):
    files = {name: tmp_path / name for name in ("picture", "end frame", "lora")}
    for file in files.values():
        file.write_text("one")
    request = GenerationRequest(
        image=files["picture"], end_frame={"image": files["end frame"]}, loras=[{"file": files["lora"]}]
    )
    for _ in range(2):
        with SectionStore.open(tmp_path / "work", request, tmp_path):
            pass
    files[which].write_text("two")
    with (
        pytest.raises(ValueError, match=f"other: {which} itself"),
        SectionStore.open(tmp_path / "work", request, tmp_path),
    ):
        pass


def test_a_failing_write_leaves_the_section_unfinished(
    framepacks: dict, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    request = request_of(picture, tmp_path / "v.mp4")
    whole = make(framepacks["mini"], request, tmp_path / "whole")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SectionStore, "save_section", full)
        with pytest.raises(OSError, match="No space"):
            list(framepacks["mini"].generate(request, work=tmp_path / "work"))
    assert latents(tmp_path / "work") == []
    assert all(
        torch.equal(x, y) for x, y in zip(make(framepacks["mini"], request, tmp_path / "work"), whole, strict=True)
    )


def test_a_full_disk_says_so_when_latents_are_written(picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with SectionStore.open(tmp_path / "work", request_of(picture, None), tmp_path) as folder:
        monkeypatch.setattr("framepack.files.atomic.os.fsync", full)
        with pytest.raises(DiskFullError):
            folder.save_section(0, torch.zeros(1, 16, 9, 16, 16))
        monkeypatch.undo()
        assert folder.finished() == 0


def test_a_limit_of_a_files_size_is_no_full_disk_when_latents_are_written(picture: Path, tmp_path: Path):
    with SectionStore.open(tmp_path / "work", request_of(picture, None), tmp_path) as folder:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            with pytest.raises(FileTooLargeError):
                folder.save_section(0, torch.zeros(1, 16, 9, 16, 16))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        assert folder.finished() == 0
