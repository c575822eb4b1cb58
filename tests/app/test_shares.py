"""The latents foretold to be decoded, against what the decoder does."""

from pathlib import Path

import pytest
import torch
from published import PLACES

from framepack.app.service.shares import ENCODING, STEPS, decoded_latents, finishing_seconds, steps_seconds
from framepack.files.assets import BUNDLED
from framepack.models.hunyuan.vae import VideoVAE, empty_vae
from framepack.models.hunyuan.vae_tiles import TileMemo, decode_in_time
from framepack.spec.cuts import HistoryLatent
from framepack.spec.geometry import HUNYUAN
from framepack.spec.parts import Keyframe
from framepack.spec.plan import SectionPlan, plan
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import HUNYUAN_REPO


def decoded(sections: tuple[SectionPlan, ...]) -> list[int]:
    """Latents that `decode_in_time` hands to its decoder, section after section; each latent is its own number."""
    memo, counts, edge = TileMemo(), [], []
    numbers: dict[str, int] = {}

    def number_of(picture: HistoryLatent) -> int:
        return numbers.setdefault(picture.source, -len(numbers))

    for section in sections:
        new = list(section.latents)
        before, after = (
            [number_of(picture) for picture in found if picture.shown] for found in (section.before, section.after)
        )
        edge = [*after, *new, *before, *edge] if section.direction == "backward" else [*edge, *before, *new, *after]
        count = section.decode_latents
        clip = edge[:count] if section.direction == "backward" else edge[-count:]
        again = len(new) if section.provisional else 0
        memo.repeats = range(again) if section.direction == "backward" else range(count - again, count)
        seen = []

        def decode(z: torch.Tensor, seen: list[int] = seen) -> torch.Tensor:
            seen.append(z.shape[2])
            return torch.zeros(1, 3, 4 * z.shape[2] - 3, 1, 1)

        z = torch.tensor(clip, dtype=torch.float32).view(1, 1, -1, 1, 1)
        for _ in decode_in_time(z, decode, HUNYUAN.tiles, HUNYUAN.temporal, memo):
            pass
        counts.append(sum(seen))
    return counts


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
@pytest.mark.parametrize("seconds", [1.2, 2.4, 6, 12.3])
@pytest.mark.parametrize("window", [3, 9, 12])
def test_the_estimate_knows_how_many_latents_each_section_decodes(model, seconds, window):
    asked = {"image": "x", "model": model, "seconds": seconds, "window": window}
    sections = plan(GenerationRequest.model_validate(asked))
    assert decoded_latents(sections, HUNYUAN.tiles) == decoded(sections)


@pytest.mark.parametrize("folder", [PLACES["base"], BUNDLED / "mini" / HUNYUAN_REPO], ids=["13 B", "mini"])
def test_tiles_are_those_of_the_models(folder):
    vae = VideoVAE(empty_vae(folder / "vae"))
    assert vae.time_tiles == HUNYUAN.tiles
    assert (vae.temporal, vae.spatial) == (HUNYUAN.temporal, HUNYUAN.spatial)


def test_pictures_on_the_way_that_cut_sections_are_counted_with():
    frames = (Keyframe(image=Path("y.png"), second=1.7), Keyframe(image=Path("z.png"), second=4.2))
    sections = plan(GenerationRequest(image=Path("x.png"), seconds=6, frames=frames))
    assert len({len(section.latents) for section in sections}) > 1
    assert decoded_latents(sections, HUNYUAN.tiles) == decoded(sections)


def test_steps_on_the_frames_take_their_time_and_a_larger_picture_more():
    plain, sharp, large = (
        GenerationRequest(image="a.png", width=64, height=64, output={"format": "gif"}, finish=finish)
        for finish in ({}, {"sharpen": 0.5, "exposure": 1, "contrast": 1.2}, {"enlarge": 2})
    )
    seconds = [finishing_seconds(one.resolved(), plan(one.resolved())) for one in (plain, sharp, large)]
    assert seconds[0] < seconds[1]
    frames = large.resolved().delivered_frames
    assert seconds[2] - seconds[0] > frames * 64**2 * (3 * ENCODING["gif"][1] + 4 * STEPS["enlarge"]) * 0.99
    assert steps_seconds(sharp.finish) == pytest.approx(STEPS["sharpen"] + STEPS["exposure"])
