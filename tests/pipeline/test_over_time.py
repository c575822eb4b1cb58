"""Prompts that change on the way and keyframes of any strength, through the whole pipeline on tiny checkpoints."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from runs import request_of
from torch import Tensor

from framepack import FramePack, GenerationRequest
from framepack.models.hunyuan.encoders import TextFeatures
from framepack.pipeline.conditioning import blend
from framepack.pipeline.engine import SectionResult
from framepack.spec.plan import SectionPlan

Models = dict[str, FramePack]
BOTH = pytest.mark.parametrize("model", ["mini", "mini-f1"])


def made(framepack: FramePack, request: GenerationRequest, given: Callable[[SectionPlan], Tensor | None] | None = None):
    events = framepack.sections(request, *([given] if given else []))
    return [event for event in events if isinstance(event, SectionResult)]


def same(one: list[SectionResult], other: list[SectionResult]) -> list[bool]:
    return [torch.equal(a.latents, b.latents) for a, b in zip(one, other, strict=True)]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 48), (200, 30, 90)).save(file := tmp_path / "other.png")
    return file


@BOTH
def test_a_timed_prompt_that_says_the_same_changes_no_bit(framepacks: Models, picture: Path, model: str):
    plain = request_of(picture, Path("unused.mp4"), model=model, prompt="walk")
    again = request_of(picture, Path("unused.mp4"), model=model, prompt="walk [0.5s: walk]", blend=0.4)
    assert again.prompts
    assert all(same(made(framepacks[model], plain), made(framepacks[model], again)))


def test_before_a_change_the_inverted_order_sees_what_follows_and_after_it_the_moment_of_the_change(
    framepacks: Models, picture: Path
):
    def run(prompt: str) -> list[SectionResult]:
        return made(framepacks["mini"], request_of(picture, Path("unused.mp4"), prompt=prompt))

    whole, other = run("walk [0.4s: run]"), run("sleep [0.4s: run]")
    assert [one.section.prompt for one in whole] == ["run", "run", "walk"]
    assert not any(same(whole, other)), "what follows begins from the still, which the first prompt has made"


@BOTH
def test_a_blend_changes_the_sections_it_reaches(framepacks: Models, picture: Path, model: str):
    asked = {"model": model, "prompt": "walk [0.4s: run]", "seconds": 1.2}
    plain = made(framepacks[model], request_of(picture, Path("unused.mp4"), **asked))
    blended = made(framepacks[model], request_of(picture, Path("unused.mp4"), **asked, blend=0.4))
    reached = [bool(one.section.blended) for one in blended]
    assert set(reached) == {True, False}
    first = reached.index(True)
    assert same(plain, blended)[:first] == [True] * first
    assert not any(equal for equal, touched in zip(same(plain, blended), reached, strict=True) if touched)


@BOTH
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_a_run_with_keyframes_goes_on_to_the_same_bits_and_frames(
    framepacks: Models, picture: Path, other: Path, model: str, strength: float
):
    request = request_of(
        picture, Path("unused.mp4"), model=model, prompt="walk [0.8s: run]",
        frames=[{"image": other, "second": 0.5, "strength": strength}],
        end_frame={"image": other, "strength": strength},
    )  # fmt: skip
    whole = made(framepacks[model], request)
    assert sum(len(one.frames) for one in whole if one.frames is not None) == 4 * request.latent_count + 1
    known = {one.section.index: one.latents for one in whole[:2]}
    resumed = made(framepacks[model], request, lambda section: known.get(section.index))
    assert all(same(whole, resumed))
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(whole, resumed, strict=True))


@BOTH
@pytest.mark.parametrize("place", ["frame", "end"])
def test_strength_approaches_the_whole_picture_and_a_weaker_one_is_farther(
    framepacks: Models, picture: Path, other: Path, model: str, place: str
):
    def run(strength: float) -> Tensor:
        given = {"image": other, "strength": strength}
        fields = {"end_frame": given} if place == "end" else {"frames": [{**given, "second": 0.5}]}
        return torch.cat(
            [one.latents for one in made(framepacks[model], request_of(picture, Path("u.mp4"), model=model, **fields))],
            dim=2,
        )

    full, near, far = run(1.0), run(0.998), run(0.5)
    distance = [float((one - full).abs().mean()) for one in (near, far)]
    assert 0 < 20 * distance[0] < distance[1]


def test_texts_blend_by_their_shares_and_a_shorter_one_repeats_its_last_token():
    def features(value: float, length: int) -> TextFeatures:
        text = torch.full((1, length, 3), value)
        return TextFeatures(text=text, pooled=torch.full((1, 2), value), text_cut=0, pooled_cut=0)

    one, other = features(1.0, 2), features(3.0, 4)
    assert blend([(one, 1.0)]) is one
    mixed = blend([(one, 0.75), (other, 0.25)])
    assert torch.equal(mixed.text, torch.full((1, 4, 3), 1.5))
    assert torch.equal(mixed.pooled, torch.full((1, 2), 1.5))
