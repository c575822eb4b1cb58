"""The packed context beyond what diffusers can do: free spans, weights, missing scales, refusals."""

import math
from dataclasses import replace

import pytest
import torch
from oracle import case, distance, packed, pair, spans, table

from framepack.models.attention import by_head, sdpa_chunked
from framepack.models.hunyuan.blocks import PLAIN, Execution
from framepack.models.packing import ContextLatents, rotary


@pytest.fixture(scope="module")
def ours():
    return pair()[1]


def velocity(ours, c, context, execution=PLAIN):
    return ours(c.x, table(ours, c).step(0), context, execution=execution)


def test_spans_of_one_scale_are_joined_in_the_order_given(ours):
    c = case()
    first, second = (
        ContextLatents(latents=c.clean[:, :, i : i + 1], at=c.at["clean"][i : i + 1], scale=1) for i in (0, 1)
    )
    rest = spans(c)[1:]
    split = ours.pack([first, *rest, second], c.at["noisy"], tuple(c.x.shape[2:]))
    whole = packed(ours, c)
    assert torch.equal(split.context, whole.context)
    assert torch.equal(split.rope, whole.rope)


def test_tokens_come_coarse_to_fine_whatever_the_order_given(ours):
    c = case()
    reordered = ours.pack(spans(c)[::-1], c.at["noisy"], tuple(c.x.shape[2:]))
    assert torch.equal(reordered.context, packed(ours, c).context)


def test_moving_a_span_in_time_changes_the_velocity(ours):
    c, moved = case(), case()
    moved.at["clean"] = [0, 30]
    assert distance(velocity(ours, c, packed(ours, moved)), velocity(ours, c, packed(ours, c))) > 1e-3


def test_a_section_may_have_no_context_at_all(ours):
    c = case(2, 3, lengths=(9, 9))
    context = ours.pack([], c.at["noisy"], tuple(c.x.shape[2:]))
    assert context.context.shape[1] == 0
    assert velocity(ours, c, context).shape == c.x.shape


def test_weight_one_takes_the_path_without_bias(ours):
    assert packed(ours, case()).key_bias is None
    assert packed(ours, case(), clean=0.5).key_bias is not None


@pytest.mark.parametrize("lengths", [(9, 9), (9, 4)])
def test_weight_near_one_is_near_weight_one(ours, lengths):
    c = case(2, 3, lengths=lengths)
    plain = velocity(ours, c, packed(ours, c))
    near = [distance(velocity(ours, c, packed(ours, c, clean=w)), plain) for w in (0.5, 0.9, 0.99, 1 - 1e-7)]
    assert near == sorted(near, reverse=True)
    assert near[0] > 1e-3
    assert near[-1] <= 1e-5


def test_a_weight_near_zero_is_the_span_left_out(ours):
    c = case()
    kept = spans(c)
    absent = velocity(ours, c, ours.pack(kept[:2], c.at["noisy"], tuple(c.x.shape[2:])))
    faint = velocity(ours, c, packed(ours, c, **{"4x": 1e-9}))
    assert distance(faint, absent) <= 1e-5


def test_weights_fall_on_their_own_tokens(ours):
    c = case(window=1, size=(4, 4))
    weighted = [
        ContextLatents(latents=c.history_4x, at=c.at["4x"], scale=4, weight=0.25),
        ContextLatents(latents=c.clean[:, :, :1], at=[0], scale=1),
        ContextLatents(latents=c.clean[:, :, 1:], at=[3], scale=1, weight=0.5),
    ]
    bias = ours.pack(weighted, [1], (1, 4, 4)).key_bias
    expected = [math.log(0.25)] * 4 + [0.0] * 4 + [math.log(0.5)] * 4 + [0.0] * 4
    assert bias.tolist() == pytest.approx(expected)


def scaled(ours, c, key_scale):
    context = [replace(span, key_scale=key_scale) if i == 0 else span for i, span in enumerate(spans(c))]
    return ours.pack(context, c.at["noisy"], tuple(c.x.shape[2:]))


def test_key_scale_one_takes_the_path_without_it(ours):
    c = case()
    context = packed(ours, c)
    joint = ours._joint(table(ours, c).step(0), context, PLAIN)
    assert context.key_scale is None
    assert joint.key_rope is joint.rope


def test_key_scale_near_one_is_near_one(ours):
    c = case(2, 3, lengths=(9, 4))
    plain = velocity(ours, c, packed(ours, c))
    near = [distance(velocity(ours, c, scaled(ours, c, scale)), plain) for scale in (1.5, 1.1, 1.01, 1 + 1e-7)]
    assert near == sorted(near, reverse=True)
    assert near[0] > 1e-3
    assert near[-1] <= 1e-5


def test_key_scale_multiplies_the_keys_of_its_own_tokens_and_no_queries(ours):
    c = case(window=1, size=(4, 4))
    context = scaled(ours, c, 1.5)
    joint = ours._joint(table(ours, c).step(0), context, PLAIN)
    ratio = (joint.key_rope / joint.rope).real.flatten(0, 1)[:, 0, 0]
    start = context.context.shape[1] - 4 * c.clean.shape[2]
    assert torch.equal(joint.rope[0, : len(context.rope)], context.rope)
    assert torch.allclose(ratio[start : context.context.shape[1]], torch.tensor(1.5))
    assert torch.allclose(torch.cat([ratio[:start], ratio[context.context.shape[1] :]]), torch.tensor(1.0))


@pytest.mark.parametrize("backend", [by_head, sdpa_chunked])
def test_a_scaled_key_needs_nothing_of_an_attention_backend(ours, backend):
    c = case()
    usual = velocity(ours, c, scaled(ours, c, 1.5))
    through = velocity(ours, c, scaled(ours, c, 1.5), Execution(attention=backend))
    assert distance(through, usual) <= 1e-4


def test_rope_turns_each_axis_by_its_own_index(ours):
    rope = rotary(ours.config, [5], 2, 3, torch.device("cpu"))
    angles = rope[:, 0, 1, 2].angle()
    assert rope.shape == (8, 1, 2, 3)
    assert angles[0].item() == pytest.approx(5 - 2 * math.pi)
    assert angles[2].item() == pytest.approx(1)
    assert angles[5].item() == pytest.approx(2)
    assert angles[6].item() == pytest.approx(2 * 256 ** (-2 / 6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 3}, "scale must be one of"),
        ({"weight": 0.0}, "weight must be above 0"),
        ({"weight": 1.5}, "at most 1, got 1.5"),
        ({"key_scale": 0.0}, "key_scale must be above 0"),
        ({"at": [1]}, "one index for each"),
    ],
)
def test_impossible_context_is_refused(change, message):
    good = {"latents": torch.zeros(1, 5, 2, 4, 4), "at": [0, 1], "scale": 1}
    with pytest.raises(ValueError, match=message):
        ContextLatents(**good | change)


def test_sizes_that_do_not_fit_are_refused(ours):
    c = case()
    with pytest.raises(ValueError, match="must be 8x8 like the noisy window, got 10x14"):
        ours.pack(spans(c), c.at["noisy"], (3, 8, 8))
    with pytest.raises(ValueError, match="must be multiples of 2, got 9x8"):
        ours.pack([], c.at["noisy"], (3, 9, 8))
    with pytest.raises(ValueError, match="one index for each of the 4 frames, got 3"):
        ours.pack(spans(c), c.at["noisy"], (4, 10, 14))
