"""The evaluation tells known videos apart: true ones score everything, still ones chance, blurred ones drift."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from framepack.app.cli.evaluate import expected_rows
from framepack.training.data.grammar import PHRASES, SPRITE_PHRASES
from framepack.training.data.motions import MOTIONS, SPRITE_MOTIONS
from framepack.training.evaluate import scenes as evaluate_scenes
from framepack.training.evaluate.goals import goals
from framepack.training.evaluate.plots import confusion
from framepack.training.evaluate.report import summary, write_report
from framepack.training.evaluate.results import Settings, VideoRequest
from framepack.training.evaluate.run import evaluate
from framepack.training.evaluate.scenes import (
    Scene,
    nearest_motion,
    photo_files,
    photo_scenes,
    procedural_scenes,
    sprite_scenes,
    true_frames,
    true_video,
)

SMALL = Settings(
    procedural=1,
    photos=0,
    size=(64, 48),
    window=3,
    sections=3,
    drift_scenes=1,
    drifting=("pan left",),
    models=("mini",),
)
MOTION_OF = {phrase: motion for motion, phrases in (PHRASES | SPRITE_PHRASES).items() for phrase in phrases}


def frames_of(request: VideoRequest) -> int:
    return 4 * SMALL.window * request.sections + 1


def perfect(request: VideoRequest) -> np.ndarray:
    """What an ideal model makes: the true video, and the key frames where they were asked for."""
    video = true_video(request.picture, MOTION_OF.get(request.prompt, "still"), frames_of(request)).copy()
    if request.end is not None:
        video[-1] = request.end
    for second, picture in request.keyframes:
        video[round(second * 30)] = picture
    return video


def still(request: VideoRequest) -> np.ndarray:
    return np.repeat(request.picture[None], frames_of(request), axis=0)


def exact(video: np.ndarray) -> np.ndarray:
    return video


def test_the_true_videos_follow_every_prompt():
    result = evaluate(SMALL, perfect, exact)
    (line,) = summary(result)["following"]
    assert line["followed"] == 1
    assert line["psnr"] == 100
    assert line["ssim"] == pytest.approx(1, abs=1e-4)
    assert line["of the bound"] == pytest.approx(1)
    assert line["gain"] > 30
    assert np.array_equal(confusion(result), np.eye(len(MOTIONS)))


def test_a_cut_out_that_moves_as_asked_follows_and_one_that_stands_does_not():
    scenes = {scene.picture.tobytes(): scene for scene in sprite_scenes(1, SMALL.size)}

    def moved(request: VideoRequest) -> np.ndarray:
        return scenes[request.picture.tobytes()].truth(MOTION_OF[request.prompt], frames_of(request))

    settings = replace(SMALL, parts=("sprites",))
    result = evaluate(settings, moved, exact)
    (line,) = summary(result)["sprites"]
    assert (line["followed"], line["psnr"], line["videos"]) == (1, 100, len(SPRITE_MOTIONS))
    assert {row.nearest for row in evaluate(settings, still, exact).sprites} == {"still"}
    assert result.following == []


def test_a_video_that_never_moves_scores_chance_and_gains_nothing():
    result = evaluate(replace(SMALL, parts=("following",)), still, exact)
    (line,) = summary(result)["following"]
    assert line["followed"] == pytest.approx(1 / len(MOTIONS))
    assert line["gain"] == 0
    assert {row.nearest for row in result.following} == {"still"}


def test_a_noisy_and_dimmed_true_video_is_still_recognised():
    scene = procedural_scenes(1, (64, 64))[0]
    random = np.random.default_rng(0)
    for motion in ("pan up", "roll clockwise", "zoom out", "sway"):
        video = scene.truth(motion, 29) * 0.95 + random.normal(0, 8, (29, 64, 64, 3))
        assert nearest_motion(video.clip(0, 255).astype(np.uint8), scene) == motion


def test_a_key_frame_that_is_shown_is_reached_and_one_that_is_not_gains_nothing():
    reached = evaluate(replace(SMALL, parts=("keyframes",)), perfect, exact).keyframes
    assert {(row.place, row.given) for row in reached} == {("end", 100), ("middle", 100)}
    assert all(row.gain > 20 for row in reached)
    ignored = evaluate(replace(SMALL, parts=("keyframes",)), still, exact).keyframes
    assert [row.gain for row in ignored] == [0, 0]


def test_orders_without_later_frames_are_not_asked_for_key_frames():
    assert Settings(models=("mini", "mini-f1", "framepack-f1")).inverted == ("mini",)


def test_plain_repetition_starts_each_section_from_the_last_frame_of_the_one_before():
    requests: list[VideoRequest] = []

    def darker(request: VideoRequest) -> np.ndarray:
        requests.append(request)
        video = still(request)
        video[1:] = video[1:] // 2
        return video

    rows = evaluate(replace(SMALL, parts=("drift",)), darker, exact).drift
    assert [row.order for row in rows] == ["inverted", "repetition", "truth"]
    brightness = [int(request.picture.mean()) for request in requests[1:]]
    assert [request.sections for request in requests] == [3, 1, 1, 1]
    assert brightness[0] > 1.8 * brightness[1] > 3 * brightness[2] > 0
    colour = {row.order: row.drift["colour mean"] for row in rows}
    assert colour["repetition"].difference > 2 * colour["inverted"].difference
    assert colour["repetition"].slope > colour["inverted"].slope
    near = {row.order: row.nearness for row in rows}
    assert near["repetition"][0] > near["repetition"][1] + 3 > near["repetition"][2] + 3
    assert near["truth"] == (100, 100, 100)


def test_held_out_pictures_are_the_same_each_time_and_differ_from_each_other():
    one, two = procedural_scenes(2, (48, 32))
    again = procedural_scenes(1, (48, 32))[0]
    assert one.picture.shape == (32, 48, 3)
    assert np.array_equal(one.picture, again.picture)
    assert not np.array_equal(one.picture, two.picture)


def test_missing_photos_are_told_and_skipped(monkeypatch):
    monkeypatch.setattr(evaluate_scenes, "PHOTOS", {"no_such_package_here": ("a.png",)})
    result = evaluate(replace(SMALL, photos=2, procedural=0), perfect, exact)
    assert result.following == []
    assert "0 of 2 photos are here" in result.notices[0]


def test_photos_come_from_the_packages(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    scene = photo_scenes(1, (64, 48))[0]
    assert scene.picture.shape == (48, 64, 3)
    assert scene.picture.std() > 20


def test_the_vae_alone_is_measured_on_every_photo_that_is_here():
    pytest.importorskip("skimage")
    result = evaluate(replace(SMALL, photos=1, procedural=1, parts=("codec",)), perfect, exact)
    photos = [row.scene for row in result.codec if row.kind == "photos"]
    assert len(photos) == len(set(photos)) == len(photo_files()) > 1
    assert [line["number"] for line in summary(result)["codec"]] == [len(photos), 1]


def test_the_report_is_written(tmp_path: Path):
    result = evaluate(replace(SMALL, models=("mini", "mini-f1"), motions=("pan left", "still")), perfect, exact)
    files = {file.name for file in write_report(result, tmp_path)}
    assert {"evaluation.json", "following-mini-procedural-0.png", "drift-procedural-0.png"} <= files
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert [line["order"] for line in content["summary"]["drift"]] == ["inverted", "forward", "repetition", "truth"]
    *planned, repeated = (line["section 3"] for line in content["summary"]["nearness"])
    assert planned == [100, 100]
    assert repeated < 30  # a mirrored border is mirrored again
    with Image.open(tmp_path / "following-mini-procedural-0.png") as sheet:
        assert sheet.width > 4 * 64
    pytest.importorskip("matplotlib")
    assert {"confusion.png", "following.png", "drift.png"} <= files


def test_goals_are_met_by_the_truth_and_missed_by_stillness():
    settings = replace(SMALL, models=("mini", "mini-f1"), parts=("following", "keyframes", "drift"))
    good, bad = (
        {goal.goal: goal.met for goal in goals(evaluate(settings, generate, exact))} for generate in (perfect, still)
    )
    assert good["prompts followed, procedural, weaker order"]
    assert good["dB a key frame brings, end"]
    assert good["sharpness lost over 3 sections, inverted"]
    assert not bad["prompts followed, procedural, weaker order"]
    assert not bad["dB a key frame brings, middle"]
    assert not any("photo" in goal for goal in good)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": ("maxi",)}, "model must be one of mini, .* got 'maxi'"),
        ({"motions": ("pan sideways",)}, "motion must be one of .* got 'pan sideways'"),
        ({"size": (100, 64)}, "multiples of 16"),
        ({"parts": ("beauty",)}, "part must be one of following"),
    ],
)
def test_settings_say_what_there_is(change, words):
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **change)


def test_a_scene_renders_each_truth_once():
    scene = Scene("grey", np.full((32, 32, 3), 90, np.uint8))
    assert scene.truth("zoom in", 5) is scene.truth("zoom in", 5)
    assert np.array_equal(scene.truth("zoom in", 5)[0], scene.picture)


def steered(request: VideoRequest) -> np.ndarray:
    """An ideal model whose controls do what they say."""
    motion, held = request.steering.get("motion", 0.0), request.steering.get("consistency", 1.0)
    made = true_frames(request.picture, MOTION_OF[request.prompt], torch.arange(frames_of(request)), 1.4**motion)
    noise = np.random.default_rng(3).normal(0, 6 - 2 * held, made.shape)
    return (made + noise).clip(0, 255).astype(np.uint8)


CONTROLS = replace(SMALL, parts=("controls",), models=("mini", "mini-f1"), steered=("pan left", "zoom in"))


def test_controls_that_do_what_they_say_meet_their_goals(tmp_path):
    evaluation = evaluate(CONTROLS, steered, exact)
    assert len(evaluation.controls) == expected_rows(CONTROLS) == 40
    of_motion = {row.value: row.amplitude for row in evaluation.controls if row.control == "motion"}
    assert of_motion == pytest.approx({value: 1.4**value for value in (-1, -0.5, 0, 0.5, 1)}, rel=0.03)
    found = {goal.goal: goal for goal in goals(evaluation)}
    assert len(found) == 7
    unmet = {name for name, goal in found.items() if not goal.met}
    assert unmet == {"--motion: amplitude at 1 over that at -1"}
    assert found.popitem()[1].reached < 0.04
    (sheet, *_) = sorted(tmp_path / file for file in write_report(evaluation, tmp_path) if file.suffix == ".png")
    assert sheet.name == "controls-mini-f1-procedural-0-pan left.png"
    assert len(summary(evaluation)["controls"]) == 40


def test_controls_that_do_nothing_meet_no_goal_about_them():
    evaluation = evaluate(replace(CONTROLS, models=("mini",)), perfect, exact)
    missed = {goal.goal for goal in goals(evaluation) if not goal.met}
    assert missed == {
        "--motion: amplitude rises, of all curves",
        "--motion: amplitude at 1 over that at -1",
        "--consistency: end nearer to the start, of all curves",
        "--consistency: noise from frame to frame falls, of all curves",
    }
