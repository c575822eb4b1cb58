"""The engine alone: no file is written, sections are handed in or made in any order, a history may have begun."""

from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import make, request_of
from torch import Tensor

from framepack import FramePack
from framepack.media.read import read_video
from framepack.pipeline.engine import SectionResult
from framepack.spec.plan import SectionPlan

Models = dict[str, FramePack]
BOTH = pytest.mark.parametrize("model", ["mini", "mini-f1"])


def results(made: Generator) -> list[SectionResult]:
    return [event for event in made if isinstance(event, SectionResult)]


def having(known: dict[int, Tensor]) -> Callable[[SectionPlan], Tensor | None]:
    return lambda section: known.get(section.index)


@BOTH
def test_a_caller_gets_latents_and_frames_and_nothing_is_written(
    framepacks: Models, picture: Path, tmp_path: Path, monkeypatch, model: str
) -> None:
    request = request_of(picture, tmp_path / "video.mkv", model=model)
    expected = make(framepacks[model], request, tmp_path / "work")
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    made = results(framepacks[model].sections(request))
    assert [torch.equal(one.latents, two) for one, two in zip(made, expected, strict=True)] == [True] * len(expected)
    frames = framepacks[model].frames(request)
    assert list(empty.iterdir()) == []
    assert np.array_equal(frames, np.stack(list(read_video(tmp_path / "video.mkv"))))


@BOTH
def test_sections_that_are_given_are_not_made_and_the_others_are_the_same(
    framepacks: Models, picture: Path, model
) -> None:
    request = request_of(picture, Path("unused.mp4"), model=model)
    whole = results(framepacks[model].sections(request))
    for known in ({0}, {0, 2}, {1}, {1, 2}):
        given = having({index: whole[index].latents for index in known})
        made = results(framepacks[model].sections(request, given))
        assert [one.given for one in made] == [index in known for index in range(len(whole))]
        assert all(torch.equal(one.latents, two.latents) for one, two in zip(made, whole, strict=True))
        assert all(torch.equal(one.frames, two.frames) for one, two in zip(made, whole, strict=True))


@BOTH
def test_a_section_from_outside_is_what_the_later_ones_see(framepacks: Models, picture: Path, model: str) -> None:
    request = request_of(picture, Path("unused.mp4"), model=model)
    whole = results(framepacks[model].sections(request))
    other = whole[0].latents + 1
    made = results(framepacks[model].sections(request, having({0: other})))
    assert torch.equal(made[0].latents, other)
    assert not torch.equal(made[1].latents, whole[1].latents)


@BOTH
def test_a_history_may_begin_with_given_latents(framepacks: Models, picture: Path, model: str) -> None:
    request = request_of(picture, Path("unused.mp4"), model=model)
    whole = results(framepacks[model].sections(request))
    shape = (*whole[0].latents.shape[:2], 19, *whole[0].latents.shape[3:])
    zeros = results(framepacks[model].sections(request, history=torch.zeros(shape)))
    begun = results(framepacks[model].sections(request, history=torch.ones(shape)))
    assert torch.equal(zeros[0].latents, whole[0].latents)
    assert not torch.equal(begun[0].latents, whole[0].latents)


def test_one_generation_at_a_time_and_the_next_after_it(framepacks: Models, picture: Path) -> None:
    request = request_of(picture, Path("unused.mp4"))
    first = framepacks["mini"].sections(request)
    next(first)
    with pytest.raises(ValueError, match="is generating another video: wait for it, close it"):
        next(framepacks["mini"].sections(request))
    first.close()
    assert results(framepacks["mini"].sections(request))
