"""Whatever happened to a work folder, the video is the undamaged run's to the byte, and a notice says what was lost."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from runs import latents, request_of

from framepack import FramePack, GenerationRequest
from framepack.media.read import probe
from framepack.pipeline.output import VideoOutput
from framepack.spec.events import Finished, Notice, SectionDone


@dataclass(frozen=True)
class Made:
    """A finished video of 37 frames in three sections, and the work folder it left."""

    framepack: FramePack
    request: GenerationRequest
    work: Path
    video: bytes

    def again(self, folder: Path, damage: Callable[[Path], object]) -> tuple[list[str], list[int]]:
        """Damage a copy of the work and run it: the notices, and the sections that were made again."""
        work = folder / "work"
        shutil.copytree(self.work, work)
        damage(work)
        self.output.unlink(missing_ok=True)
        events = list(self.framepack.generate(self.request, work=work))
        assert isinstance(events[-1], Finished)
        assert events[-1].frames == probe(self.output).frames == 37
        assert self.output.read_bytes() == self.video
        made = [event.section for event in events if isinstance(event, SectionDone) and event.seconds]
        return [event.message for event in events if isinstance(event, Notice)], made

    @property
    def output(self) -> Path:
        """The video's name."""
        assert self.request.output.path
        return self.request.output.path


@pytest.fixture(scope="module")
def made(framepacks: dict[str, FramePack], picture: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    request = request_of(picture, folder / "v.mp4", seconds=1.2)
    list(framepacks["mini"].generate(request, work=folder / "work"))
    return Made(framepacks["mini"], request, folder / "work", (folder / "v.mp4").read_bytes())


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 4
    file.write_bytes(data)


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def swap(work: Path, *names: str) -> None:
    held = {name: (work / name).read_bytes() for name in names}
    for name, other in zip(names, reversed(names), strict=True):
        (work / name).write_bytes(held[other])


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


LATENTS, RECORD, SETTLED = "section-0001.safetensors", "section-0001.json", "settled-0002.mp4"


@pytest.mark.parametrize(
    ("damage", "said", "sections"),
    [
        (lambda work: flip(work / LATENTS, -9), "section-0001.safetensors is damaged", [1, 2]),
        (lambda work: swap(work, LATENTS, "section-0002.safetensors"), "section-0001.safetensors is damaged", [1, 2]),
        (
            lambda work: [swap(work, f"section-0001.{end}", f"section-0002.{end}") for end in ("safetensors", "json")],
            "section-0001.safetensors is another section's",
            [1, 2],
        ),
        (lambda work: a_folder(work / LATENTS), "moved to .section-0001.safetensors-1", [1, 2]),
        (lambda work: (work / RECORD).unlink(), "section-0001.json is missing", [1, 2]),
        (lambda work: halve(work / SETTLED), "settled-0002.mp4 is damaged: its frames are decoded again", []),
        (lambda work: shutil.copyfile(work / "settled-0001.mp4", work / SETTLED), "settled-0002.mp4 is damaged", []),
        (lambda work: (work / "request.json").write_bytes(b""), "request.json is damaged (it has no checksum)", []),
        (lambda work: flip(work / "request.json", 400), "request.json is damaged (its checksum is another)", []),
        (lambda work: (work / "request.json").unlink(), "request.json is missing", []),
        (lambda work: a_loop(work / "request.json"), "request.json in the work folder is not a file", []),
        (lambda work: a_loop(work / "output.json"), "output.json in the work folder is not a file", []),
        (lambda work: a_loop(work / LATENTS), "section-0001.safetensors in the work folder is not a file", [1, 2]),
        (lambda work: halve(work / "output.json"), "output.json is damaged", []),
    ],
)
def test_damage_is_said_and_made_good(
    made: Made, tmp_path: Path, damage: Callable[[Path], object], said: str, sections: list[int]
):
    notices, again = made.again(tmp_path, damage)
    assert any(said in notice for notice in notices), notices
    assert again == sections


def test_work_that_nothing_happened_to_is_taken_up_without_a_word(made: Made, tmp_path: Path):
    assert made.again(tmp_path, lambda work: None) == ([], [])


def test_what_stands_in_the_way_of_new_files_is_put_aside_and_left_overs_go(made: Made, tmp_path: Path):
    def damage(work: Path) -> None:
        for name in ("new.mp4", "tail.mp4", ".section-0001.json.ab12.part"):
            (work / name).write_text("half")
        for name in ("new.mp4", "conditioning.safetensors"):
            a_folder(work / name)

    notices, again = made.again(tmp_path, damage)
    assert [notice.split()[0] for notice in notices] == ["conditioning.safetensors", "new.mp4"]
    assert again == []
    assert not list((tmp_path / "work").glob("*.part"))


def of_an_earlier_version(work: Path) -> None:
    """As the version before checksums left it."""
    for file in work.glob("section-*.json"):
        file.unlink()
    request = json.loads((work / "request.json").read_text())
    del request["sha256"], request["job"], request["cache_threshold"]
    (work / "request.json").write_text(json.dumps(request))
    (work / "output.txt").write_text(json.loads((work / "output.json").read_text())["output"])
    (work / "output.json").unlink()


def test_work_of_an_earlier_version_goes_on_and_has_checksums_from_then_on(made: Made, tmp_path: Path):
    notices, again = made.again(tmp_path, of_an_earlier_version)
    assert again == []
    assert any("was written by a version without checksums" in notice for notice in notices)
    assert list(made.framepack.generate(made.request, work=tmp_path / "work"))
    flip(tmp_path / "work" / LATENTS, -9)
    events = list(made.framepack.generate(made.request, work=tmp_path / "work"))
    assert [event.section for event in events if isinstance(event, SectionDone) and event.seconds] == [1, 2]


def test_latents_of_an_earlier_version_that_are_no_numbers_are_made_again(made: Made, tmp_path: Path):
    def damage(work: Path) -> None:
        of_an_earlier_version(work)
        data = (work / LATENTS).read_bytes()
        (work / LATENTS).write_bytes(data[:-4] + b"\xff\xff\xff\x7f")

    notices, again = made.again(tmp_path, damage)
    assert "not finite" in notices[0]
    assert again == [1, 2]


def test_work_without_its_request_is_not_given_to_another(made: Made, tmp_path: Path):
    shutil.copytree(made.work, tmp_path / "work")
    (tmp_path / "work" / "request.json").unlink()
    other = made.request.model_copy(update={"seed": 1})
    with pytest.raises(ValueError, match="holds the work of another request; choose another folder"):
        list(made.framepack.generate(other, work=tmp_path / "work"))
    assert len(latents(tmp_path / "work")) == 3


def test_a_run_that_is_broken_off_and_taken_up_makes_the_same_file(made: Made, tmp_path: Path):
    work = tmp_path / "stopped"
    made.output.unlink(missing_ok=True)
    for _ in range(3):
        run = made.framepack.generate(made.request, work=work)
        for event in run:
            if isinstance(event, SectionDone) and event.seconds:
                run.close()
    assert list(made.framepack.generate(made.request, work=work))
    assert made.output.read_bytes() == made.video


@pytest.mark.parametrize("what", ["half", "other"])
def test_frames_that_are_changed_while_the_job_runs_are_not_published(what: str, made: Made, tmp_path: Path):
    def run_and_change() -> None:
        for event in made.framepack.generate(made.request, work=tmp_path / "work"):
            if isinstance(event, SectionDone) and event.section == 1:
                file = tmp_path / "work" / "settled-0001.mp4"
                halve(file) if what == "half" else flip(file, -9)

    made.output.unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"was changed while the job ran; with a work folder \(--work\), the same job"):
        run_and_change()
    assert not made.output.exists()


def test_a_video_with_other_frames_than_planned_is_not_published(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    finish = VideoOutput.finish

    def fewer(self):
        self.settled, self.frames = (*self.settled, range(37, 40)), 40
        return finish(self)

    monkeypatch.setattr(VideoOutput, "finish", fewer)
    made.output.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="do not hold the 40 that were planned"):
        list(made.framepack.generate(made.request, work=tmp_path / "work"))
    assert not made.output.exists()
