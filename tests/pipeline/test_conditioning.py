"""Features and tables: how many there are changes nothing of what the device holds, where they wait nothing else."""

import weakref
from contextlib import contextmanager
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from published import published
from runs import lending, request_of

from framepack import GenerationRequest
from framepack.memory.estimate import _Functions, _Meter
from framepack.models.hunyuan.encoders import LETTERS_PER_TOKEN, TextFeatures
from framepack.models.hunyuan.tokenizers import PROMPT_TOKENS
from framepack.pipeline.conditioning import Conditioning, Tables, encode, make_tables, mixed
from framepack.pipeline.estimate import Estimator
from framepack.pipeline.job_costs import JobCosts, job_of
from framepack.pipeline.memory_plan import PLANNED
from framepack.pipeline.stages import Modes
from framepack.pipeline.stages.sampling import tables as bytes_of_tables
from framepack.sampling import make_sigmas
from framepack.spec.events import StageStarted
from framepack.spec.plan import plan
from framepack.spec.windows import Said
from framepack.weights.loader import choose_precision

CPU, DEVICE = torch.device("cpu"), torch.device("meta")
"""meta stands for a device with memory of its own."""


class OnDevice(_Meter):
    """Counts the bytes alive on the device; what is brought to RAM has values that nobody reads."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        to = (kwargs or {}).get("device")
        if func is torch.ops.aten._to_copy.default and args[0].is_meta and to is not None and to.type == "cpu":
            return torch.empty(args[0].shape, dtype=args[0].dtype)
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _count(self, tensor):
        if tensor.is_meta:
            super()._count(tensor)


def asked(seconds: float, prompts: int = 1, **more: object) -> GenerationRequest:
    """A video to an end frame, with so many timed prompts."""
    timed = [{"second": 2 * i, "text": f"scene {i}"} for i in range(1, prompts)]
    fields = {"image": "a.png", "end_frame": {"image": "b.png"}, "seconds": seconds, "prompts": timed, **more}
    return GenerationRequest.model_validate(fields)


def made_up(prompts: list[str], pictures: list[str], config, tokens: int, image_tokens: int) -> Conditioning:
    """Random features, in RAM."""
    generator = torch.Generator().manual_seed(0)

    def text() -> TextFeatures:
        words = torch.randn(1, tokens, config.text_embed_dim, generator=generator)
        pooled = torch.randn(1, config.pooled_projection_dim, generator=generator)
        return TextFeatures(text=words, pooled=pooled, text_cut=0, pooled_cut=0)

    def seen() -> torch.Tensor:
        return torch.randn(1, image_tokens, config.image_proj_dim, generator=generator)

    return Conditioning(
        latents={}, features={key: seen() for key in pictures}, texts={Said(prompt): text() for prompt in prompts}
    )


@pytest.mark.parametrize(("seconds", "prompts"), [(3, 1), (120, 1), (30, 6)])
def test_the_device_holds_the_tables_of_one_section_whatever_a_13b_job_has(seconds, prompts):
    models, request = published(choose_precision("cuda")), asked(seconds, prompts, model="framepack")
    estimator, sections = Estimator(models, DEVICE, here=False), plan(request)
    job = replace(job_of(request, sections, (640, 640)), letters=LETTERS_PER_TOKEN * PROMPT_TOKENS)
    costs = JobCosts(estimator.run, estimator.stages, models, job)
    with torch.no_grad():
        expected = costs.cost("prepare", Modes()).activations
    one, image_tokens = bytes_of_tables(job, costs.outputs, 1, 1), costs.outputs["image"].shape[1]
    texts = sorted({section.prompt for section in sections})
    conditioning = made_up(texts, ["start", "end"], models["transformer"].config, PROMPT_TOKENS, image_tokens)
    runner, sigmas = lending(DEVICE, transformer=models["transformer"]), make_sigmas(25, 9 * 40 * 40)
    with torch.no_grad(), OnDevice() as device, _Functions(device, fused_gelu=False):
        tables = make_tables(runner, conditioning, sections, sigmas, 10.0)
        assert device.alive == 0
        assert device.peak == pytest.approx(expected, rel=0.1)
        for section in (sections[0], sections[-1]):
            table = tables.table(section.said, section)
            assert table.image.device == table.text.device == DEVICE
            assert device.alive == pytest.approx(one, rel=0.01)
            del table
    assert device.alive == 0
    assert len(tables.by_prompt) == prompts
    assert len(tables.by_mix) == len(sections)


@torch.no_grad()
def test_a_sections_table_is_to_the_bit_that_of_its_prompt_and_mix(framepacks):
    framepack, request = framepacks["mini"], asked(4, 2, frames=[{"image": "c.png", "second": 2}])
    sections = plan(request)
    transformer = framepack.loader.load("transformer")
    inputs = made_up(["", "scene 1"], ["start", "end", "frame:0"], transformer.config, 5, 9)
    sigmas = make_sigmas(3, 100)
    tables = make_tables(lending(CPU, transformer=transformer), inputs, sections, sigmas, 6.0)
    assert max(len(section.image) for section in sections) > 1
    for section in sections:
        table, text = tables.table(section.said, section), inputs.texts[section.said]
        image = mixed(inputs.features, section.image, CPU)
        scale = torch.tensor([6000.0])
        truth = transformer.condition(sigmas[:-1] * 1000, scale, text.pooled, text.text, None, image)
        for field in fields(truth):
            found, expected = getattr(table, field.name), getattr(truth, field.name)
            if isinstance(expected, tuple):
                assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
            else:
                assert found is expected is None or torch.equal(found, expected), field.name


def test_where_the_device_is_ram_a_section_copies_no_table(framepacks):
    transformer = framepacks["mini"].loader.load("transformer")
    inputs = made_up([""], ["start", "end"], transformer.config, 5, 9)
    sections, runner = plan(asked(3)), lending(CPU, transformer=transformer)
    with torch.inference_mode():
        tables = make_tables(runner, inputs, sections, make_sigmas(3, 100), 6.0)
        table = tables.table(Said(""), sections[0])
    assert table.image is tables.by_mix[sections[0].image]
    assert all(a is b for a, b in zip(table.modulation, tables.by_prompt[Said("")].modulation, strict=True))


def test_a_table_that_finds_no_room_is_brought_once_others_have_made_some(framepacks, monkeypatch):
    transformer = framepacks["mini"].loader.load("transformer")
    inputs = made_up([""], ["start", "end"], transformer.config, 5, 9)
    (section, *_), runner = plan(asked(3)), lending(CPU, transformer=transformer)
    tables = make_tables(runner, inputs, plan(asked(3)), make_sigmas(3, 100), 6.0)
    real, calls = type(tables.by_prompt[Said("")]).to, []

    def short(self, device):
        calls.append(device)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return real(self, device)

    monkeypatch.setattr(type(tables.by_prompt[Said("")]), "to", short)
    assert len(tables.table(Said(""), section)) == 3
    assert len(calls) == 2
    assert runner.memory.notices() == []  # freeing was enough: nothing was given up


def test_features_wait_in_ram_and_the_pictures_latents_on_the_device():
    encoders = {
        "text": lambda prompt, still: TextFeatures(
            text=torch.empty(1, 3, 4, device=DEVICE), pooled=torch.empty(1, 2, device=DEVICE), text_cut=0, pooled_cut=0
        ),
        "image": lambda picture: torch.empty(1, 9, 4, device=DEVICE),
        "vae": lambda picture, **options: torch.empty(1, 16, 1, 4, 4, device=DEVICE),
    }

    @contextmanager
    def lease(name, **options):
        yield SimpleNamespace(encode=encoders[name])

    runner = lending(CPU)
    runner.memory = SimpleNamespace(lease=lease, retry_with_less_memory=lambda phase, work, **options: work(PLANNED))
    with OnDevice():
        inputs = encode(runner, {"start": np.zeros((4, 4, 3), np.uint8)}, [Said("a"), Said("b")])
    waiting = [*inputs.features.values(), *(t for text in inputs.texts.values() for t in (text.text, text.pooled))]
    assert all(tensor.device == CPU for tensor in waiting)
    assert inputs.latents["start"].device == DEVICE


def test_a_section_leaves_no_table_behind(framepacks, picture, tmp_path, monkeypatch):
    taken, table = [], Tables.table

    def noted(self, *asked):
        made = table(self, *asked)
        taken.append(weakref.ref(made))
        return made

    monkeypatch.setattr(Tables, "table", noted)
    request = request_of(picture, tmp_path / "v.mp4", end_frame={"image": picture}, cfg=2.0)
    decoded = 0
    for event in framepacks["mini"].generate(request):
        if isinstance(event, StageStarted) and event.stage == "decode":
            decoded += 1
            assert len(taken) == 2 * decoded
            assert not any(each() for each in taken)
    assert decoded == 3
