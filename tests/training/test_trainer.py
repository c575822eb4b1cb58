"""A run cut into pieces is the run in one go, to the bit; the exported model is the trained one."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_recipe import TINY

import framepack
from framepack.media.read import probe
from framepack.models.attention import rotary_heads, sdpa
from framepack.models.hunyuan.blocks import Execution
from framepack.models.hunyuan.encoders import load_image_encoder, load_text_encoder
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.models.packing import rotary, tokens_first
from framepack.training.data.pool import ImagePool, PoolRecipe
from framepack.training.data.sample_recipe import SampleMetrics, SampleRecipe
from framepack.training.optimizer import Optimizer, OptimizerRecipe, orthogonalize
from framepack.training.run_log import read_log
from framepack.training.state import PART_BYTES, load_state, save_state
from framepack.training.transformer.export import write_tokenizers
from framepack.training.transformer.recipe import Recipe
from framepack.training.transformer.towers import Towers
from framepack.training.transformer.trainer import Trainer, initialise, train


def test_at_the_start_heads_listen_to_text_by_row_and_by_column():
    config = replace(TINY.model, num_attention_heads=4, attention_head_dim=48, rope_axes_dim=(12, 18, 18))
    model = HunyuanVideoTransformer3DModelPacked(config)
    initialise(model)
    attention, width = model.transformer_blocks[0].attn, 4 * 48
    noise = torch.Generator().manual_seed(0)
    video, text = torch.randn(64, 8 * 8, width, generator=noise), torch.randn(64, 5, width, generator=noise)
    turn = tokens_first(rotary(config, [7], 8, 8, torch.device("cpu")))
    queries = rotary_heads(video, attention.to_q, attention.norm_q, turn[None], 4, None)
    keys = rotary_heads(text, attention.add_k_proj, attention.norm_added_k, torch.ones(1, 1, 1, 24) + 0j, 4, None)
    logits = (torch.einsum("nvhe,nthe->hv", queries, keys) / (64 * 5 * 48**0.5)).unflatten(1, (8, 8))
    for head, along, across in ((2, logits[2].mean(1), logits[2].mean(0)), (3, logits[3].mean(0), logits[3].mean(1))):
        assert (along.diff() > 0).all(), head
        assert along[-1] - along[0] > 5 * (across.max() - across.min()), head
    place = torch.arange(8.0)
    wave = place.cos() - place.sin()
    for head, along in ((0, logits[0].mean(1)), (1, logits[1].mean(0))):
        assert torch.corrcoef(torch.stack([along, wave]))[0, 1] > 0.95, head


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert train(TINY, folder / "whole") == 40
    shutil.copytree(folder / "whole" / "vae", folder / "pieces" / "vae")
    assert train(TINY, folder / "pieces", seconds=0.0) == 20
    assert train(TINY, folder / "pieces") == 40
    return folder


def test_a_run_in_pieces_is_the_run_in_one_go_to_the_bit(runs):
    for name in ("part-00.safetensors", "state.json"):
        whole, pieces = (runs / run / "state" / name for run in ("whole", "pieces"))
        assert whole.read_bytes() == pieces.read_bytes()
    logs = [read_log(runs / run / "log.csv") for run in ("whole", "pieces")]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]
    assert (runs / "whole" / "curve.png").is_file()


def test_samples_are_made_on_the_way_and_change_nothing(runs):
    wanted = SampleRecipe(minutes=1e-9, motions=("pan left", "sprite falls"), size=(32, 32), steps=1)
    folder = runs / "sampled"
    shutil.copytree(runs / "whole" / "vae", folder / "vae")
    lines = []
    train(replace(TINY, samples=wanted), folder, on_progress=lines.append)
    sampled = [line for line in lines if isinstance(line, SampleMetrics)]
    assert [row.step for row in sampled] == [20, 40]
    assert (folder / "state/part-00.safetensors").read_bytes() == (
        runs / "whole/state/part-00.safetensors"
    ).read_bytes()
    rows = read_log(folder / "samples.csv")
    assert [row["step"] for row in rows] == [20, 40]
    assert rows[1]["psnr"] == pytest.approx(sampled[1].psnr, rel=1e-4)
    with Image.open(folder / "samples/step-000040.png") as sheet, Image.open(folder / "curve.png") as curve:
        assert sheet.height > 2 * 32
        assert curve.height > 800
    assert probe(folder / "samples/step-000040.mp4").frames == 37
    with pytest.raises(ValueError, match="motions to sample must be of"):
        replace(wanted, motions=("dance",))


def test_compiled_blocks_train_alike_and_are_traced_once_for_all_shapes(tmp_path, block_encoder):
    torch.compiler.reset()
    losses = []
    base = write_tokenizers(tmp_path)
    for compiler in (None, "eager"):
        pool = ImagePool(TINY.pool, TINY.seed, 1)
        trainer = Trainer(TINY, pool, block_encoder, base, torch.device("cpu"), compiler=compiler)
        transformer = trainer.model.transformer
        transformer.forward = partial(transformer.forward, execution=Execution(attention=sdpa))
        with torch._dynamo.config.patch(error_on_recompile=True):
            losses.append([trainer.step(number)[0] for number in range(6)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_the_exported_encoders_compute_what_training_computed(runs):
    root = runs / "whole" / "model"
    base, vision = root / "hunyuanvideo-community/HunyuanVideo", root / "lllyasviel/flux_redux_bfl"
    text, image = load_text_encoder(base), load_image_encoder(vision)
    towers = Towers(TINY.towers, base)
    towers.llama.load_state_dict(text.llama.state_dict())
    towers.clip.load_state_dict(text.clip.state_dict())
    towers.siglip.load_state_dict(image.siglip.state_dict())
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    towers = towers.to(text.llama.embed_tokens.weight.dtype)
    with torch.no_grad():
        mine = towers(("my dog, pan left; Zanzibar",), pixels)
    theirs = text.encode("my dog, pan left; Zanzibar")
    torch.testing.assert_close(mine.text.float(), theirs.text, atol=0.02, rtol=0.02)
    torch.testing.assert_close(mine.pooled.float(), theirs.pooled, atol=0.02, rtol=0.02)
    torch.testing.assert_close(mine.image.float(), image.encode(picture), atol=0.02, rtol=0.02)


def test_a_checkpoint_is_cut_into_parts_and_refuses_another_model(tmp_path):
    def optimizer(width):
        module = torch.nn.Linear(width, width)
        return Optimizer(module, {"weight"}, OptimizerRecipe())

    saved = optimizer(2100)
    saved.step_count = 5
    save_state(tmp_path / "state", saved, 7, 70)
    files = sorted((tmp_path / "state").glob("part-*"))
    assert len(files) > 1
    assert max(file.stat().st_size for file in files[1:]) < PART_BYTES + 2100 * 2100 * 4
    fresh = optimizer(2100)
    assert load_state(tmp_path / "state", fresh) == (7, 70)
    assert fresh.step_count == 5
    assert torch.equal(fresh.master["weight"], saved.master["weight"])
    with pytest.raises(ValueError, match="another model"):
        load_state(
            tmp_path / "state",
            Optimizer(torch.nn.Conv1d(1, 1, 1), set(), OptimizerRecipe()).__class__(
                torch.nn.Sequential(torch.nn.Linear(2, 2)), set(), OptimizerRecipe()
            ),
        )


def test_a_damaged_checkpoint_is_told_in_a_sentence(tmp_path):
    optimizer = Optimizer(torch.nn.Linear(2, 2), {"weight"}, OptimizerRecipe())
    save_state(tmp_path / "state", optimizer, 7, 70)
    (part,) = (tmp_path / "state").glob("part-*")
    part.write_bytes(part.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"part-00.safetensors is damaged .* delete that folder to begin anew"):
        load_state(tmp_path / "state", optimizer)


def test_a_checkpoint_goes_on_with_more_words_and_everything_else_exact(tmp_path):
    def optimizer(words: int) -> Optimizer:
        module = torch.nn.Module()
        module.embed_tokens = torch.nn.Embedding(words, 8)
        module.linear = torch.nn.Linear(8, 8)
        made = Optimizer(module, {"linear.weight"}, OptimizerRecipe())
        module.linear(module.embed_tokens.weight).square().sum().backward()
        made.step(1.0)
        return made

    saved, larger = optimizer(5), optimizer(7)
    fresh = larger.master["embed_tokens.weight"][5:].clone()
    save_state(tmp_path / "state", saved, 3, 30)
    load_state(tmp_path / "state", larger)
    for name, tensor in saved.state().items():
        assert torch.equal(larger.state()[name][: len(tensor)], tensor)
    assert torch.equal(larger.master["embed_tokens.weight"][5:], fresh)
    assert torch.equal(larger.parameters["embed_tokens.weight"], larger.master["embed_tokens.weight"])
    with pytest.raises(ValueError, match=r"another model.*embed_tokens"):
        load_state(tmp_path / "state", optimizer(4))


def test_muons_update_has_singular_values_near_one():
    random = torch.Generator().manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(2, 24, 8, generator=random)).float())
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.4


def test_a_renewed_pool_is_the_same_after_a_resume():
    recipe = PoolRecipe(images=8, size=32, renew_steps=5)
    with ImagePool(recipe, 3, 1) as walked, ImagePool(recipe, 3, 1) as resumed:
        first = walked.at(0).copy()
        for step in range(13):
            walked.at(step)
        assert np.array_equal(walked.at(12), resumed.at(12))
        assert (walked.at(12) != first).any(axis=(1, 2, 3)).sum() == 2


@pytest.mark.parametrize("name", ["mini", "mini_gpu", "tiny"])
def test_the_shipped_recipes_read_and_name_what_is_wrong(tmp_path, name):
    path = Path(framepack.__file__).parent / "training" / "recipes" / f"{name}.toml"
    recipe = Recipe.read(path)
    assert recipe.phase(0) is recipe.phases[0]
    assert recipe.phase(recipe.schedule.steps) is recipe.phases[-1]
    assert recipe.schedule.rate(recipe.schedule.steps) == 0
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(path.read_text(encoding="utf-8").replace("warm_up", "warmup"), encoding="utf-8")
    with pytest.raises(ValueError, match="warmup"):
        Recipe.read(wrong)
    text = path.read_text(encoding="utf-8")
    for entry, said in (("seed = ", "lacks seed"), ("steps = ", "lacks steps"), ("until = ", "lacks until")):
        wrong.write_text("\n".join(line for line in text.splitlines() if not line.startswith(entry)), encoding="utf-8")
        with pytest.raises(ValueError, match=said):
            Recipe.read(wrong)
    with pytest.raises(ValueError, match="multiples of 16"):
        replace(recipe.phases[0], sizes=((100, 64),))


def test_the_vaes_clips_may_be_others_than_the_transformers(tmp_path):
    tiny = (Path(framepack.__file__).parent / "training" / "recipes" / "tiny.toml").read_text(encoding="utf-8")
    path = tmp_path / "pans.toml"
    path.write_text(tiny.replace("[samples]", '[vae.clips.motions]\n"pan left" = 1.0\n[samples]'), encoding="utf-8")
    recipe = Recipe.read(path)
    assert recipe.vae.clips.motions == {"pan left": 1.0}
    assert len(recipe.phases[0].clips.motions) > 1


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("sizes = [[64, 64]]", "sizes = [64, 64]", r"\[phases\] sizes must be pairs such as .* got 64"),
        ("[samples]", "[sample]", r"unknown tables \['sample'\]"),
        ("steps = 200", 'steps = "200"', r"\[schedule\] steps must be a whole number, got '200'"),
        ("warm_up = 20", "warm_up = 0", r"\[schedule\] needs steps and warm_up of 1 or more"),
        ("average = 0.98", "average = true", r"\[optimizer\] average must be a number, got True"),
        ("clips_a_batch = 1", "clips_a_batch = 1\ndecoder_rate = 0", r"\[vae\] needs .* decoder_rate above 0"),
        ("clips_a_batch = 1", "clips_a_batch = 1\nfurther = 1", r"\[vae\] further must be true or false, got 1"),
        ("sizes = [[64, 64]]", "sizes = []", r"\[phases\] needs sizes such as"),
        ("[[phases]]", "[phases]", r"write \[\[phases\]\], once for each"),
        (
            "[samples]",
            '[clips.motions]\n"pan lft" = 1.0\n[samples]',
            r"\[clips.motions\] has unknown entries \['pan lft'\]",
        ),
        ("[samples]", "[clips.paces]\nslow = -1\n[samples]", r"\[clips.paces\] needs shares of 0 or more"),
        (
            "[samples]",
            '[clips.sprite_motions]\n"sprite up" = 0\n[samples]',
            r"sprite_motions\] needs .* one of them above 0",
        ),
        ("[samples]", "[vae.clips]\ncombine = 0\n[samples]", r"\[vae.clips\] has unknown entries \['combine'\]"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_told_before_anything_is_drawn(tmp_path, line, instead, said):
    tiny = (Path(framepack.__file__).parent / "training" / "recipes" / "tiny.toml").read_text(encoding="utf-8")
    assert line in tiny
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(tiny.replace(line, instead), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        Recipe.read(wrong)
