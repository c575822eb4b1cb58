"""From settled frames to files: each frame encoded once, whatever the order, rate and format."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from exiftool import says_made_by_ai

from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video
from framepack.pipeline.output import VideoOutput
from framepack.pipeline.section_store import SectionStore
from framepack.spec.formats import FORMATS
from framepack.spec.picture import Picture
from framepack.spec.plan import final_frames, plan
from framepack.spec.request import GenerationRequest


def frame(number: int) -> np.ndarray:
    """A 16 x 16 picture that tells its number."""
    picture = np.full((16, 16, 3), 40, np.uint8)
    picture[..., 0], picture[..., 1] = number % 64 * 4, number // 64 * 4
    return picture


def numbers(file: Path) -> list[int]:
    return [int(f[8, 8, 0]) // 4 + int(f[8, 8, 1]) // 4 * 64 for f in read_video(file)]


def drive(
    request: GenerationRequest, tmp_path: Path, place: Path | None = None
) -> tuple[VideoOutput, list[list[int]], Path]:
    """Run an output over a plan with numbered frames; return what was playable after each section."""
    request = request.model_copy(update={"image": Picture(file=tmp_path / request.image.file)})
    for file in (request.image.file, *(f.image.file for f in request.frames), *(lora.file for lora in request.loras)):
        file.touch()
    sections = plan(request)
    total = request.frame_count
    made: set[int] = set()
    played = []
    with (
        SectionStore.open((place or tmp_path) / "work", request, tmp_path) as folder,
        VideoOutput.open(request, tmp_path, folder, sections) as out,
    ):
        for section, settled in zip(sections, final_frames(sections), strict=True):
            frames = [frame(i) for i in settled]
            out.write(section.index, np.stack(frames) if frames else np.empty((0, 16, 16, 3), np.uint8))
            made |= set(settled)
            edge = settled.start if section.direction == "backward" else settled.stop
            held = (
                range(edge - section.provisional, edge)
                if section.direction == "backward"
                else range(edge, edge + section.provisional)
            )
            tail = np.stack([frame(i) for i in held]) if len(held) else np.empty((0, 16, 16, 3), np.uint8)
            file, _ = out.publish(section.index, tail)
            played.append(numbers(file) if file else [])
        final, count = out.finish()
        assert count == len(numbers(final))
        if request.output.fps == 30:
            assert count == total
    return out, played, final


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
@pytest.mark.parametrize("live", [True, False])
def test_each_frame_arrives_once_in_order_and_the_part_always_plays(model: str, live: bool, tmp_path: Path):
    request = GenerationRequest(
        length="sections",
        image="a.png",
        model=model,
        seconds=3.6,
        output={"path": tmp_path / "v.mkv", "format": "mkv", "live": live},
    )
    out, played, final = drive(request, tmp_path)
    assert numbers(final) == list(range(109))
    for part in filter(None, played):
        assert part == list(range(part[0], part[0] + len(part)))
    made = [33, 69, 109] if model == "mini" else [37, 73, 109]
    settled = [0, 36, 109] if model == "mini" else [4, 40, 109]
    assert [len(p) for p in played] == (made if live else settled)
    assert not out.part.exists()


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    ("model", "seconds"), [(m, s) for m in ("mini", "mini-f1") for s in (0.04, 0.9, 1.25, 3.6, 3.7)]
)
def test_an_exact_video_ends_where_it_was_asked_to(model: str, seconds: float, live: bool, tmp_path: Path):
    output = {"path": tmp_path / "v.mkv", "format": "mkv", "live": live}
    request = GenerationRequest(length="exact", image="a.png", model=model, seconds=seconds, output=output)
    _, played, final = drive(request, tmp_path)
    assert numbers(final) == list(range(round(seconds * 30)))
    for part in filter(None, played):
        assert part == list(range(part[0], part[0] + len(part)))
        assert part[-1] < request.frame_count


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_without_a_live_tail_each_delivered_frame_is_encoded_exactly_once(model: str, tmp_path: Path):
    request = GenerationRequest(
        length="sections", image="a.png", model=model, seconds=6, output={"path": tmp_path / "v.mp4", "live": False}
    )
    out, _, final = drive(request, tmp_path)
    assert out.frames_encoded == probe(final).frames == 181


@pytest.mark.parametrize("fps", [12.0, 24.0, 60.0])
@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_another_rate_keeps_the_duration_and_the_frames_on_screen(fps: float, model: str, tmp_path: Path):
    request = GenerationRequest(
        length="sections",
        image="a.png",
        model=model,
        seconds=2.4,
        output={"path": tmp_path / "v.mkv", "format": "mkv", "fps": fps},
    )
    _, _, final = drive(request, tmp_path)
    assert numbers(final) == [int(i * 30 / fps) for i in range(probe(final).frames)]
    assert probe(final).frames / fps == pytest.approx(73 / 30, abs=1 / fps)


def test_the_request_is_inside_the_file(tmp_path: Path):
    guide = {"image": tmp_path / "b.png", "second": 0.5}
    request = GenerationRequest(
        length="sections",
        image=tmp_path / "a.png",
        seconds=1,
        prompt="ü",
        frames=[guide],
        loras=[{"file": tmp_path / "l.safetensors"}],
        output={"path": tmp_path / "v.mp4"},
    )
    _, _, final = drive(request, tmp_path)
    content = read_metadata(final)
    assert content is not None
    assert str(tmp_path) not in json.dumps(content), "whoever gets the video learns where its maker keeps files"
    found = GenerationRequest.model_validate(content["request"])
    assert found == request.without_folders()
    names = (found.image.file, found.frames[0].image.file, found.loras[0].file, found.output.path)
    assert [str(name) for name in names] == ["a.png", "b.png", "l.safetensors", "v.mp4"]


def test_a_gif_is_encoded_at_the_end_from_lossless_segments(tmp_path: Path):
    request = GenerationRequest(
        length="sections", image="a.png", seconds=2.4, output={"path": tmp_path / "v.gif", "format": "gif"}
    )
    _, played, final = drive(request, tmp_path)
    assert played[-1] == list(range(73))
    assert probe(final).frames == 73


def test_a_name_nobody_gave_is_dated_and_new(tmp_path: Path):
    request = GenerationRequest(length="sections", image="a.png", seconds=1)
    _, _, first = drive(request, tmp_path)
    _, _, again = drive(request, tmp_path)
    _, _, second = drive(request, tmp_path, tmp_path / "other")
    assert first == again, "the same work keeps its name"
    assert first != second
    assert first.suffix == ".mp4"


def test_a_name_that_says_another_format_is_refused(tmp_path: Path):
    request = GenerationRequest(length="sections", image="a.png")
    other = request.output.model_copy(update={"path": tmp_path / "v.mkv"})  # as a work folder of before may say
    with pytest.raises(ValueError, match="would hold mp4"):
        drive(request.model_copy(update={"output": other}), tmp_path)


def test_two_jobs_that_begin_in_the_same_second_get_two_names_and_leave_no_empty_part(tmp_path: Path):
    request = GenerationRequest(length="sections", image="a.png", seconds=1)
    sections = plan(request)
    with (
        SectionStore.open(None, request, tmp_path) as folder,
        VideoOutput.open(request, tmp_path, folder, sections) as one,
        VideoOutput.open(request, tmp_path, folder, sections) as two,
    ):
        assert one.path != two.path
        assert one.part.exists()
    assert list(tmp_path.iterdir()) == []


def opened(request: GenerationRequest, tmp_path: Path) -> VideoOutput:
    with (
        SectionStore.open(tmp_path / "work", request, tmp_path) as folder,
        VideoOutput.open(request, tmp_path, folder, plan(request)) as out,
    ):
        return out


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_publishing_what_is_published_already_leaves_nothing_behind(model: str, tmp_path: Path):
    output = {"path": tmp_path / "v.mp4", "live": False}
    request = GenerationRequest(length="sections", image=tmp_path / "a.png", model=model, seconds=2.4, output=output)
    request.image.file.touch()
    sections = plan(request)
    with (
        SectionStore.open(tmp_path / "work", request, tmp_path) as folder,
        VideoOutput.open(request, tmp_path, folder, sections) as out,
    ):
        for section, settled in zip(sections, final_frames(sections), strict=True):
            frames = [frame(i) for i in settled]
            out.write(section.index, np.stack(frames) if frames else np.empty((0, 16, 16, 3), np.uint8))
            for _ in range(3):  # as every run that is taken up does
                out.publish(section.index, np.empty((0, 16, 16, 3), np.uint8))
        out.finish()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "v.mp4", "work"]


def test_what_cannot_be_written_is_reported_before_any_work(tmp_path: Path):
    name = 80 * "図" + ".mp4"  # the disk takes it, but not what is written beside it
    request = GenerationRequest(length="sections", image=tmp_path / "a.png", output={"path": tmp_path / name})
    request.image.file.touch()
    with pytest.raises(OSError, match="too long"):
        opened(request, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "work"]


def test_a_file_that_the_video_is_made_from_is_not_replaced(tmp_path: Path):
    request = GenerationRequest(
        length="sections",
        image=tmp_path / "a.webp",
        output={"path": tmp_path / "b" / ".." / "a.webp", "format": "webp"},
    )
    request.image.file.write_bytes(b"a photo")
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="a file the video is made from"):
        opened(request, tmp_path)
    assert request.image.file.read_bytes() == b"a photo"


def test_names_need_not_be_unicode(tmp_path: Path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    request = GenerationRequest(
        length="sections", image=odd.with_suffix(".png"), output={"path": odd.with_suffix(".mp4")}
    )
    request.image.file.touch()
    for _ in range(2):
        assert opened(request, tmp_path).path == odd.with_suffix(".mp4")
    with SectionStore.open(tmp_path / "work2", request, tmp_path) as folder:
        assert folder.output() is None
        folder.remember_output(odd)
        assert folder.output() == odd


def test_a_finished_file_is_only_replaced_where_that_is_allowed(tmp_path: Path):
    request = GenerationRequest(
        length="sections", image=tmp_path / "a.png", seconds=1, output={"path": tmp_path / "v.mp4"}
    )
    _, _, first = drive(request, tmp_path, tmp_path / "one")
    before = first.read_bytes()
    with pytest.raises(ValueError, match=r"v\.mp4 is there already: give the video another name, or use --overwrite"):
        drive(request.model_copy(update={"seed": 1}), tmp_path, tmp_path / "two")
    assert first.read_bytes() == before
    drive(request, tmp_path, tmp_path / "one")  # its own
    output = request.output.model_copy(update={"overwrite": True})
    allowed = request.model_copy(update={"seed": 1, "output": output})
    drive(allowed, tmp_path, tmp_path / "three")
    content = read_metadata(first)
    assert content is not None
    assert content["request"]["seed"] == 1
    assert "overwrite" not in content["request"]["output"], "whoever takes up these settings has not allowed it"


def test_work_that_is_given_another_name_does_not_replace_the_file_of_that_name(tmp_path: Path):
    request = GenerationRequest(
        length="sections", image=tmp_path / "a.png", seconds=1, output={"path": tmp_path / "v.mp4"}
    )
    drive(request, tmp_path)
    (tmp_path / "other.mp4").write_text("a video")
    other = request.model_copy(update={"output": request.output.model_copy(update={"path": tmp_path / "other.mp4"})})
    with pytest.raises(ValueError, match="is there already"):
        drive(other, tmp_path)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_another_run_had_made_of_a_video_is_kept_under_the_next_free_name(overwrite: bool, tmp_path: Path):
    output = {"path": tmp_path / "v.mp4", "overwrite": overwrite}
    request = GenerationRequest(length="sections", image=tmp_path / "a.png", seconds=1, output=output)
    for index in (1, 2):
        (tmp_path / "v.part.mp4").write_text(f"eleven sections {index}")
        out, _, _ = drive(request, tmp_path, tmp_path / f"place {index}")
        assert out.kept == tmp_path / f"v.part-{index}.mp4"
        (tmp_path / "v.mp4").unlink()
    assert [(tmp_path / f"v.part-{index}.mp4").read_text()[-1] for index in (1, 2)] == ["1", "2"]


def test_work_that_goes_on_keeps_writing_its_own_part(tmp_path: Path):
    request = GenerationRequest(
        length="sections", image=tmp_path / "a.png", seconds=2.4, output={"path": tmp_path / "v.mp4"}
    )
    request.image.file.touch()
    out = opened(request, tmp_path)
    out.part.write_text("one section")
    out.folder.section(0).touch()
    again = opened(request, tmp_path)
    assert (again.kept, again.part.read_text()) == (None, "one section")
    again.folder.section(0).unlink()  # all that the part was made from
    assert opened(request, tmp_path).kept == tmp_path / "v.part-1.mp4"


@pytest.mark.parametrize("form", list(FORMATS))
@pytest.mark.parametrize("mark", [True, False])
def test_the_video_and_each_part_on_the_way_are_marked_unless_the_request_says_no(form, mark, tmp_path):
    (tmp_path / "a.png").touch()
    for live in (True, False):
        output = {"path": tmp_path / f"{live}{FORMATS[form].suffix}", "mark": mark, "live": live, "format": form}
        request = GenerationRequest(image=tmp_path / "a.png", model="mini-f1", seconds=2.4, output=output)
        sections = plan(request)
        noise = np.random.default_rng(0).integers(0, 256, (73, 16, 16, 3), np.uint8)
        with (
            SectionStore.open(tmp_path / str(live), request, tmp_path) as folder,
            VideoOutput.open(request, tmp_path, folder, sections) as out,
        ):
            for section, settled in zip(sections, final_frames(sections), strict=True):
                out.write(section.index, noise[settled.start : settled.stop])
                part, _ = out.publish(section.index, noise[settled.stop :][: section.provisional])
                assert says_made_by_ai(part) == mark
            final, _ = out.finish()
        assert says_made_by_ai(final) == mark
        content = read_metadata(final)
        assert content is not None
        assert content["request"]["output"]["mark"] == mark


def test_a_part_made_of_what_another_run_left_is_marked_as_this_one_asks(tmp_path):
    request = GenerationRequest(image=tmp_path / "a.png", model="mini-f1", seconds=2.4, output={"live": False})
    request.image.file.touch()
    sections = plan(request)
    frames, written = np.stack([frame(number) for number in final_frames(sections)[0]]), []
    for mark in (True, False, True):
        asked = request.model_copy(update={"output": request.output.model_copy(update={"mark": mark})})
        with (
            SectionStore.open(tmp_path / "work", asked, tmp_path) as folder,
            VideoOutput.open(asked, tmp_path, folder, sections) as out,
        ):
            if written:
                assert out.lost(written) == ""
            else:
                out.write(0, frames)
                written = [out.sums[0]]
            part, count = out.publish(0, frames[:0])
            assert says_made_by_ai(part) == mark
            assert count == len(frames)


def test_what_is_written_for_a_section_does_not_grow_with_the_video(tmp_path, monkeypatch):
    """A part of more than a little is written again when that is little beside the work, and whole at the end."""
    request = GenerationRequest(image=tmp_path / "a.png", model="mini-f1", seconds=12, output={"live": False})
    request.image.file.touch()
    sections, clock = plan(request), [0.0]
    monkeypatch.setattr("framepack.pipeline.output.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("framepack.pipeline.output.SMALL", 1)
    shown, join = [], VideoOutput.join

    def slowly(self, pieces, file, *, draft=False):
        clock[0] += len(pieces) * draft  # a second for each piece of a part
        return join(self, pieces, file, draft=draft)

    monkeypatch.setattr(VideoOutput, "join", slowly)
    with (
        SectionStore.open(tmp_path / "work", request, tmp_path) as folder,
        VideoOutput.open(request, tmp_path, folder, sections) as out,
    ):
        for index, numbers in enumerate(final_frames(sections)):
            out.write(index, np.stack([frame(number) for number in numbers]))
            clock[0] += 120 if index < 5 else 0  # of work, a fiftieth of which is between two and three pieces
            shown.append(out.publish(index, np.zeros((0, *frame(0).shape), np.uint8))[1])
        ends = [len(numbers) for numbers in final_frames(sections)]
        whole = [min(count, request.frame_count) for count in itertools.accumulate(ends)]
        assert shown[0] == whole[0]
        assert all(now in whole for now in shown)
        assert len(set(shown)) < len(shown), "not written each time"
        assert shown[-1] < whole[-1]
    assert probe(out.part).frames == whole[-1], "all of it when the run ends"
