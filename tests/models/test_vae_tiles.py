"""Tiles of time: the same sum as diffusers', and tiles that come again are not decoded again."""

import pytest
import torch
from tiny_checkpoints import BASE

from framepack.models.hunyuan.vae import VideoVAE, load_vae
from framepack.models.hunyuan.vae_tiles import TileMemo
from framepack.spec.events import VaeMode


@pytest.fixture(scope="module")
def vae(tiny_models_dir) -> VideoVAE:
    return load_vae(tiny_models_dir / BASE / "vae")


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The mode of each tile that is really decoded."""
    calls: list[str] = []
    plain = VideoVAE.decode_tile

    def noted(self: VideoVAE, z: torch.Tensor, mode: VaeMode) -> torch.Tensor:
        calls.append(mode)
        return plain(self, z, mode)

    monkeypatch.setattr(VideoVAE, "decode_tile", noted)
    return calls


def diffusers_decode(vae: VideoVAE, z: torch.Tensor, *, spatial: bool) -> torch.Tensor:
    """What diffusers' own tiling makes of scaled latents: (T, H, W, 3)."""
    vae.autoencoder.use_tiling = spatial
    vae.autoencoder.use_framewise_decoding = True
    return vae.autoencoder.decode(z / vae.scaling_factor).sample[0].permute(1, 2, 3, 0)


def latents(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 16, count, 4, 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7, 9, 10, 11, 18, 19])
@torch.no_grad()
def test_every_length_equals_diffusers_tiling_to_the_bit(vae, count):
    z = latents(count)
    assert torch.equal(vae.decode_float(z), diffusers_decode(vae, z, spatial=False))


@torch.no_grad()
def test_spatial_tiles_equal_diffusers_to_the_bit(vae):
    z = torch.randn(1, 16, 6, 34, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(vae.decode_float(z, mode="tiled"), diffusers_decode(vae, z, spatial=True))


@pytest.mark.parametrize(("direction", "hits"), [("backward", 3 + 2 + 2), ("forward", 2 + 2 + 2)])
def test_successive_clips_decode_shared_tiles_once_and_to_the_same_bits(vae, direction, hits, decoded):
    sections = [latents(9, seed) for seed in range(4)]
    memo, spared = TileMemo(), 0
    for number, section in enumerate(sections):
        before = sections[number - 1 : number] if number else []
        parts = [section, *before] if direction == "backward" else [*before, section]
        clip = torch.cat(parts, 2)
        memo.repeats = range(9) if direction == "backward" else range(clip.shape[2] - 9, clip.shape[2])
        remembered = vae.decode_float(clip, memo=memo)
        made = len(decoded)
        assert torch.equal(remembered, vae.decode_float(clip))
        assert made == len(decoded) - made - hits_of(number, direction)
        spared += len(decoded) - 2 * made
        decoded.clear()
    assert spared == hits


def hits_of(number: int, direction: str) -> int:
    """Two of six tiles; the inverted order's first clip, 9 latents alone, ends with a short tile that comes again."""
    return 0 if number == 0 else 3 if number == 1 and direction == "backward" else 2


def test_a_memo_keeps_only_what_comes_again_and_only_for_one_clip(vae, decoded):
    memo, clip = TileMemo(), latents(18)
    memo.repeats = range(9)
    vae.decode_float(clip, memo=memo)
    assert len(memo._tiles) == 2
    memo.repeats = range(0)
    vae.decode_float(latents(18, 1), memo=memo)
    assert not memo._tiles
    assert len(decoded) == 2 * 6


def test_tiles_decoded_another_way_are_not_taken(vae, decoded):
    memo, clip = TileMemo(repeats=range(18)), latents(18)
    vae.decode_float(clip, memo=memo)
    vae.decode_float(clip, memo=memo, mode="chunked")
    assert decoded == 6 * ["whole"] + 6 * ["chunked"]
    vae.decode_float(clip, memo=memo, mode="chunked")
    assert len(decoded) == 12


def test_a_clip_that_broke_off_leaves_the_memo_as_it_was(vae, monkeypatch):
    memo, clip = TileMemo(repeats=range(9)), latents(18)
    vae.decode_float(clip, memo=memo)
    plain, calls = VideoVAE.decode_tile, []

    def fails(self, z, mode):
        calls.append(1)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("out of memory")
        return plain(self, z, mode)

    following = torch.cat([latents(9, 5), clip[:, :, :9]], 2)
    monkeypatch.setattr(VideoVAE, "decode_tile", fails)
    with pytest.raises(torch.OutOfMemoryError):
        vae.decode_float(following, memo=memo)
    calls[:] = 3 * [1]
    again = vae.decode_float(following, memo=memo)
    assert len(calls) - 3 == 6 - 2
    assert torch.equal(again, vae.decode_float(following))
