"""The drift meter and the drift guard: numbers against plain ones, neutral to the bit, exact after a kill."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import latents as latents_in
from runs import make, request_of

from framepack import FramePack
from framepack.pipeline.drift import DriftGuard, DriftMeter
from framepack.pipeline.engine import SectionResult
from framepack.pipeline.seal import read_json
from framepack.spec.events import SectionDone
from framepack.spec.plan import SectionPlan, plan

Models = dict[str, FramePack]
BOTH = pytest.mark.parametrize("model", ["mini", "mini-f1"])
LONG = {"seconds": 2.0, "guard": 1.0}


def sections(framepack: FramePack, picture: Path, **fields: object) -> list[SectionResult]:
    request = request_of(picture, Path("unused.mp4"), model=framepack.model, **fields)
    return [one for one in framepack.sections(request) if isinstance(one, SectionResult)]


def plan_of(count: int, **fields: object):
    request = request_of(Path("a.png"), Path("v.mp4"), seconds=0.4 * count, model="mini-f1", **fields)
    return plan(request)[:count]


def test_a_look_is_in_levels_of_255() -> None:
    ramp = np.tile(np.arange(0, 64, dtype=np.uint8)[None, :, None], (48, 1, 3))
    ramp[..., 0] += 100
    look = DriftMeter(ramp).look(torch.from_numpy(ramp)[None].float() / 127.5 - 1)
    luma = ramp.astype(float) @ [0.299, 0.587, 0.114]
    assert look.colour == pytest.approx((131.5, 31.5, 31.5), abs=1e-3)
    assert look.contrast == pytest.approx(luma.std(ddof=1), rel=1e-3)
    assert look.sharpness == pytest.approx(1, rel=1e-3)
    assert look.distance == pytest.approx(0, abs=1e-3)
    brighter = DriftMeter(ramp).look(torch.from_numpy(ramp)[None].float() / 127.5 - 1 + 10 / 127.5)
    assert brighter.distance == pytest.approx(10, abs=1e-2)
    assert DriftMeter(None).look(torch.zeros(4, 32, 32, 3)).distance is None


def held_in_turn(guard: DriftGuard, plans: Sequence[SectionPlan], made: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    held = []
    for section, latents in zip(plans, made, strict=True):
        held.append(guard.held(section, latents))
        guard.note(section, held[-1])
    return held


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_section_is_held_to_the_mean_statistics_of_the_first_two(strength: float) -> None:
    guard, made = DriftGuard(strength), [torch.randn(1, 3, 4, 5, 6) * (1 + i) + i for i in range(4)]
    held = held_in_turn(guard, plan_of(4), made)
    assert torch.equal(held[0], made[0])
    assert torch.equal(held[1], made[1])
    for one, before in zip(held[2:], made[2:], strict=True):
        for channel in range(3):
            x = before[0, channel].double().numpy()
            first = [two[0, channel].double().numpy() for two in made[:2]]
            mean, spread = np.mean([y.mean() for y in first]), np.mean([y.std(ddof=1) for y in first])
            expected = (x - x.mean()) * (spread / x.std(ddof=1)) ** strength + x.mean()
            expected += strength * (mean - x.mean())
            np.testing.assert_allclose(one[0, channel].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_it_begins_anew_where_the_prompt_changes() -> None:
    made = [torch.randn(1, 3, 4, 5, 6) + i for i in range(6)]
    guard, asked = DriftGuard(1.0), plan_of(6, prompts=[{"second": 1.2, "text": "night falls"}])
    assert [section.prompt for section in asked] == [""] * 3 + ["night falls"] * 3
    held = held_in_turn(guard, asked, made)
    same = [torch.equal(one, before) for one, before in zip(held, made, strict=True)]
    assert same == [True, True, False, True, True, False]


@BOTH
def test_no_guard_is_the_same_to_the_bit_and_one_acts_from_the_third_section_on(framepacks, picture, model) -> None:
    plain, off, on = (sections(framepacks[model], picture, seconds=2.0, **g) for g in ({}, {"guard": 0}, {"guard": 1}))
    assert all(torch.equal(one.latents, two.latents) for one, two in zip(plain, off, strict=True))
    same = [torch.equal(one.latents, two.latents) for one, two in zip(plain, on, strict=True)]
    assert same[:2] == [True, True]
    assert not any(same[3:])
    assert len(same) > 4


@BOTH
@pytest.mark.parametrize("lost", [1, 3])
def test_a_killed_run_goes_on_to_the_same_bits(framepacks: Models, picture: Path, tmp_path: Path, model, lost) -> None:
    request = request_of(picture, tmp_path / "v.mkv", model=model, **LONG)
    whole = make(framepacks[model], request, tmp_path / "whole")
    frames = (tmp_path / "v.mkv").read_bytes()
    (tmp_path / "v.mkv").unlink()
    run, done = framepacks[model].generate(request, work=tmp_path / "work"), 0
    for event in run:
        done += isinstance(event, SectionDone)
        if done == lost:
            run.close()
            break
    assert len(latents_in(tmp_path / "work")) == lost
    again = make(framepacks[model], request, tmp_path / "work")
    assert all(torch.equal(one, two) for one, two in zip(again, whole, strict=True))
    assert len((tmp_path / "v.mkv").read_bytes()) == len(frames)


@BOTH
def test_each_section_says_and_records_what_it_looks_like(framepacks, picture, tmp_path, model) -> None:
    request = request_of(picture, tmp_path / "v.mkv", model=model)
    done = [
        event for event in framepacks[model].generate(request, work=tmp_path / "w") if isinstance(event, SectionDone)
    ]
    looks = [made.look for made in sections(framepacks[model], picture)]
    assert [event.look for event in done] == looks
    for index, look in enumerate(looks):
        assert look is not None
        written = read_json(tmp_path / "w" / f"section-{index:04d}.json")["look"]
        assert written == {**vars(look), "colour": list(look.colour)}
    (tmp_path / "w" / f"section-{len(looks) - 1:04d}.json").unlink()
    again = [
        event for event in framepacks[model].generate(request, work=tmp_path / "w") if isinstance(event, SectionDone)
    ]
    assert [event.look for event in again] == looks[-2:]
