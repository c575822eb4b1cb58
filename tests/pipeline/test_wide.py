"""Formats of more than 8 bits, and frames between frames: from the model's floats to the file, also in two runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import make, request_of

from framepack import GenerationRequest
from framepack.media.read import probe, read_video
from framepack.pipeline.engine import Engine
from framepack.pipeline.like import request_like
from framepack.spec.events import SectionDone, StepDone

STEP_16 = 1 / 65535


def asked(picture: Path, output: Path, model: str = "mini", **settings: object) -> GenerationRequest:
    made = request_of(picture, output, model=model)
    return GenerationRequest.model_validate({**dict(made), "output": {"path": output, "overwrite": True, **settings}})


def floats_of(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What each engine hands on as final frames, while a test runs."""
    found, run = [], Engine.run

    def seen(self, *values, **named):
        for made in run(self, *values, **named):
            if getattr(made, "frames", None) is not None:
                found.append(made.frames)
            yield made

    monkeypatch.setattr(Engine, "run", seen)
    return found


@pytest.mark.parametrize("name", ["tiff", "exr", "tiff-folder", "mkv"])
def test_the_decoders_floats_reach_the_file(name, framepacks, picture, tmp_path, monkeypatch):
    found = floats_of(monkeypatch)
    path = tmp_path / {"mkv": "v.mkv", "tiff-folder": "v"}.get(name, "v.zip")
    codec = {"codec": "ffv1-16"} if name == "mkv" else {}
    make(framepacks["mini"], asked(picture, path, format=name.removesuffix("-folder"), **codec), tmp_path / "work")
    frames = torch.cat(found[::-1]).numpy()
    assert frames.dtype == np.float32
    assert 0 <= frames.min() < frames.max() <= 1
    read = np.stack(list(read_video(path, wide=True)))
    assert np.abs(read - frames).max() <= STEP_16 * 0.51
    assert len(np.unique(np.rint(read * 65535) % 257)) > 100  # more than 8 bits can say
    assert request_like(path, picture).output.format == name.removesuffix("-folder")


def test_eight_bit_formats_are_what_they_were(framepacks, picture, tmp_path, monkeypatch):
    found = floats_of(monkeypatch)
    make(framepacks["mini"], asked(picture, tmp_path / "v.mkv"), tmp_path / "work")
    frames = torch.cat(found[::-1]).numpy()
    assert frames.dtype == np.uint8
    assert np.array_equal(np.stack(list(read_video(tmp_path / "v.mkv"))), frames)


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
@pytest.mark.parametrize(
    "settings",
    [
        {"format": "tiff"},
        {"format": "mkv", "fps": 60, "fps_mode": "motion"},
        {"format": "exr", "fps": 24, "speed": 0.5},
    ],
    ids=["tiff", "motion", "slow-exr"],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_file(model, settings, framepacks, picture, tmp_path):
    suffix = ".mkv" if settings["format"] == "mkv" else ".zip"
    whole, again = (asked(picture, tmp_path / f"{name}{suffix}", model, **settings) for name in ("whole", "again"))
    make(framepacks[model], whole, tmp_path / "whole")
    run, done = framepacks[model].generate(again, work=tmp_path / "work"), 0
    for event in run:
        done += isinstance(event, SectionDone)
        if done == 2 and isinstance(event, StepDone):
            run.close()
    make(framepacks[model], again, tmp_path / "work")
    frames = [list(read_video(request.output.path, wide=True)) for request in (whole, again)]
    assert len(frames[0]) == whole.delivered_frames
    assert np.array_equal(*frames)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"speed": 0.5}, 74),
        ({"speed": 2}, 19),
        ({"fps": 60, "fps_mode": "blend"}, 74),
        ({"fps": 60, "fps_mode": "motion"}, 74),
        ({"fps": 24, "speed": 0.5, "fps_mode": "motion"}, 60),
    ],
)
def test_rate_and_speed_decide_the_frames(settings, count, framepacks, picture, tmp_path):
    request = asked(picture, tmp_path / "v.mp4", **settings)
    make(framepacks["mini"], request, tmp_path / "work")
    info = probe(tmp_path / "v.mp4")
    assert info.frames == request.delivered_frames == count
    assert info.duration == pytest.approx(37 / 30 / settings.get("speed", 1), abs=1 / 24)


def test_frames_made_between_others_leave_those_as_they_are(framepacks, picture, tmp_path):
    plain, between = (
        asked(picture, tmp_path / f"{i}.mkv", **more) for i, more in enumerate([{}, {"fps": 60, "fps_mode": "motion"}])
    )
    for request in (plain, between):
        make(framepacks["mini"], request, tmp_path / f"work-{request.output.path.stem}")
    frames = [list(read_video(request.output.path)) for request in (plain, between)]
    assert np.array_equal(frames[0], frames[1][::2])


def test_the_neutral_settings_are_their_absence_to_the_byte(framepacks, picture, tmp_path):
    files = []
    for settings in ({}, {"fps_mode": "repeat", "speed": 1, "codec": None, "quality": None, "bitrate": None}):
        make(framepacks["mini"], asked(picture, tmp_path / "v.mp4", **settings), tmp_path / f"work-{len(files)}")
        files.append((tmp_path / "v.mp4").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("settings", [{"codec": "av1"}, {"bitrate": 1}, {"quality": "draft"}, {"format": "mov"}])
def test_codecs_and_qualities_make_a_whole_file(settings, framepacks, picture, tmp_path):
    path = tmp_path / ("v.mov" if "format" in settings else "v.mp4")
    make(framepacks["mini"], asked(picture, path, **settings), tmp_path / "work")
    assert probe(path).frames == 37
    assert probe(path).codec == {"av1": "av1", "mov": "prores"}.get(next(iter(settings.values())), "h264")


def test_a_size_that_the_codec_cannot_is_refused_before_the_work(framepacks, picture, tmp_path):
    request = asked(picture, tmp_path / "v.mp4")
    with pytest.raises(ValueError, match="h265 needs 64 pixels a side, got 32x32"):
        asked(picture, tmp_path / "v.mp4", codec="h265")
    found = request.model_copy(update={"output": request.output.model_copy(update={"codec": "h265"})})
    with pytest.raises(ValueError, match="h265 needs 64 pixels a side, got 32x32"):
        list(framepacks["mini"].generate(found))


def test_a_folder_of_pictures_is_replaced_only_where_that_is_allowed(framepacks, picture, tmp_path):
    request = asked(picture, tmp_path / "v", format="png")
    make(framepacks["mini"], request, tmp_path / "work")
    assert len(list((tmp_path / "v").glob("frame_*.png"))) == 37
    kept = request.model_copy(update={"output": request.output.model_copy(update={"overwrite": False})})
    with pytest.raises(ValueError, match="has pictures in it already: name another folder, or use --overwrite"):
        list(framepacks["mini"].generate(kept))
    make(framepacks["mini"], request, tmp_path / "other")
    (tmp_path / "v" / "mine.txt").write_text("dear to me")
    with pytest.raises(ValueError, match="has other things in it than numbered pictures: name a new folder"):
        list(framepacks["mini"].generate(request))
    assert (tmp_path / "v" / "mine.txt").exists()
