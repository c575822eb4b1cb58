"""A reference picture, and pictures that are seen again: in the plan and in the pipeline. Neutral is absent."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import request_of

from framepack import FramePack, GenerationRequest, Reference
from framepack.app.cli.arguments import end_frame, reference
from framepack.pipeline.engine import SectionResult
from framepack.spec.plan import SectionPlan, plan

Models = dict[str, FramePack]
BOTH = pytest.mark.parametrize("model", ["mini", "mini-f1"])


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "other.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(file)
    return file


def sections(framepack: FramePack, picture: Path, **fields: object) -> list[SectionResult]:
    request = request_of(picture, Path("unused.mp4"), model=framepack.model, **fields)
    return [one for one in framepack.sections(request) if isinstance(one, SectionResult)]


def latents(framepack: FramePack, picture: Path, **fields: object) -> torch.Tensor:
    return torch.cat([one.latents for one in sections(framepack, picture, **fields)], dim=2)


def planned(**fields: object) -> tuple[SectionPlan, ...]:
    usual = {"image": "a.png", "model": "framepack", "seconds": 6, "length": "sections"}
    return plan(GenerationRequest.model_validate({**usual, **fields}))


@BOTH
def test_what_is_neutral_is_the_same_to_the_bit(framepacks: Models, picture: Path, other: Path, model: str) -> None:
    plain = latents(framepacks[model], picture)
    for neutral in ({"reference": {"image": other, "strength": 0}}, {"restate": 0}, {"restate": 100}):
        assert torch.equal(latents(framepacks[model], picture, **neutral), plain)


@BOTH
def test_a_reference_changes_the_video_the_more_the_stronger_it_is(framepacks, picture, other, model) -> None:
    framepack = framepacks[model]
    plain = latents(framepack, picture)
    moved = [
        float((latents(framepack, picture, reference={"image": other, "strength": s}) - plain).abs().mean())
        for s in (0.1, 1)
    ]
    assert 0 < moved[0] < moved[1]


@pytest.mark.parametrize("model", ["framepack", "framepack-f1"])
def test_every_section_sees_the_reference_in_the_start_pictures_place(model: str) -> None:
    plain = planned(model=model)
    for before, after in zip(plain, planned(model=model, reference={"image": "b.png", "strength": 0.5}), strict=True):
        assert after.context[:-1] == before.context
        seen = after.context[-1]
        assert (seen.source, list(seen.at), seen.scale, seen.weight) == ("reference", [0], 1, 0.5)
        assert dict(after.image) == {**{key: 0.75 * share for key, share in before.image}, "reference": 0.25}
        assert (after.at, after.latents, after.noise) == (before.at, before.latents, before.noise)


def test_shares_of_features_sum_to_one_beside_keyframes_and_consistency() -> None:
    pictures = {"frames": [{"image": "c.png", "second": 3}], "reference": {"image": "b.png", "strength": 1}}
    for section in planned(**pictures, consistency=1.5):
        assert sum(share for _, share in section.image) == pytest.approx(1)


def test_a_picture_is_seen_again_every_so_many_sections() -> None:
    plain, again = planned(), planned(restate=2)
    added = [after.context[len(before.context) :] for before, after in zip(plain, again, strict=True)]
    assert [[span.source for span in spans] for spans in added] == [[], ["start"], [], ["start"], []]
    assert all(list(span.at) == [0] for spans in added for span in spans)


def test_it_is_the_nearest_in_time() -> None:
    frame = {"image": "c.png", "second": 3, "strength": 0.5}
    again = planned(restate=1, frames=[frame], end_frame={"image": "d.png"})
    assert {section.context[-1].weight for section in again} == {1}
    seen = [(section.latents, section.context[-1].source) for section in again]
    for window, source in seen:
        middle = (window[0] + window[-1]) / 2
        places = {"start": 0, "frame:0": 23, "end": 46}
        assert abs(places[source] - middle) <= min(abs(place - middle) for place in places.values()) + 1
    assert {source for _, source in seen} == {"start", "frame:0", "end"}


@BOTH
def test_what_is_seen_again_has_an_effect_from_its_section_on(framepacks: Models, picture: Path, model: str) -> None:
    plain, again = (sections(framepacks[model], picture, restate=n) for n in (0, 2))
    same = [torch.equal(one.latents, two.latents) for one, two in zip(plain, again, strict=True)]
    assert same == [True, *[False] * (len(plain) - 1)]


def test_a_reference_asks_nothing_of_the_models_slots_for_later_frames() -> None:
    GenerationRequest(image="a.png", model="framepack-f1", reference={"image": "b.png"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no slot for a later frame"):
        GenerationRequest(image="a.png", model="framepack-f1", end_frame={"image": "b.png"})  # type: ignore[arg-type]


def test_on_a_command_line_a_strength_follows_the_file() -> None:
    assert reference("b.png:0.5") == Reference(image="b.png", strength=0.5)  # type: ignore[arg-type]
    assert reference("b.png") == Reference(image="b.png")  # type: ignore[arg-type]
    assert end_frame("b.png").strength == 1
