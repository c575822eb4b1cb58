"""A LoRA trained on one clip learns it, is the same after an interruption, and loads back as the same change."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from framepack import FramePack
from framepack.media.video import VideoWriter
from framepack.models.lora import fuse_loras
from framepack.training.lora.adapter import inject, save_lora
from framepack.training.lora.cache import cache_clips
from framepack.training.lora.data import Item, clips_of, find_items
from framepack.training.lora.draws import Draw
from framepack.training.lora.examples import example, sections_of
from framepack.training.lora.run import STATE
from framepack.training.lora.trainer import LoraRecipe, LoraTrainer, identity_of, train_lora

RECIPE = LoraRecipe(rank=4, alpha=8.0, rate=1e-2, warm_up=1, steps=30, window=2, save_every=15)


def write_video(file: Path, frames: int, fps: float = 30) -> None:
    random = np.random.default_rng(0)
    wide = np.asarray(Image.fromarray(random.integers(0, 255, (6, 12, 3), np.uint8)).resize((160, 64)))
    with VideoWriter(file, fps=fps, size=(64, 64), format="mkv") as writer:
        writer.write(np.stack([wide[:, t : t + 64] for t in range(frames)]))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_video(folder / "slide.mkv", 20)
    (folder / "slide.txt").write_text("a slide\n", encoding="utf-8")
    return folder


@pytest.fixture
def framepack(tiny_models_dir: Path) -> FramePack:
    return FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")


def clips(framepack: FramePack, data: Path, folder: Path):
    return cache_clips(framepack, find_items(data), folder, base=64, window=2, sections=2)


def trainer(framepack: FramePack, data: Path, recipe: LoraRecipe = RECIPE) -> LoraTrainer:
    return LoraTrainer(framepack, clips(framepack, data, data / "cache"), recipe)


def mean_loss(trainer: LoraTrainer) -> float:
    draws = [trainer.draw(10_000 + i) for i in range(8)]
    with trainer.lent() as transformer, torch.no_grad():
        pairs = zip(draws, trainer.conditions(draws), strict=True)
        return float(np.mean([float(trainer.loss(transformer, *pair)) for pair in pairs]))


def test_the_loss_falls_and_the_file_gives_the_trained_model(framepack, tiny_models_dir, data, tmp_path):
    plain = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    trained = trainer(framepack, data)
    before = mean_loss(trained)
    lines = []
    saves = list(train_lora(trained, tmp_path / "out", on_progress=lines.append))
    after = mean_loss(trained)
    assert saves == [15, 30]
    assert np.isfinite([line.loss for line in lines]).all()
    assert after < 0.95 * before
    assert (tmp_path / "out" / "loss.csv").read_text().count("\n") == 1 + len(lines)
    with plain.memory.lease("transformer") as transformer:
        fuse_loras(transformer, [(tmp_path / "out" / "lora.safetensors", 1.0)])
    reader = copy.copy(trained)
    reader.framepack = plain
    assert mean_loss(reader) == pytest.approx(after, rel=1e-4)


def test_training_in_pieces_is_training_in_one_go(tiny_models_dir, data, tmp_path):
    def run(steps: int, folder: Path, saves: list[int], pause_every: int = 0) -> dict[str, torch.Tensor]:
        framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
        recipe = replace(RECIPE, steps=steps, save_every=4)
        assert list(train_lora(trainer(framepack, data, recipe), folder, pause_every=pause_every)) == saves
        return load_file(folder / "lora.safetensors")

    whole = run(9, tmp_path / "whole", [3, 4, 6, 8, 9], pause_every=3)
    run(5, tmp_path / "pieces", [4, 5])
    pieces = run(9, tmp_path / "pieces", [8, 9])
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)


@pytest.mark.parametrize("change", [{"rank": 8}, {"resolution": 96}, {"sections": 1}])
def test_another_trainings_folder_is_refused(change, framepack, tiny_models_dir, data, tmp_path):
    list(train_lora(trainer(framepack, data, replace(RECIPE, steps=1)), tmp_path / "out"))
    other = trainer(FramePack.load("mini", models_dir=tiny_models_dir, device="cpu"), data, replace(RECIPE, **change))
    with pytest.raises(ValueError, match=rf"another training \(other: {next(iter(change))}\)"):
        list(train_lora(other, tmp_path / "out"))


def test_a_folder_goes_on_with_its_own_clips_and_weights_only(framepack, tiny_models_dir, data, tmp_path):
    list(train_lora(trainer(framepack, data, replace(RECIPE, steps=1)), tmp_path / "out"))
    moved = tmp_path / "elsewhere"
    shutil.copytree(data, moved, ignore=shutil.ignore_patterns("cache"))
    model = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    shown = clips(model, moved, tmp_path / "cache")
    slower = replace(RECIPE, rate=1e-3)
    assert (
        LoraTrainer(model, shown, slower).resume(tmp_path / "out") == 1
    )  # another place and rate are no other training
    others = [replace(clip, caption="another slide") for clip in shown]
    with pytest.raises(
        ValueError, match=r"\(other: clips\): choose another --output; copied there, the folder .*cache"
    ):
        identity_of(model, RECIPE, ((clip.source, clip.caption) for clip in others)).check(tmp_path / "out")
    further = tmp_path / "further"
    shutil.copytree(tiny_models_dir, further)
    for file in model.loader.places["transformer"].glob("*.safetensors"):
        tensors = {name: tensor + 1 for name, tensor in load_file(file).items()}
        save_file(tensors, further / file.relative_to(tiny_models_dir))
    trained = FramePack.load("mini", models_dir=further, dtype="float32", device="cpu")
    with pytest.raises(ValueError, match=r"\(other: weights\)"):
        identity_of(trained, RECIPE, ((clip.source, clip.caption) for clip in shown)).check(tmp_path / "out")


def test_a_caption_longer_than_the_model_reads_is_named(framepack, data, tmp_path):
    (data / "slide.txt").write_text("slide " * 400, encoding="utf-8")
    heard = []
    cache_clips(framepack, find_items(data), tmp_path, base=64, window=2, sections=2, on_notice=heard.append)
    assert len(heard) == 1
    assert heard[0].startswith("slide.mkv: The prompt is ")


def test_untrained_adapters_change_nothing_and_nothing_else_is_trained(framepack):
    with framepack.memory.lease("transformer") as transformer:
        adapters = inject(transformer, 2, 2.0, seed=0)
        trainable = {id(p) for p in transformer.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in adapters.values()}
    assert all(not value.any() for name, value in adapters.items() if ".lora_B." in name)
    assert all(".norm" not in name and "context_embedder" not in name for name in adapters)
    assert len(adapters) == 2 * (1 * 12 + 2 * 5)


def test_the_scale_is_written_into_the_file(framepack, tmp_path):
    with framepack.memory.lease("transformer") as transformer:
        adapters = inject(transformer, 2, 6.0, seed=0)
    ones = {name: torch.ones_like(value) for name, value in adapters.items()}
    save_lora(tmp_path / "lora.safetensors", ones, 2, 6.0, {})
    stored = load_file(tmp_path / "lora.safetensors")
    assert {float(value.mean()) for name, value in stored.items() if ".lora_B." in name} == {3.0}
    assert {float(value.mean()) for name, value in stored.items() if ".lora_A." in name} == {1.0}


def test_what_was_cached_is_not_encoded_again_until_its_caption_changes(framepack, data, tmp_path):
    first = clips(framepack, data, tmp_path / "cache")
    times = [clip.file.stat().st_mtime_ns for clip in first]
    again = clips(framepack, data, tmp_path / "cache")
    assert [clip.file.stat().st_mtime_ns for clip in again] == times
    (emptied,) = (tmp_path / "cache").glob("*.done")
    emptied.write_text("")  # as a full disk leaves it
    assert [clip.file for clip in clips(framepack, data, tmp_path / "cache")] == [clip.file for clip in first]
    (data / "slide.txt").write_text("another slide", encoding="utf-8-sig")
    changed = clips(framepack, data, tmp_path / "cache")
    assert changed[0].file != first[0].file
    assert changed[0].caption == "another slide"
    assert first[0].load()["latents"].shape == (1, 16, 5, 8, 8)
    assert first[0].size == (64, 64)


def test_a_caption_in_another_encoding_is_named(data):
    (data / "slide.txt").write_bytes("ein h\xfcbsches Bild".encode("latin-1"))
    with pytest.raises(ValueError, match=r"slide\.txt is not text in UTF-8"):
        find_items(data)


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_an_example_sees_what_inference_would_show_it(model):
    latents = torch.arange(1.0, 8.0).view(1, 1, 7, 1, 1).expand(1, 2, 7, 4, 4)
    sections = sections_of(model, 7, window=3)
    first, last = (example(sections, index, latents) for index in (0, 1))

    def values(span) -> list[float]:
        return span.latents[0, 0, :, 0, 0].tolist()

    backward = model == "mini"
    assert values(last.context[0]) == [1.0]
    assert last.clean[0, 0, :, 0, 0].tolist() == ([2.0, 3.0, 4.0] if backward else [5.0, 6.0, 7.0])
    seen = [value for span in last.context[1:] for value in values(span) if value]
    assert sorted(seen) == ([5.0, 6.0, 7.0] if backward else [1.0, 2.0, 3.0, 4.0])
    unseen = [value for span in first.context[1:] for value in values(span) if value]
    assert unseen == ([] if backward else [1.0])


def test_a_picture_is_drawn_from_its_caption_alone(framepack, data):
    (data / "slide.mkv").unlink()
    Image.new("RGB", (100, 100), "red").save(data / "red.png")
    (data / "red.txt").write_text("red")
    trained = trainer(framepack, data, replace(RECIPE, steps=2))
    draw = trained.draw(0)
    assert draw.example.clean.shape == (1, 16, 1, 8, 8)
    assert all(not span.latents.any() for span in draw.example.context)
    assert not draw.example.sees_image
    assert np.isfinite(trained.chapter(range(2)).loss)


def write_data(folder: Path, *frames: tuple[int, str]) -> None:
    """Clips of so many frames with their captions, the first one there already."""
    for number, (count, caption) in enumerate(frames):
        write_video(folder / f"clip{number}.mkv", count)
        (folder / f"clip{number}.txt").write_text(caption)


def test_a_batch_is_of_clips_of_one_length_and_its_loss_is_the_mean_of_theirs(framepack, data):
    write_data(data, (20, "another slide to the side"), (20, "slide"), (9, "a shorter one"))
    recipe = replace(RECIPE, batch=3, caption_dropout=0.0)
    trained = trainer(framepack, data, recipe)
    sizes = {len(trained.draw(number).sigma) for number in range(12)}
    assert sizes == {1, 3}
    number = next(number for number in range(12) if len(trained.draw(number).sigma) == 3)
    draw = trained.draw(number)
    shape = draw.example.clean.shape
    assert shape[0] == 3
    assert len({caption["text"].shape[1] for caption in draw.captions}) > 1

    def loss(part: Draw) -> float:
        with trained.lent() as transformer, torch.no_grad():
            return float(trained.loss(transformer, part, trained.conditions([part])[0]))

    def single(i: int) -> Draw:
        context = [replace(span, latents=span.latents[i : i + 1]) for span in draw.example.context]
        return Draw(
            example=replace(draw.example, clean=draw.example.clean[i : i + 1], context=context),
            captions=draw.captions[i : i + 1],
            images=draw.images[i : i + 1],
            sigma=draw.sigma[i : i + 1],
            noise=draw.noise[i : i + 1],
        )

    assert loss(draw) == pytest.approx(np.mean([loss(single(i)) for i in range(3)]), rel=1e-4)
    assert np.isfinite(trained.chapter(range(2)).loss)


def test_a_share_of_captions_is_left_out(framepack, data):
    trained = trainer(framepack, data, replace(RECIPE, caption_dropout=0.4))
    (clip,) = trained.clips
    words = clip.load()["text"]
    kept = [torch.equal(trained.draw(number).captions[0]["text"], words) for number in range(60)]
    assert 20 < sum(kept) < 52
    with framepack.memory.lease("text") as encoder, torch.no_grad():
        empty = encoder.encode("").text
    dropped = trained.draw(kept.index(False)).captions[0]["text"]
    torch.testing.assert_close(dropped, empty.float().cpu())


def test_blocks_are_computed_again_in_the_backward_pass(framepack, data):
    """Gradient checkpointing: a step runs each block twice, and its activations are not kept."""
    trained = trainer(framepack, data)
    calls = []
    with trained.lent() as transformer:
        for block in transformer.blocks:
            block.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    trained.chapter(range(1))
    assert len(calls) == 2 * len(transformer.blocks)


@pytest.mark.parametrize("base", ["int8", "int8-offloaded"])
def test_an_8_bit_base_trains_to_nearly_the_same_lora(base, tiny_models_dir, data, tmp_path):
    def losses(base: str) -> list[float]:
        framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
        lines = []
        recipe = replace(RECIPE, steps=24, base=base)
        list(train_lora(trainer(framepack, data, recipe), tmp_path / base, on_progress=lines.append))
        return [line.loss for line in lines]

    assert losses(base) == pytest.approx(losses("whole"), rel=0.03)
    assert (tmp_path / base / "loss.png").is_file()


def test_a_long_video_becomes_clips_that_share_a_frame_and_a_short_one_stays_whole(tmp_path):
    def lengths(frames: int, fps: float = 30) -> list[int]:
        write_video(tmp_path / "v.mkv", frames, fps)
        return [len(clip) for clip in clips_of(Item(file=tmp_path / "v.mkv", caption=""), 64, 2, 2)]

    assert lengths(17) == [17]
    assert lengths(40) == [17, 17]
    assert lengths(42) == [17, 17, 9]
    assert lengths(7) == [5]
    assert lengths(30, fps=15) == [17, 17, 17, 9]
    with pytest.raises(ValueError, match=r"has \d frames at 30 fps; a clip needs 5"):
        lengths(2)


def test_files_without_captions_and_empty_folders_are_named(data, tmp_path):
    Image.new("RGB", (32, 32)).save(data / "a.png")
    with pytest.raises(ValueError, match=r"1 of 2 files in .* write what a.png shows into a.txt"):
        find_items(data)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no videos or pictures"):
        find_items(tmp_path / "empty")
    with pytest.raises(ValueError, match="is not a folder"):
        find_items(tmp_path / "nowhere")


@pytest.mark.parametrize("change", [{"rank": 0}, {"rate": 0.0}, {"steps": 0}, {"window": 40}, {"batch": 0}])
def test_a_recipe_says_its_bounds(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be"):
        replace(RECIPE, **change)


def flip(file):
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def test_a_damaged_state_is_not_trained_on(framepack, data, tmp_path):
    trained = trainer(framepack, data, replace(RECIPE, steps=1))
    trained.save(tmp_path)
    assert trained.resume(tmp_path / "elsewhere") == 0
    flip(tmp_path / STATE)
    with pytest.raises(ValueError, match=r"state.safetensors is damaged \(its checksum is another\); delete that file"):
        trained.resume(tmp_path)


@pytest.mark.parametrize("suffix", [".safetensors", ".png", ".done"])
def test_a_damaged_clip_is_encoded_again_with_a_notice(suffix, framepack, data, tmp_path):
    made, heard = clips(framepack, data, tmp_path), []
    before = {name: tensor.clone() for name, tensor in made[0].load().items()}  # the file, mapped, is written over
    file = made[0].file.with_suffix(suffix)
    flip(file if suffix != ".done" else file.with_name(f"{file.stem.partition('-')[0]}.done"))
    again = cache_clips(framepack, find_items(data), tmp_path, base=64, window=2, sections=2, on_notice=heard.append)
    assert len(heard) == 1
    assert "is encoded again" in heard[0]
    assert [clip.file for clip in again] == [clip.file for clip in made]
    assert all(torch.equal(tensor, before[name]) for name, tensor in again[0].load().items())
