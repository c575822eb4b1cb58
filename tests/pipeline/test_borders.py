"""Latents drawn to neighbours that stay: what is alike at a border, how it fades, and who is drawn to what."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from runs import request_of

from framepack.pipeline.borders import drawn, split
from framepack.spec.plan import plan
from framepack.spec.redo import redone
from framepack.spec.windows import NEIGHBOUR

SIZE = (1, 3, 9, 8, 10)


def wave(seed: int, count: int = 9, gain: float = 1.0) -> torch.Tensor:
    """Latents that go on slowly, as those of a video do."""
    generator = torch.Generator().manual_seed(seed)
    picture, change = torch.randn(2, *SIZE[:2], 1, *SIZE[3:], generator=generator)
    return gain * (picture + 0.05 * change * torch.arange(count).view(1, 1, -1, 1, 1)) + seed


def test_without_neighbours_latents_are_passed_on() -> None:
    latents = wave(1)
    assert drawn(latents, None, None) is latents


@pytest.mark.parametrize("later", [False, True])
def test_a_border_has_the_neighbours_mean_and_step_and_the_far_half_stays(later: bool) -> None:
    latents, other = wave(1), wave(2, gain=1.4)
    made = drawn(latents, *((None, other[:, :, :2]) if later else (other[:, :, -2:], None)))
    edge, near = (-1, 0) if later else (0, -1)
    own, theirs = made[:, :, edge], other[:, :, near]
    torch.testing.assert_close(own.mean((2, 3)), theirs.mean((2, 3)), atol=1e-4, rtol=0)
    usual = (other[:, :, 1] - other[:, :, 0]).square().mean().sqrt()
    before, after = ((part - theirs).square().mean().sqrt() for part in (latents[:, :, edge], own))
    assert after < 1.1 * usual < 0.1 * before
    half = slice(0, 5) if later else slice(4, 9)
    far = slice(0, 4) if later else slice(5, 9)
    torch.testing.assert_close(made[:, :, far], latents[:, :, far], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(made[:, :, half], latents[:, :, half], atol=1e-2)


def test_each_band_has_the_neighbours_spread_at_the_border() -> None:
    latents, other = torch.randn(SIZE), 1.5 * torch.randn(SIZE) + 1
    made = drawn(latents, other[:, :, -1:], None)[:, :, :1]
    # random latents are all as far apart, so that there is no excess
    for own, theirs in zip(split(made), split(other[:, :, -1:]), strict=True):
        torch.testing.assert_close(own.std((3, 4)), theirs.std((3, 4)), rtol=0.35, atol=0)


def test_time_reversed_it_does_the_same() -> None:
    latents, before, after = wave(1), wave(2)[:, :, -2:], wave(3)[:, :, :2]
    there = drawn(latents, before, after)
    back = drawn(latents.flip(2), after.flip(2), before.flip(2))
    torch.testing.assert_close(back.flip(2), there)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_section_of_any_length_and_a_flat_one_stay_finite_and_between_their_neighbours(count: int) -> None:
    flat = torch.zeros(*SIZE[:2], count, *SIZE[3:])
    made = drawn(flat, torch.full((*SIZE[:2], 2, *SIZE[3:]), 1.0), torch.full((*SIZE[:2], 2, *SIZE[3:]), 3.0))
    assert made.shape == flat.shape
    assert made.isfinite().all()
    assert made.min() >= -1e-5
    assert made.max() <= 3 + 1e-5


def stays(**fields: object) -> list[tuple[str, str]]:
    """In the order of time."""
    sections = plan(request_of(Path("a.png"), Path("v.mkv"), **fields))
    return [section.stay for section in sorted(sections, key=lambda one: one.latents.start)]


NONE = ("", "")


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_an_ordinary_video_is_drawn_to_nothing(model: str) -> None:
    assert set(stays(model=model, seconds=2.0)) == {NONE}


@pytest.mark.parametrize(
    ("task", "model", "first", "last"),
    [
        ("extend", "mini-f1", ("before", ""), NONE),
        ("lead_in", "mini", NONE, ("", "after")),
        ("bridge", "mini", ("before", ""), ("", "after")),
        ("loop", "mini", NONE, ("", "after")),
    ],
)
def test_sections_beside_a_source_are_drawn_to_it(task: str, model: str, first, last) -> None:
    more = {"target": Path("b.mkv")} if task == "bridge" else {}
    found = stays(task=task, model=model, seconds=2.0, **more)
    assert len(found) > 2
    assert (found[0], found[-1]) == (first, last)
    assert set(found[1:-1]) == {NONE}


@pytest.mark.parametrize(
    ("model", "section", "stay"),
    [
        ("mini", 2, (NEIGHBOUR, "history")),
        ("mini", 1, ("", "history")),
        ("mini-f1", 2, ("history", NEIGHBOUR)),
        ("mini-f1", 1, ("", NEIGHBOUR)),
    ],
)
def test_a_section_made_anew_alone_is_drawn_to_both_its_neighbours(model: str, section: int, stay) -> None:
    request = request_of(Path("a.png"), Path("v.mkv"), model=model, seconds=2.0)
    for only in (True, False):
        sections = sorted(plan(redone(request, section, only=only)), key=lambda one: one.latents.start)
        found = [one.stay for one in sections]
        assert found.pop(section - 1) == (stay if only else NONE)
        assert set(found) == {NONE}


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_a_picture_between_two_sections_is_seen_and_nothing_is_drawn_to_it(model: str) -> None:
    request = request_of(
        Path("a.png"), Path("v.mkv"), model=model, seconds=2.0, frames=[{"image": "b.png", "second": 1.0}]
    )
    sections = sorted(plan(request), key=lambda one: one.latents.start)
    place = 1 + [one.latents.stop == two.latents.start for one, two in pairwise(sections)].index(False)
    number = place + 1 if model == "mini" else place
    made = sorted(plan(redone(request, number)), key=lambda one: one.latents.start)[number - 1]
    assert made.stay[0 if model == "mini" else 1] == ""
    assert NEIGHBOUR not in [span.source for span in made.context]
    assert "frame:0" in [span.source for span in made.context]
