"""Videos in: extend, lead-in, bridge, loop, restyle and the motion mask, on tiny checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import latents, make, request_of

from framepack import FramePack, GenerationRequest
from framepack.media.read import probe, read_video
from framepack.media.video import VideoWriter
from framepack.spec.events import Finished, Notice, SectionDone, StepDone

Models = dict[str, FramePack]
SIDE = 32
MODEL = {"extend": "mini-f1", "lead_in": "mini", "bridge": "mini", "loop": "mini", "restyle": "mini"}
NEW = {"extend": 36, "lead_in": 33, "bridge": 36, "loop": 37, "restyle": 37}
"""Frames of the new part in three sections of three latents, or as long as the clip."""


def moving(frames: int, shift: int = 1, side: int = SIDE) -> np.ndarray:
    """A picture that slides, (T, H, W, 3)."""
    ramp = np.random.default_rng(3).integers(0, 256, (side, side, 3)).astype(np.uint8)
    return np.stack([np.roll(ramp, shift * number, axis=1) for number in range(frames)])


def write(path: Path, frames: np.ndarray, fps: float = 30) -> Path:
    with VideoWriter(path, size=(frames.shape[2], frames.shape[1]), fps=fps) as writer:
        writer.write(frames)
    return path


def shown(path: Path) -> np.ndarray:
    return np.stack(list(read_video(path)))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clips") / "clip.mkv", moving(40))


def asked(task: str, clip: Path, picture: Path, output: Path, **more: object) -> GenerationRequest:
    image = picture if task == "loop" else clip
    target = {"target": clip} if task == "bridge" else {}
    return request_of(image, output, **{"task": task, "model": MODEL[task], **target, **more})


def run(models: Models, request: GenerationRequest, **where: Path) -> tuple[np.ndarray, list]:
    events = list(models[request.model].generate(request, **where))
    done = events[-1]
    assert isinstance(done, Finished)
    video = shown(done.file)
    assert len(video) == done.frames
    return video, events


@pytest.mark.parametrize("task", list(MODEL))
def test_the_sources_frames_are_in_the_video_to_the_bit(framepacks: Models, clip, picture, tmp_path, task: str) -> None:
    video, events = run(framepacks, asked(task, clip, picture, tmp_path / "v.mkv"))
    source, new = shown(clip), NEW[task]
    before = len(source) if task in ("extend", "bridge") else 0
    after = len(source) if task in ("lead_in", "bridge") else 0
    assert len(video) == before + new + after
    assert np.array_equal(video[:before], source[:before])
    assert np.array_equal(video[before + new :], source[:after])
    assert not [event for event in events if isinstance(event, Notice) and "resized" in event.message]


@pytest.mark.parametrize("task", list(MODEL))
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(framepacks: Models, clip, picture, tmp_path, task) -> None:
    request = asked(task, clip, picture, tmp_path / "v.mkv")
    model = framepacks[request.model]
    whole, first = make(model, request, tmp_path / "whole"), shown(tmp_path / "v.mkv")
    stopped = model.generate(request, work=tmp_path / "work")
    done = 0
    for event in stopped:
        done += isinstance(event, SectionDone)
        if done and isinstance(event, StepDone):
            stopped.close()
    assert len(latents(tmp_path / "work")) == 1
    again = make(model, request, tmp_path / "work")
    assert all(torch.equal(one, two) for one, two in zip(whole, again, strict=True))
    assert np.array_equal(shown(tmp_path / "v.mkv"), first)


def test_extend_in_inverted_order_leads_to_its_end_frame(framepacks: Models, clip, picture, tmp_path) -> None:
    request = asked("extend", clip, picture, tmp_path / "v.mkv", model="mini", end_frame={"image": picture})
    video, _ = run(framepacks, request)
    assert np.array_equal(video[:40], shown(clip))
    assert len(video) == 40 + 36


def test_a_clip_of_another_size_and_rate_is_changed_once_with_a_notice(framepacks: Models, picture, tmp_path) -> None:
    odd = write(tmp_path / "odd.mkv", moving(10, side=45), fps=12)
    video, events = run(framepacks, asked("extend", odd, picture, tmp_path / "v.mkv"))
    assert len(video) == 25 + 36
    said = [event.message for event in events if isinstance(event, Notice)]
    assert any("odd.mkv has 12 frames a second, the video 30" in message for message in said)
    assert any("odd.mkv is resized once, from 45x45 to the video's 32x32" in message for message in said)


@pytest.mark.parametrize("frames", [1, 2, 5, 17])
@pytest.mark.parametrize("task", ["extend", "lead_in", "bridge", "restyle"])
def test_very_short_clips_will_do(framepacks: Models, picture, tmp_path, task: str, frames: int) -> None:
    short = write(tmp_path / "short.mkv", moving(frames))
    video, _ = run(framepacks, asked(task, short, picture, tmp_path / "v.mkv", seconds=0.8))
    new = {"extend": 24, "lead_in": 21, "bridge": 24, "restyle": frames}[task]
    assert len(video) == new + frames * {"extend": 1, "lead_in": 1, "bridge": 2, "restyle": 0}[task]


def test_a_bridge_joins_pictures_too(framepacks: Models, picture, tmp_path) -> None:
    request = asked("bridge", picture, picture, tmp_path / "v.mkv", target=picture)
    video, _ = run(framepacks, request)
    assert len(video) == 1 + 36 + 1


@pytest.mark.parametrize("task", ["extend", "lead_in", "restyle"])
def test_a_picture_is_no_video(framepacks: Models, picture, tmp_path, task: str) -> None:
    with pytest.raises(ValueError, match=r"is a picture, and .* needs a video: use generate"):
        run(framepacks, asked(task, picture, picture, tmp_path / "v.mkv"))


def test_the_file_that_plays_meanwhile_has_the_source_in_it(framepacks: Models, clip, picture, tmp_path) -> None:
    request = asked("extend", clip, picture, tmp_path / "v.mkv")
    for event in framepacks["mini-f1"].generate(request):
        if isinstance(event, SectionDone):
            assert probe(event.file).frames == event.frames >= 40
            assert np.array_equal(shown(event.file)[:40], shown(clip))


def test_a_white_mask_changes_nothing_that_can_be_seen_and_a_black_one_holds_all(
    framepacks: Models, clip, picture, tmp_path
) -> None:
    from PIL import Image

    made = {}
    for colour in ("white", "black"):
        mask = tmp_path / f"{colour}.png"
        Image.new("RGB", (8, 8), colour).save(mask)
        request = request_of(picture, tmp_path / f"{colour}.mkv", motion_mask=mask)
        made[colour] = make(framepacks["mini"], request, tmp_path / f"work-{colour}")
    plain = make(framepacks["mini"], request_of(picture, tmp_path / "v.mkv"), tmp_path / "work")
    assert all(torch.equal(one, two) for one, two in zip(made["white"], plain, strict=True))
    still = torch.cat(made["black"], 2)
    assert torch.equal(still, still[:, :, :1].expand_as(still))


def test_restyle_at_full_strength_begins_with_noise_alone(framepacks: Models, clip, picture, tmp_path) -> None:
    full = make(framepacks["mini"], asked("restyle", clip, picture, tmp_path / "a.mkv", strength=1), tmp_path / "a")
    plain = request_of(picture, tmp_path / "b.mkv", length="exact", seconds=1.2)
    assert [one.shape for one in full] == [one.shape for one in make(framepacks["mini"], plain, tmp_path / "b")]
    near = make(framepacks["mini"], asked("restyle", clip, picture, tmp_path / "c.mkv", strength=0.05), tmp_path / "c")
    assert not torch.equal(full[0], near[0])


@pytest.mark.parametrize(("task", "begins"), [("extend", 0.0), ("lead_in", 33 / 30), ("restyle", 0.0)])
def test_the_sources_sound_is_where_its_frames_are(framepacks: Models, picture, tmp_path, task, begins) -> None:
    from test_source_sound import times, with_sound

    source = with_sound(tmp_path / "sound.mp4")
    run(framepacks, asked(task, source, picture, tmp_path / "v.mp4", steps=1))
    assert times(tmp_path / "v.mp4")[0] == pytest.approx(begins, abs=0.05)
