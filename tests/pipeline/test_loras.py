"""A request's LoRAs reach the transformer, leave it again, and a wrong one is refused before anything is encoded."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from framepack import FramePack, GenerationRequest
from framepack.memory import MemoryManager
from framepack.models.lora import LoraError
from framepack.pipeline import in_files
from framepack.spec.events import Notice, StepDone
from framepack.spec.parts import Lora

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(tmp_path / "start.png")
    return tmp_path / "start.png"


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    g = torch.Generator().manual_seed(0)
    name = "transformer.single_transformer_blocks.0.attn.to_v"
    tensors = {f"{name}.lora_A.weight": torch.randn(2, 64, generator=g)}
    tensors |= {f"{name}.lora_B.weight": torch.randn(64, 2, generator=g)}
    save_file(tensors, tmp_path / "lora.safetensors")
    return tmp_path / "lora.safetensors"


def latents(framepack: FramePack, picture: Path, work: Path, *loras: Lora) -> torch.Tensor:
    request = GenerationRequest(
        image=picture, seconds=0.1, window=2, steps=2, width=64, height=64, loras=loras, output={"path": work / "v.mkv"}
    )
    list(framepack.generate(request, work=work))
    return load_file(work / "section-0000.safetensors")["latents"]


def test_a_lora_changes_the_video_and_leaves_when_it_is_no_longer_asked_for(tiny_models_dir, picture, lora, tmp_path):
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    plain = latents(framepack, picture, tmp_path / "a")
    changed = latents(framepack, picture, tmp_path / "b", Lora(file=lora, strength=2))
    again = latents(framepack, picture, tmp_path / "c")
    off = latents(framepack, picture, tmp_path / "d", Lora(file=lora, strength=0))
    assert not torch.allclose(plain, changed, atol=1e-3)
    assert torch.equal(plain, again)
    assert torch.equal(plain, off)


def test_a_lora_for_another_model_is_refused_and_the_next_request_works(tiny_models_dir, picture, lora, tmp_path):
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    save_file({"lora_unet_nowhere.lora_up.weight": torch.ones(2, 2)}, tmp_path / "wrong.safetensors")
    with pytest.raises(LoraError, match="lora_unet_nowhere"):
        latents(framepack, picture, tmp_path / "a", Lora(file=tmp_path / "wrong.safetensors"))
    latents(framepack, picture, tmp_path / "b", Lora(file=lora))


def test_what_a_file_holds_in_vain_is_reported_in_each_job_before_the_work(tiny_models_dir, picture, tmp_path):
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    lora = Lora(file=DATA / "loras" / "lora_with_text_encoder.safetensors")
    for count in range(2):
        request = GenerationRequest(
            image=picture,
            seconds=0.1,
            window=2,
            steps=2,
            width=64,
            height=64,
            loras=(lora,),
            output={"path": tmp_path / f"{count}.mkv"},
        )
        events = [*framepack.generate(request)]
        told = [event.message for event in events if isinstance(event, Notice)]
        assert sum("left out 3 tensors (lora_te1_" in message for message in told) == 1
        first = next(place for place, event in enumerate(events) if isinstance(event, StepDone))
        assert any(isinstance(event, Notice) for event in events[:first])
    framepack.use_loras(())
    assert framepack.lora_notices == ()


def test_a_file_trained_anew_is_read_anew(tiny_models_dir, picture, lora, tmp_path):
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    first = latents(framepack, picture, tmp_path / "a", Lora(file=lora))
    tensors = {name: 3 * tensor for name, tensor in load_file(lora).items()}
    save_file(tensors, lora)
    assert not torch.allclose(first, latents(framepack, picture, tmp_path / "b", Lora(file=lora)), atol=1e-3)


def test_more_ram_than_allowed_is_refused(tiny_models_dir, picture, lora, tmp_path):
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    framepack = FramePack(framepack.loader, MemoryManager("cpu", ram_limit=100_000))
    with pytest.raises(ValueError, match="raise it, or leave the LoRAs out"):
        latents(framepack, picture, tmp_path / "a", Lora(file=lora))


def test_strength_has_bounds():
    with pytest.raises(ValueError, match=r"strength must be -4\.\.4, got 5"):
        Lora(file=Path("a"), strength=5)


def test_a_lora_for_which_there_is_no_ram_is_refused_before_anything_is_read(
    tiny_models_dir, picture, lora, tmp_path, monkeypatch
):
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    monkeypatch.setattr(in_files, "available_ram", lambda: 0)
    monkeypatch.setattr(in_files, "resident_ram", lambda: 1000)
    with pytest.raises(ValueError, match=r"LoRAs are added to weights in RAM, .* GB are free: end other programs"):
        latents(framepack, picture, tmp_path / "a", Lora(file=lora))
    latents(framepack, picture, tmp_path / "b", Lora(file=lora, strength=0))


def test_a_lora_brings_the_transformer_into_ram_and_the_text_encoders_stay_where_they_are(
    tiny_models_dir: Path, lora: Path, monkeypatch: pytest.MonkeyPatch
):
    sizes = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu").loader.sizes()
    monkeypatch.setattr(in_files, "spare_ram", lambda: sum(sizes.values()) - 1)
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    assert framepack.mapped == {"text"}
    monkeypatch.setattr(in_files, "spare_ram", lambda: sizes["transformer"])
    framepack.reload_transformer()
    assert framepack.mapped == {"text", "transformer"}
    framepack.use_loras((Lora(file=lora),))
    assert framepack.mapped == {"text"}
    for part in ("image", "vae"):
        with framepack.memory.lease(part):
            pass
    framepack.use_loras(())
    assert framepack.mapped == {"text"}
    monkeypatch.undo()
    framepack.unload()
    assert framepack.mapped == set()
