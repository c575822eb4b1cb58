"""Guidance of a request, in the pipeline: NAG and the modes of cfg. Neutral is absent, to the bit."""

from pathlib import Path

import pytest
import torch
from runs import make, request_of

from framepack import FramePack
from framepack.models.nag import Nag
from framepack.pipeline.conditioning import PooledNag, pooled_nag_of
from framepack.pipeline.engine import SectionResult
from framepack.spec.windows import Said

Models = dict[str, FramePack]
BOTH = pytest.mark.parametrize("model", ["mini", "mini-f1"])
WORDS = {"prompt": "a red ball", "negative_prompt": "the camera pans left", "steps": 4}
STRONG = {"nag": 11, "nag_tau": 10, "nag_alpha": 1}


def latents(framepack: FramePack, picture: Path, **fields: object) -> torch.Tensor:
    """Of all sections."""
    request = request_of(picture, Path("unused.mp4"), model=framepack.model, **{**WORDS, **fields})
    return torch.cat([one.latents for one in framepack.sections(request) if isinstance(one, SectionResult)], dim=2)


@BOTH
@pytest.mark.parametrize(
    "neutral",
    [
        {"nag": 1, "nag_tau": 3, "nag_end": 0},
        {"nag": 5, "nag_alpha": 0},
        {"guidance_mode": "zero-star"},
        {"guidance_mode": "apg"},
    ],
)
def test_what_is_neutral_is_the_same_to_the_bit(framepacks: Models, picture: Path, model: str, neutral) -> None:
    assert torch.equal(latents(framepacks[model], picture, **neutral), latents(framepacks[model], picture))


@BOTH
def test_nag_leads_away_from_the_negative_prompt_in_steps_above_its_end(framepacks, picture: Path, model) -> None:
    framepack = framepacks[model]
    plain = latents(framepack, picture)
    moved = {end: (latents(framepack, picture, **STRONG, nag_end=end) - plain).abs().mean() for end in (1, 0.75, 0)}
    assert 0 < moved[1] != moved[0.75] != moved[0]
    same = latents(framepack, picture, **STRONG, nag_end=0, negative_prompt=WORDS["prompt"])
    assert (same - plain).abs().mean() < 1e-3 * moved[0]  # away from the prompt itself is nowhere


@pytest.mark.parametrize("mode", ["zero-star", "apg"])
def test_each_mode_guides_in_its_own_way(framepacks: Models, picture: Path, mode: str) -> None:
    framepack = framepacks["mini"]
    assert not torch.equal(latents(framepack, picture, cfg=3, guidance_mode=mode), latents(framepack, picture, cfg=3))


def test_zero_star_does_not_call_the_model_in_its_first_step(framepacks: Models, picture: Path, monkeypatch) -> None:
    stage = framepacks["mini"].stages["sample"]
    calls, work = [], stage.work
    monkeypatch.setattr(stage, "work", lambda *inputs, modes: calls.append(1) or work(*inputs, modes=modes))
    latents(framepacks["mini"], picture, cfg=3, guidance_mode="zero-star", steps=13, seconds=0.4)
    assert len(calls) == 2 * 12


@pytest.mark.parametrize("cache", ["teacache", "first-block"])
def test_nag_works_with_a_cache_and_beside_cfg(framepacks: Models, picture: Path, cache: str) -> None:
    framepack = framepacks["mini"]
    nag = {**STRONG, "nag_end": 0}
    exact = latents(framepack, picture, **nag, cfg=2)
    assert torch.equal(latents(framepack, picture, **nag, cfg=2, cache=cache, cache_threshold=0), exact)
    reused = latents(framepack, picture, **nag, cfg=2, cache=cache, cache_threshold=10)
    assert reused.isfinite().all()
    assert not torch.equal(reused, exact)


def test_nag_goes_on_to_the_same_bits(framepacks: Models, picture: Path, tmp_path: Path) -> None:
    request = request_of(picture, tmp_path / "v.mkv", **WORDS, **STRONG)
    whole = make(framepacks["mini"], request, tmp_path / "work")
    for file in (tmp_path / "work").glob("section-0001*"):
        file.unlink()
    again = make(framepacks["mini"], request, tmp_path / "work")
    assert all(torch.equal(one, two) for one, two in zip(again, whole, strict=True))


def test_nag_streams_block_by_block_to_the_same_bits(tiny_models_dir: Path, picture: Path, framepacks: Models) -> None:
    with FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu", ram_limit=1) as small:
        assert small.mapped
        made = latents(small, picture, **STRONG)
    assert torch.equal(made, latents(framepacks["mini"], picture, **STRONG))


def test_mini_is_led_in_its_pooled_text_as_well_and_published_models_in_the_attention_alone(picture: Path) -> None:
    def asked(model: str, **fields: object) -> PooledNag | None:
        return pooled_nag_of(request_of(picture, Path("v.mp4"), model=model, **{**WORDS, **STRONG, **fields}))

    for model in ("mini", "mini-f1"):
        assert asked(model) == PooledNag(nag=Nag(scale=11, tau=10, alpha=1), negative=Said(WORDS["negative_prompt"]))
        assert asked(model, nag=1) is asked(model, nag_alpha=0) is asked(model, negative_prompt="") is None
    assert asked("framepack") is asked("framepack-f1") is None


def test_pooled_text_is_led_away_in_steps_above_the_end_and_the_negative_one_is_kept() -> None:
    one, away = torch.tensor([[1.0, 2.0, -1.0]]), torch.tensor([[0.5, 2.5, -1.0]])
    led = PooledNag(nag=Nag(scale=5, end=0.75), negative=Said("b"))
    found = led.guided({Said("a"): one, Said("b"): away}, torch.tensor([1.0, 0.8, 0.5, 0.0]))
    guided = led.nag.guided(one, away)
    assert torch.equal(found[Said("a")], torch.stack([guided, guided, one]))
    assert torch.equal(found[Said("b")], away)
    assert not torch.equal(guided, one)
