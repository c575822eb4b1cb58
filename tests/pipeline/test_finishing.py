"""`framepack finish`: what is in the file afterwards, what it says, and what is left when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tones import tone

from framepack.app.cli import main as cli
from framepack.files.errors import MediaError
from framepack.media.finishing import Progress
from framepack.media.marks import is_marked
from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video
from framepack.media.sound import Sound, has_sound
from framepack.media.video import VideoWriter
from framepack.models.upscaler import RRDBNet
from framepack.pipeline.finishing import finish, finish_video
from framepack.pipeline.like import request_like
from framepack.spec.finish import FileFinish

REQUEST = json.dumps({"framepack": "0.1.0", "request": {"image": "a.png", "seed": 7, "schema": 2}})


def film(file: Path, frames: int = 20, *, first: int = 0, size: tuple[int, int] = (64, 48), **more: object) -> Path:
    """A video whose frame n is all of level `first` + 5 n."""
    settings = {"fps": 10, "metadata": REQUEST, **more}
    with VideoWriter(file, size=size, **settings) as writer:  # type: ignore[arg-type]
        for number in range(frames):
            writer.write(np.full((size[1], size[0], 3), first + 5 * number, np.uint8))
    return file


def levels(file: Path) -> list[int]:
    return [round(frame.mean()) for frame in read_video(file, whole=True)]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".webm", ".gif", ".webp", ".zip"])
def test_a_file_of_every_kind_is_finished_to_every_kind_and_says_what_was_done(tmp_path: Path, suffix: str) -> None:
    file, output = film(tmp_path / "v.mkv"), tmp_path / f"o{suffix}"
    events = list(finish_video(file, {"enlarge": 1.5, "grain": 0.1}, output))
    assert events[-1] == Progress(frames=20, total=20)
    assert (probe(output).width, probe(output).height, probe(output).fps) == (96, 72, 10)
    assert len(levels(output)) == 20
    said = read_metadata(output)
    assert said == {**json.loads(REQUEST), "finish": [{"enlarge": 1.5, "grain": 0.1}]}
    assert is_marked(output)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_a_second_finish_adds_to_the_first_and_the_request_is_still_found(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no matter")
    once = finish(film(tmp_path / "v.mkv"), contrast=1.1)
    twice = finish(once, tmp_path / "w.mkv", start=0.5)
    assert once == tmp_path / "v-finished.mkv"
    found = read_metadata(twice)
    assert found is not None
    assert found["finish"] == [{"contrast": 1.1}, {"start": 0.5}]
    assert request_like(twice).seed == 7


@pytest.mark.parametrize(
    ("steps", "width", "height"), [({}, 48, 34), ({"grain": 0.1}, 48, 34), ({"enlarge": 2}, 94, 66)]
)
def test_a_video_of_odd_sides_is_given_even_ones_where_the_codec_needs_them(
    tmp_path: Path, steps: dict[str, object], width: int, height: int
) -> None:
    file = film(tmp_path / "v.mkv", size=(47, 33))
    said = [now for now in finish_video(file, steps, tmp_path / "o.mp4") if isinstance(now, str)]
    assert said == (
        ["h264 needs even sides: 47x33 becomes 48x34, the last column or row shown twice; mkv keeps the size"]
        if (width, height) == (48, 34)
        else []
    )
    info = probe(tmp_path / "o.mp4")
    assert (info.width, info.height, info.frames) == (width, height, 20)
    list(finish_video(file, steps, tmp_path / "o.gif"))
    assert probe(tmp_path / "o.gif").width == (94 if width == 94 else 47)


def test_steps_that_say_nothing_change_no_frame(tmp_path: Path) -> None:
    file = film(tmp_path / "v.mkv")
    assert FileFinish() == FileFinish.model_validate({})
    same = finish(file, tmp_path / "w.mkv")
    assert all((a == b).all() for a, b in zip(read_video(file), read_video(same), strict=True))


def test_it_is_cut_and_joined_to_the_frame(tmp_path: Path) -> None:
    file, other = film(tmp_path / "v.mkv"), film(tmp_path / "x.mkv", 10, first=150)
    assert levels(finish(file, tmp_path / "1.mkv", start=0.5, end=1.2)) == [5 * n for n in range(5, 12)]
    assert levels(finish(file, tmp_path / "2.mkv", start=1.5, join=[other])) == [75, 80, 85, 90, 95] + [
        150 + 5 * n for n in range(10)
    ]
    assert levels(finish(file, tmp_path / "3.mkv", end=99)) == levels(file)
    faded = levels(finish(file, tmp_path / "4.mkv", start=1.0, join=[other, other], fade=0.3))
    assert len(faded) == 10 + 10 + 10 - 6
    assert faded[:7] == [50, 55, 60, 65, 70, 75, 80]
    for place, share in enumerate((0.25, 0.5, 0.75)):
        want = (85 + 5 * place) * (1 - share) + (150 + 5 * place) * share
        assert abs(faded[7 + place] - want) <= 1
    assert faded[10:14] == [165, 170, 175, 180]


def test_another_rate_is_brought_to_the_first_ones(tmp_path: Path) -> None:
    file, other = film(tmp_path / "v.mkv", 5), film(tmp_path / "x.mkv", 10, first=150, fps=20)
    assert levels(finish(file, tmp_path / "o.mkv", join=[other])) == [0, 5, 10, 15, 20, 150, 160, 170, 180, 190]


def test_what_is_joined_brings_its_mark_along(tmp_path: Path) -> None:
    plain, ours = film(tmp_path / "v.mkv", 5, metadata=None), film(tmp_path / "x.mkv", 5)
    assert not is_marked(finish(plain, tmp_path / "1.mkv", sharpen=0.2))
    assert read_metadata(tmp_path / "1.mkv") is None
    assert is_marked(finish(plain, tmp_path / "2.mkv", join=[ours]))
    no_mark = json.dumps({"request": {"image": "a.png", "output": {"mark": False}}})
    unmarked = film(tmp_path / "u.mkv", 5, metadata=no_mark)
    assert not is_marked(finish(unmarked, tmp_path / "3.mkv", sharpen=0.2))
    assert is_marked(finish(unmarked, tmp_path / "4.mkv", join=[ours]))


def test_sound_is_laid_under_kept_and_cut_with_the_picture(tmp_path: Path) -> None:
    file = film(tmp_path / "v.mkv")
    loud = finish(file, tmp_path / "loud.mp4", audio=tone(tmp_path / "t.wav"))
    assert has_sound(loud)
    assert len(levels(loud)) == 20
    assert has_sound(finish(loud, tmp_path / "again.webm", start=0.5, grain=0.1))
    assert not has_sound(finish(file, tmp_path / "silent.mp4"))
    said = list(finish_video(loud, {"join": [film(tmp_path / "x.mkv")]}, tmp_path / "j.mp4"))
    assert "loud.mp4' is left out" in str(said[0])
    assert not has_sound(tmp_path / "j.mp4")
    with pytest.raises(ValueError, match="gif has no sound"):
        finish(file, tmp_path / "o.gif", audio=tmp_path / "t.wav")
    with pytest.raises(MediaError, match="is no sound"):
        finish(file, tmp_path / "o.mp4", audio=film(tmp_path / "x.gif", 3))
    with pytest.raises(MediaError, match="has no sound in it"):
        finish(file, tmp_path / "o.mp4", audio=file)


def test_a_short_sound_ends_and_the_picture_goes_on(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "o.mkv", size=(32, 32), sound=Sound(file=tone(tmp_path / "t.wav", 0.5))) as writer:
        writer.write(np.zeros((60, 32, 32, 3), np.uint8))
    assert len(levels(tmp_path / "o.mkv")) == 60


def test_a_network_enlarges_and_lanczos_does_the_rest(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(RRDBNet(channels=8, growth=4, blocks=1).state_dict(), tmp_path / "n.safetensors")
    file = film(tmp_path / "v.mkv", 3)
    by_network = finish(file, tmp_path / "4.mkv", enlarge=4, network=tmp_path / "n.safetensors")
    assert (probe(by_network).width, probe(by_network).height) == (256, 192)
    by_lanczos = finish(file, tmp_path / "l.mkv", enlarge=4)
    assert levels(by_lanczos) == levels(file)
    assert levels(by_network) != levels(file)
    assert probe(finish(file, tmp_path / "3.mkv", enlarge=2.5, network=tmp_path / "n.safetensors")).width == 160
    said = list(finish_video(file, {"network": tmp_path / "n.safetensors"}, tmp_path / "1.mkv"))
    assert "has no effect: enlarge is 1" in str(said[0])


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ({"enlarge": 5}, "enlarge must be 1..4, got 5"),
        ({"start": 2, "end": 1}, "end must lie behind start"),
        ({"fade": 1}, "name one with join"),
        ({"network": "a.pth"}, r"network is a \.safetensors file"),
        ({"lut": "a.png"}, r"lut is a \.cube file"),
        ({"start": 9}, "nothing of it is left"),
        ({"join": ["small.mkv"]}, "videos that are joined have one size"),
        ({"join": ["other.mkv"], "fade": 1.9}, "longer than one of the videos"),
        ({"join": ["none.mkv"]}, "no such file"),
        ({"blur": 1}, "there is no setting called blur"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch, steps, why) -> None:
    monkeypatch.chdir(tmp_path)
    film(Path("v.mkv"))
    film(Path("small.mkv"), 3, size=(32, 32))
    film(Path("other.mkv"), 3)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=why):
        finish("v.mkv", "o.mkv", **steps)
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_is_there_is_replaced_only_if_asked_and_never_the_video_itself(tmp_path: Path) -> None:
    file = film(tmp_path / "v.mkv")
    finish(file, tmp_path / "o.mkv")
    with pytest.raises(ValueError, match="is there already"):
        finish(file, tmp_path / "o.mkv")
    finish(file, tmp_path / "o.mkv", overwrite=True)
    with pytest.raises(ValueError, match="is the video itself"):
        finish(file, file, overwrite=True)


def test_cancelled_it_leaves_nothing(tmp_path: Path) -> None:
    work = finish_video(film(tmp_path / "v.mkv"), {"grain": 0.1}, tmp_path / "o.mp4")
    next(work)
    next(work)
    work.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.mkv"]


def test_killed_it_leaves_no_half_file_and_begins_anew(tmp_path: Path) -> None:
    file, output = film(tmp_path / "v.mkv", 40, size=(256, 256)), tmp_path / "o.mkv"
    code = (
        "import sys, time, framepack\n"
        "for n, said in enumerate(framepack.finish_video(sys.argv[1], {'grain': 0.1}, sys.argv[2])):\n"
        "    print(n, flush=True)\n"
        "    time.sleep(0.05)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(file), str(output)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for _ in range(5):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    assert not output.exists()
    left = [entry for entry in tmp_path.iterdir() if entry.suffix == ".part"]
    assert len(left) == 1
    os.utime(left[0], (time.time() - 3600, time.time() - 3600))
    assert levels(finish(file, output, grain=0.1))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["o.mkv", "v.mkv"]


def test_damage_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    file = film(tmp_path / "v.mkv", 40)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(MediaError, match="damaged"):
        finish(file, tmp_path / "o.mkv", grain=0.1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.mkv"]


def test_the_command_line_does_the_same(tmp_path: Path, monkeypatch, capsys) -> None:
    file, other = film(tmp_path / "v.mkv"), film(tmp_path / "x.mkv", 10, first=150)

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["framepack", "finish", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        return int(exited.value.code or 0)

    options = ("--start", 0.5, "--join", other, "--fade", 0.2, "--sharpen", 0.3, "-o", tmp_path / "o.mkv")
    assert run(file, *options) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "o.mkv")
    want = finish(file, tmp_path / "w.mkv", start=0.5, join=[other], fade=0.2, sharpen=0.3)
    assert (tmp_path / "o.mkv").read_bytes() == want.read_bytes()
    assert run(file, "--enlarge", 9) == 2
    assert "enlarge must be 1..4, got 9" in capsys.readouterr().err
