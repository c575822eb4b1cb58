"""Our transformer against diffusers' class, and what it promises beyond: sizes, seams, gradients."""

import json
from pathlib import Path

import pytest
import torch
from oracle import TINY, case, distance, our_velocity, packed, pair, reference_velocity, table
from torch import Tensor

from framepack.models.config import TransformerConfig
from framepack.models.hunyuan.blocks import PLAIN, Execution
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked

TOLERANCE = 1e-5
"""Of the output's standard deviation, float32."""


@pytest.fixture(scope="module")
def models():
    return pair()


@pytest.mark.parametrize("window", [1, 3, 9, 33])
@pytest.mark.parametrize(("batch", "lengths"), [(1, (9,)), (1, (7,)), (2, (9, 9)), (2, (4, 9)), (2, (3, 6))])
def test_velocity_equals_diffusers_for_every_window_batch_and_mask(models, window, batch, lengths):
    c = case(batch, window, lengths=lengths)
    assert distance(our_velocity(models[1], c), reference_velocity(models[0], c)) <= TOLERANCE


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (8, 8), (10, 10), (14, 18), (16, 24)])
def test_velocity_equals_diffusers_for_sizes_that_need_padding_and_for_those_that_do_not(models, size):
    c = case(2, 5, size=size, lengths=(9, 5))
    assert distance(our_velocity(models[1], c), reference_velocity(models[0], c)) <= TOLERANCE


def test_velocity_equals_diffusers_at_the_mini_models_shape():
    config = TINY | {"in_channels": 16, "out_channels": 16, "num_attention_heads": 4, "attention_head_dim": 64}
    config |= {"num_layers": 1, "num_single_layers": 8, "num_refiner_layers": 1, "rope_axes_dim": (16, 24, 24)}
    reference, ours = pair(**config)
    c = case(2, 9, size=(16, 16), lengths=(9, 4), config=config)
    assert distance(our_velocity(ours, c), reference_velocity(reference, c)) <= TOLERANCE


@pytest.mark.parametrize("changes", [{"guidance_embeds": False}, {"in_channels": 48, "out_channels": 48}])
def test_velocity_equals_diffusers_for_other_configs(changes):
    reference, ours = pair(**changes)
    c = case(config=TINY | changes)
    assert distance(our_velocity(ours, c), reference_velocity(reference, c)) <= TOLERANCE


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.02), (torch.float16, 0.002)])
def test_low_precision_is_as_near_to_float32_as_diffusers_is(models, dtype, bound):
    reference, ours = pair(dtype)
    c = case(2, 3, lengths=(9, 5))
    # Values that survive rounding, so that only the arithmetic differs.
    c.timestep.copy_(torch.tensor([512.0, 128.0]))
    c.guidance.fill_(8192.0)
    exact = reference_velocity(models[0], c)
    error = (our_velocity(ours, c) - exact).std() / exact.std()
    their_error = (reference_velocity(reference, c).float() - exact).std() / exact.std()
    assert error <= 1.1 * their_error
    assert error <= bound


def test_the_result_is_float32_whatever_the_weights(models):
    assert our_velocity(pair(torch.bfloat16)[1], case()).dtype == torch.float32
    assert our_velocity(models[1], case()).dtype == torch.float32


def test_guidance_and_timesteps_are_rounded_to_the_weights_dtype():
    ours = pair(torch.bfloat16)[1]
    c = case()
    rounded = case()
    rounded.guidance.copy_(torch.tensor([9984.0]))
    assert torch.equal(table(ours, c).final, table(ours, rounded).final)
    rounded.guidance.copy_(torch.tensor([9920.0]))
    assert not torch.equal(table(ours, c).final, table(ours, rounded).final)


def test_every_step_of_a_table_equals_a_table_of_that_step(models):
    ours = models[1]
    c = case(2, 3, lengths=(9, 5))
    timesteps = torch.tensor([1000.0, 700.0, 10.0])
    whole, context = table(ours, c, timesteps), packed(ours, c)
    assert len(whole) == 3
    for index in range(3):
        alone = table(ours, c, timesteps[index : index + 1])
        assert distance(ours(c.x, whole.step(index), context), ours(c.x, alone.step(0), context)) <= TOLERANCE


def test_samples_of_a_batch_do_not_see_each_other(models):
    ours = models[1]
    both, first = case(2, 3, lengths=(9, 5)), case(2, 3, lengths=(9, 5))
    first.x[1] += 1
    first.text[1] += 1
    first.history_4x[1] += 1
    change = our_velocity(ours, both) - our_velocity(ours, first)
    assert change[0].abs().max() <= TOLERANCE < change[1].abs().max()


def test_the_whole_call_is_differentiable_with_timesteps_per_sample(models):
    ours = pair()[1].requires_grad_(True)
    our_velocity(ours, case(2, 3, lengths=(9, 5))).square().mean().backward()
    without = [name for name, parameter in ours.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(parameter.grad.isfinite().all() for parameter in ours.parameters() if parameter.grad is not None)


def gradients(ours: HunyuanVideoTransformer3DModelPacked, execution: Execution = PLAIN) -> list[Tensor]:
    ours.requires_grad_(True).zero_grad()
    our_velocity(ours, case(2, 3, lengths=(9, 5)), execution).square().mean().backward()
    return [parameter.grad for parameter in ours.parameters() if parameter.grad is not None]


def test_checkpointing_gives_the_same_gradients():
    ours = pair()[1]
    plain = gradients(ours)
    again = gradients(ours, Execution(checkpointing=True))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


def test_chunks_of_tokens_give_the_same_velocity(models):
    c = case(2, 3, lengths=(9, 5))
    assert distance(our_velocity(models[1], c, Execution(chunk_size=50)), our_velocity(models[1], c)) <= TOLERANCE


def test_the_public_configs_are_read_and_foreign_ones_refused():
    public = {"_class_name": "HunyuanVideoTransformer3DModelPacked", "_diffusers_version": "0.42.1"} | TINY
    assert TransformerConfig.from_dict(json.loads(json.dumps(public))).width == 32
    with pytest.raises(ValueError, match="unknown entries \\['num_heads'\\]"):
        TransformerConfig.from_dict(TINY | {"num_heads": 3})
    with pytest.raises(ValueError, match="has_image_proj must be True"):
        TransformerConfig.from_dict(TINY | {"has_image_proj": False})
    with pytest.raises(ValueError, match="add up to attention_head_dim 16"):
        TransformerConfig.from_dict(TINY | {"rope_axes_dim": [4, 4, 4]})


def test_masks_that_keep_nothing_or_have_holes_are_refused(models):
    c = case()
    with pytest.raises(ValueError, match="at least one token"):
        models[1].condition(c.timestep, c.guidance, c.pooled, c.text, torch.zeros(1, 9), c.image)
    with pytest.raises(ValueError, match="pad prompts on the right"):
        models[1].condition(c.timestep, c.guidance, c.pooled, c.text, torch.tensor([[0, 1] * 4 + [0]]), c.image)


def count(modules) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_the_published_shape_has_its_parameters_and_a_quarter_is_needed_once_a_job():
    with torch.device("meta"):
        model = HunyuanVideoTransformer3DModelPacked(TransformerConfig())
    total, once = count([model]), count(model.once_per_job)
    modulation = count(m for block in model.blocks for m in block.modulations)
    assert round(total / 1e9, 3) == 12.874
    assert round(modulation / 1e9, 1) == 3.4
    assert round(count([model.context_embedder]) / 1e6) == 309
    assert round(2 * total / 1e9, 2) == 25.75
    assert round(2 * (total - once) / 1e9, 2) == 18.15
    assert round(2 * (total - once - count([model.clean_x_embedder])) / 1e9, 2) == 18.12


def test_a_forward_reads_no_weight_that_only_condition_reads(models):
    ours = pair()[1]
    c = case()
    step, context = table(ours, c).step(0), packed(ours, c)
    before = ours(c.x, step, context)
    for module in ours.once_per_job:
        for parameter in module.parameters():
            parameter.fill_(float("nan"))
    assert torch.equal(ours(c.x, step, context), before)


def test_a_table_keeps_its_meaning_when_moved(models):
    c = case(2, 3, lengths=(9, 5))
    here = table(models[1], c)
    moved = here.to("meta")
    assert moved.final.device.type == moved.modulation[0].device.type == moved.text_mask.device.type == "meta"
    assert torch.equal(here.to("cpu").step(0).tokens, here.step(0).tokens)


PUBLISHED = Path(__file__).parents[1] / "data" / "checkpoints"
"""Shapes and tensors' names of the public checkpoints, in the layout of their repositories."""


@pytest.mark.parametrize("name", ["FramePackI2V_HY", "FramePack_F1_I2V_HY_20250503"])
def test_published_names_load_strictly_without_key_maps(name):
    folder = PUBLISHED / name
    index = json.loads((folder / "diffusion_pytorch_model.safetensors.index.json").read_text())
    config = TransformerConfig.from_dict(json.loads((folder / "config.json").read_text()))
    model = HunyuanVideoTransformer3DModelPacked(config)
    assert set(model.state_dict()) == set(index["weight_map"])
