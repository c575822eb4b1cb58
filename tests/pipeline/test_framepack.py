"""The story end to end on tiny random checkpoints: repeatable, resumable, cancellable, constant in memory."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from runs import latents, make, request_of

from framepack import EndFrame, FramePack, Keyframe
from framepack.media.read import probe
from framepack.memory import MemoryExhaustedError, MemoryManager
from framepack.pipeline import calibrate
from framepack.pipeline.device import choose_device
from framepack.sampling import SAMPLERS
from framepack.spec.events import Finished, Notice, SectionDone, StepDone
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, choose_precision
from framepack.weights.meta import MetaModels
from framepack.weights.sources import ModelSource


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_a_seed_gives_the_same_latents_to_the_bit_and_another_seed_others(
    model: str, framepacks: dict, picture: Path, tmp_path: Path
):
    request = request_of(picture, tmp_path / "v.mp4", model=model)
    first = make(framepacks[model], request, tmp_path / "a")
    again = make(framepacks[model], request, tmp_path / "b")
    other = make(framepacks[model], request.model_copy(update={"seed": 1}), tmp_path / "c")
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_a_model_that_let_go_of_its_weights_makes_the_same_video_again(
    tiny_models_dir: Path, picture: Path, tmp_path: Path
):
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, device="cpu")
    request = request_of(picture, tmp_path / "v.mp4")
    first = make(framepack, request, tmp_path / "a")
    framepack.unload()
    assert framepack.memory.report().held == 0
    again = make(framepack, request, tmp_path / "b")
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))


def test_paths_may_be_text(tiny_models_dir: Path, picture: Path, tmp_path: Path):
    framepack = FramePack.load("mini", models_dir=str(tiny_models_dir), device=None)
    request = request_of(picture, None, seconds=0.4)
    *_, last = framepack.generate(request, outputs=str(tmp_path / "videos"), work=str(tmp_path / "work"))
    assert isinstance(last, Finished)
    assert last.file.parent == tmp_path / "videos"
    assert len(latents(tmp_path / "work")) == 1


def test_the_device_is_the_best_there_is_unless_one_is_named(tiny_models_dir: Path):
    for wanted in ({}, {"device": "auto"}, {"device": None}):
        assert FramePack.load("mini", models_dir=tiny_models_dir, **wanted).memory.device == choose_device("auto")
    named = FramePack.load("mini", models_dir=tiny_models_dir, device=torch.device("cpu"))
    assert named.memory.device == torch.device("cpu")
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda, cuda:1 or mps, got 'toaster'"):
        FramePack.load("mini", models_dir=tiny_models_dir, device="toaster")


def test_the_file_of_an_earlier_run_is_reported(framepacks: dict, picture: Path, tmp_path: Path):
    (tmp_path / "v.part.mp4").write_text("eleven sections")
    run = framepacks["mini"].generate(request_of(picture, tmp_path / "v.mp4", seconds=0.4))
    told = [event.message for event in run if isinstance(event, Notice)]
    assert told == [f"the file of an earlier run with this name is kept as {tmp_path / 'v.part-1.mp4'}"]
    assert (tmp_path / "v.part-1.mp4").read_text() == "eleven sections"


def test_what_the_videos_shape_cuts_off_is_reported_before_the_work(framepacks: dict, tmp_path: Path):
    Image.new("RGB", (256, 64)).save(tmp_path / "wide.png")
    run = framepacks["mini"].generate(request_of(tmp_path / "wide.png", tmp_path / "v.mp4", width=64, height=64))
    told = next(event for event in run if isinstance(event, Notice))
    assert told.message.startswith("75% of the picture 'start' is cut off")


def test_closing_the_generator_keeps_what_is_finished_as_a_video(framepacks: dict, picture: Path, tmp_path: Path):
    run = framepacks["mini"].generate(request_of(picture, tmp_path / "v.mp4"))
    done = next(event for event in run if isinstance(event, SectionDone))
    run.close()
    assert done.file is not None
    assert probe(done.file).frames == done.frames == 9
    assert not (tmp_path / "v.mp4").exists()


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_a_guide_of_strength_zero_changes_no_bit(model: str, framepacks: dict, picture: Path, tmp_path: Path):
    plain = request_of(picture, tmp_path / "v.mp4", model=model)
    muted = plain.model_copy(
        update={
            "frames": (Keyframe(image=picture, second=0.5, strength=0),),
            "end_frame": EndFrame(image=picture, strength=0),
        }
    )
    a, b = make(framepacks[model], plain, tmp_path / "a"), make(framepacks[model], muted, tmp_path / "b")
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
@pytest.mark.parametrize(
    "keyframes",
    [
        {"frames": (0.5, 1.0)},
        {"frames": (0.5, 0.4)},
        {"end_frame": 1.0},
        {"end_frame": 0.5},
    ],
)
def test_guides_change_the_video(model: str, keyframes: dict, framepacks: dict, picture: Path, tmp_path: Path):
    other = tmp_path / "other.png"
    Image.new("RGB", (64, 48), (200, 30, 90)).save(other)
    plain = request_of(picture, tmp_path / "v.mp4", model=model)
    if "frames" in keyframes:
        second, strength = keyframes["frames"]
        fields = {"frames": (Keyframe(image=other, second=second, strength=strength),)}
        same = {"frames": (Keyframe(image=picture, second=second, strength=strength),)}
    else:
        fields = {"end_frame": EndFrame(image=other, strength=keyframes["end_frame"])}
        same = {"end_frame": EndFrame(image=picture, strength=keyframes["end_frame"])}
    a = make(framepacks[model], plain.model_copy(update=same), tmp_path / "a")
    b = make(framepacks[model], plain.model_copy(update=fields), tmp_path / "b")
    assert not torch.equal(torch.cat(a, 2), torch.cat(b, 2))


def test_the_negative_prompt_counts_only_where_cfg_is_not_one(framepacks: dict, picture: Path, tmp_path: Path):
    base = request_of(picture, tmp_path / "v.mp4", negative_prompt="fog")
    a = make(framepacks["mini"], base, tmp_path / "a")
    b = make(framepacks["mini"], base.model_copy(update={"negative_prompt": "rain"}), tmp_path / "b")
    assert torch.equal(a[0], b[0])
    guided = base.model_copy(update={"cfg": 4.0})
    c = make(framepacks["mini"], guided, tmp_path / "c")
    d = make(framepacks["mini"], guided.model_copy(update={"negative_prompt": "rain"}), tmp_path / "d")
    assert not torch.equal(c[0], d[0])
    assert not torch.equal(a[0], c[0])


def test_every_step_has_a_preview_at_latent_size(framepacks: dict, picture: Path, tmp_path: Path):
    events = list(framepacks["mini"].generate(request_of(picture, tmp_path / "v.mp4")))
    steps = [event for event in events if isinstance(event, StepDone)]
    assert len(steps) == 3 * 2
    assert all(event.preview is not None and event.preview.shape == (3, 4, 4, 3) for event in steps)


def test_a_prompt_beyond_the_limit_is_noticed(framepacks: dict, picture: Path, tmp_path: Path):
    run = framepacks["mini"].generate(request_of(picture, tmp_path / "v.mp4", prompt="very " * 400))
    assert any(isinstance(event, Notice) and "tokens" in event.message for event in run)


def test_the_wrong_model_is_refused(framepacks: dict, picture: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="this is mini, the request asks for mini-f1"):
        next(framepacks["mini"].generate(request_of(picture, tmp_path / "v.mp4", model="mini-f1")))


PHASES = {
    "text": ("text", "encode"),
    "image": ("image", "encode"),
    "encode": ("vae", "encode"),
    "prepare": ("transformer", "condition"),
    "pack": ("transformer", "pack"),
    "step": ("transformer", "forward"),
    "decode": ("vae", "decode_float"),
    "preview": ("vae", "preview_map"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_running_out_of_memory_in_any_phase_redoes_it_and_changes_no_bit(
    phase: str, tiny_models_dir: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    request = request_of(picture, tmp_path / "v.mp4", steps=4, cache="teacache", cache_threshold=0.5)
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    whole = make(framepack, request, tmp_path / "whole")
    name, method = PHASES[phase]
    with framepack.memory.lease(name) as module:
        owner = type(module)
    real, calls = getattr(owner, method), []

    def short_of_memory(self: torch.nn.Module, *args: object, **kwargs: object) -> object:
        result = real(self, *args, **kwargs)
        if next(self.parameters()).is_meta:  # the planner's
            return result
        calls.append(method)
        if len(calls) == 2 or (len(calls) == 1 and phase in ("text", "image", "encode", "prepare", "preview")):
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return result

    monkeypatch.setattr(owner, method, short_of_memory)
    assert all(torch.equal(x, y) for x, y in zip(make(framepack, request, tmp_path / "short"), whole, strict=True))
    assert len(calls) > 1


def test_memory_that_never_suffices_ends_in_one_clear_error(
    tiny_models_dir: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    with framepack.memory.lease("transformer") as module:
        owner = type(module)
    real = owner.forward

    def never(self: torch.nn.Module, *args: object, **kwargs: object) -> object:
        if next(self.parameters()).is_meta:  # the planner's
            return real(self, *args, **kwargs)
        raise torch.OutOfMemoryError("CUDA out of memory (injected)")

    monkeypatch.setattr(owner, "forward", never)
    with pytest.raises(MemoryExhaustedError, match="smaller size or window"):
        list(framepack.generate(request_of(picture, tmp_path / "v.mp4")))


def test_a_limit_on_ram_reads_weights_from_disk_and_changes_no_bit(
    framepacks: dict, tiny_models_dir: Path, picture: Path, tmp_path: Path
):
    request = request_of(picture, tmp_path / "v.mp4")
    loader = Loader(VARIANTS["mini"], ModelSource(models_dir=tiny_models_dir), choose_precision("cpu", "float32"))
    limited = FramePack(loader, MemoryManager("cpu", ram_limit=1_000_000))
    whole = make(framepacks["mini"], request, tmp_path / "whole")
    assert all(torch.equal(x, y) for x, y in zip(make(limited, request, tmp_path / "limited"), whole, strict=True))
    assert limited.memory.report().bytes_read > 0


def test_numbers_beyond_their_type_end_the_job_at_the_first_step(
    framepacks: dict, picture: Path, tmp_path: Path, monkeypatch
):
    framepack = framepacks["mini"]

    def overflowing(denoiser, noise, sigmas):
        for step in SAMPLERS["unipc"](denoiser, noise, sigmas):
            yield replace(step, denoised=step.denoised * float("inf"))

    monkeypatch.setitem(SAMPLERS, "euler", overflowing)
    events = []
    with pytest.raises(ValueError, match="use --dtype bfloat16"):
        events.extend(framepack.generate(request_of(picture, tmp_path / "v.mkv", sampler="euler"), work=tmp_path / "w"))
    assert latents(tmp_path / "w") == []
    assert not (tmp_path / "v.mkv").exists()


@pytest.mark.parametrize("trial", ["block_rate", "conv_rate"])
def test_a_trial_that_the_memory_does_not_suffice_for_tells_nothing(trial: str, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    for name in ("block_rate", "conv_rate"):
        monkeypatch.setattr(calibrate, name, full if name == trial else lambda *_: 5.0)
    models = MetaModels.of(VARIANTS["mini"], ModelSource(), choose_precision("cpu"))
    speed = calibrate.calibrate(models, torch.device("cpu"), streams=False)
    assert (speed.flops, speed.conv) == ((None, 5.0) if trial == "block_rate" else (5.0, None))
