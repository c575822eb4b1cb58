"""Measures of the controls, on videos and numbers that are known; and that the command writes what it measured."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_evaluate import SMALL

import framepack
from framepack.app.cli import main as cli
from framepack.spec.events import Look
from framepack.training.data.motions import MOTIONS
from framepack.training.evaluate.control.bench import Bench, Row
from framepack.training.evaluate.control.guard import drifted, guard_goals
from framepack.training.evaluate.control.nag import fitted_pair, nag_goals
from framepack.training.evaluate.control.parts import PARTS, Measured, chosen
from framepack.training.evaluate.control.reference import nearness, reference_goals
from framepack.training.evaluate.control.report import table, write_control
from framepack.training.evaluate.control.takes import placed, stills_goals, takes_goals
from framepack.training.evaluate.control.times import keyframes_goals, prompts_goals
from framepack.training.evaluate.control.videos import outside, restyle_goals, seam_goals, within
from framepack.training.evaluate.scenes import procedural_scenes, true_mix

(SCENE,) = procedural_scenes(1, (64, 64))


def row(case: str, *course: float, **values: float) -> Row:
    named = {name.replace("_", " "): value for name, value in values.items()}
    return Row(part="x", model="mini", scene="s", case=case, values=named, course=course)


def reached(goals, words: str) -> float:
    (found,) = [goal.reached for goal in goals if words in goal.goal]
    return found


@pytest.mark.parametrize(("kept", "unwanted"), [(1.0, 0.25), (0.5, 1.125), (1.5, -0.25)])
def test_both_amplitudes_of_a_true_mix_are_found(kept: float, unwanted: float) -> None:
    rates = MOTIONS["pan left"].row() * kept + MOTIONS["darken"].row() * unwanted
    found = fitted_pair(true_mix(SCENE.picture, rates, torch.arange(37)), SCENE.picture, "pan left", "darken")
    assert (found.kept, found.unwanted) == (kept, unwanted)


def test_nag_counts_only_what_was_shown_without_it() -> None:
    def led(case: str, before: float, after: float, stays: float) -> list[Row]:
        plain = row(f"{case}, nag 1", kept=1, unwanted=before, seconds=2)
        return [plain, row(f"{case}, nag 5", kept=stays, unwanted=after, seconds=3), row(f"{case}, nag 11", kept=0)]

    rows = [*led("a", 1, 0.5, 0.9), *led("b", 0.4, 0.4, 0), *led("c", 1, 0.6, 0.5)]
    goals = list(nag_goals(rows))
    assert reached(goals, "falls by half, of 2 prompts") == 0.5
    assert reached(goals, "the other one stays") == 0.5
    assert reached(goals, "time of a video") == 1.5


def test_drift_is_that_of_the_last_third_and_the_guards_goal_is_its_share() -> None:
    seen = {0: (10, 20), 1: (10, 20), 3: (90, 90), 4: (40, 10), 5: (40, 10)}
    looks = {at: Look(colour=(c, 0, 0), contrast=k, sharpness=4, distance=None) for at, (c, k) in seen.items()}
    found = drifted(looks, 6)
    assert found == {"colour": 30, "contrast": pytest.approx(np.log(2)), "sharpness": 0}
    held = {"colour": 9, "contrast": 0.0, "sharpness": 0.0}
    lit = [row("darken, guard 0", followed=0), row("darken, guard 1", followed=1)]
    rows = [row("guard 0", **found), row("guard 0.5", **found, cost=0.02), row("guard 1", **held, cost=0.01), *lit]
    goals = list(guard_goals(rows))
    assert reached(goals, "drift of the colour") == pytest.approx(0.3)
    assert reached(goals, "share of a section's time") == 0.02
    assert reached(goals, "light prompts followed") == 1


def test_a_video_that_becomes_the_reference_is_nearer_to_it() -> None:
    other = procedural_scenes(2, (64, 64))[1].picture
    plain = np.repeat(SCENE.picture[None], 60, axis=0)
    mixed = (0.5 * plain + 0.5 * other).astype(np.uint8)
    far, near = nearness(plain, other), nearness(mixed, other)
    assert near["distance"] == pytest.approx(far["distance"] / 2, rel=0.05)
    rows = [row("pan, reference 0", **far, amplitude=2), row("pan, reference 0.3", **near, amplitude=1.5)]
    goals = list(reference_goals(rows))
    assert reached(goals, "nearer") == 1
    assert reached(goals, "least") == 0.75


def test_what_stands_still_beside_a_mask_is_told_from_what_moves() -> None:
    video = np.repeat(SCENE.picture[None], 5, axis=0)
    video[1:, :, :32] = 0
    assert within(video, 64) < 20
    assert outside(video, 64) == 100


def test_goals_are_the_worst_of_all_rows() -> None:
    changes = [row("a", off=0.1, largest_step=3.6, true_step=4), row("b", off=1.3, largest_step=1.5, true_step=1)]
    assert [goal.reached for goal in prompts_goals(changes)] == [1.3, 3.6, pytest.approx(0.9)]
    keyed = [row("middle", 10, 12, 14, **{"0": 10, "1": 24, "VAE alone": 24.5})]
    assert all(goal.met for goal in keyframes_goals(keyed))
    assert not next(keyframes_goals([replace(keyed[0], course=(10, 9, 14))])).met
    assert reached(restyle_goals([row("a", 3, 2, 1), row("b", 3, 3, 1)]), "fall with each") == 0.5
    shown = [row("a", there=1, found=0), row("b", there=0, found=0)]
    assert [goal.reached for goal in stills_goals(shown)] == [0.5, 0]
    borders = [row("a, before", step=1, sharpness=0.1, colour=1), row("a, redone", step=1.4, sharpness=0.1, colour=1)]
    assert reached(takes_goals(borders), "step at borders") == 1.4
    assert reached(takes_goals(borders), "median step") == pytest.approx(1.4)


def test_a_still_is_looked_for_among_the_frames_and_a_frame_among_the_stills() -> None:
    grey = np.array([0, 50, 60, 200], np.uint8)[:, None, None, None] * np.ones((4, 8, 8, 3), np.uint8)
    first, second, third, last = placed(grey[[0, 2, 2, 3]], grey)
    assert [one["nearest at"] for one in (first, second, third, last)] == [0, 2, 2, 3]
    assert [one["there"] for one in (first, second, third, last)] == [1, 0, 1, 1]
    assert [one["found"] for one in (first, second, third, last)] == [1, 1, 0, 1], "of two alike the first"
    assert second["dB"] == second["between places"] == pytest.approx(28.1, abs=0.1)
    assert last["between places"] < first["dB"] == 100


def test_every_part_says_what_is_wanted_of_nothing_and_unknown_parts_are_refused() -> None:
    assert [list(wanted([])) for _, wanted in PARTS.values()] == [[]] * len(PARTS)
    assert chosen(("stills", "nag")) == ("nag", "stills")
    assert chosen(()) == tuple(PARTS)
    with pytest.raises(ValueError, match="is one of nag, reference"):
        chosen(("nag", "beauty"))


def test_a_goal_of_seams_says_what_a_true_video_has_and_does_not_count_it() -> None:
    values = {"step": 1.0, "sharpness": 0.05, "colour": 0.5}
    rows = [row("pan left", **values), row("pan left, a true video by the VAE", **(values | {"sharpness": 0.3}))]
    (found,) = [goal for goal in seam_goals(rows) if "sharpness" in goal.goal]
    assert (found.goal, found.reached) == ("x: sharpness, most of 1 (a true video by the VAE: 0.3)", 0.05)
    borders = [row("pan, before", **values), row("pan, redone", **values), row("pan, a true video", **values)]
    (found, _) = [goal for goal in takes_goals(borders) if "colour" in goal.goal]
    assert found.goal == "takes: colour at borders, most of 1 (a true video: 0.5)"


def test_tables_have_the_mean_over_scenes_and_files_are_written(tmp_path: Path) -> None:
    rows = [row("a", 1, 2, one=1, two=2), replace(row("a", 3, 4, one=3), scene="t")]
    assert table(rows).splitlines()[2] == "| mini | a | 2 | 2 |"
    measured = Measured(rows={"guard": [replace(one, part="guard") for one in rows]})
    files = write_control(measured, SMALL, tmp_path)
    assert [file.name for file in files] == ["control.json", "control.md", "control-guard.png"]
    assert json.loads(files[0].read_text())["guard"][1]["values"] == {"one": 3}
    assert "| mini | a | 2 | 2 |" in files[1].read_text()


def test_eval_control_measures_the_parts_named(tiny_models_dir, monkeypatch, tmp_path, capsys) -> None:
    said = "eval --control --only mask --model mini --images 1 --photos 0 --width 32 --height 32 --steps 1 --part codec"
    monkeypatch.setattr(
        "sys.argv", ["framepack", *shlex.split(said), "--models-dir", str(tiny_models_dir), "-o", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    shown, noted = capsys.readouterr()
    assert "note: --part has no effect with --control" in noted
    assert "mask: dB to the first frame outside it, least" in shown
    (found,) = json.loads((tmp_path / "control.json").read_text())["mask"]
    assert found["values"].keys() == {"outside", "inside"}


@pytest.mark.proof
@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_nag_takes_the_light_out_of_a_prompt_of_two_motions_and_leaves_the_camera(model: str, tmp_path: Path) -> None:
    settings = replace(SMALL, models=(model,), size=(80, 80), steps=2)
    bench = Bench(settings=settings, models={model: framepack.load(model)}, folder=tmp_path)
    (scene,) = procedural_scenes(1, (80, 80))
    asked = {"prompt": "the camera pans left and it gets dark", "negative_prompt": "it gets dark"}
    plain, led = (
        fitted_pair(bench.frames(bench.request(model, scene, **asked, nag=nag)), scene.picture, "pan left", "darken")
        for nag in (1, 5)
    )
    assert led.unwanted <= plain.unwanted / 2
    assert abs(led.kept / plain.kept - 1) <= 0.15
