"""Normalised attention guidance: the formula, and that each prompt sees what it should and nothing of the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracle import case, distance, packed, pair, table
from torch import Tensor

from framepack.caching import FirstBlockCache, TeaCache
from framepack.models.attention import BACKENDS, by_head, sdpa
from framepack.models.hunyuan.blocks import Execution
from framepack.models.nag import Nag, NagLayout
from framepack.models.packing import ContextLatents

STRONG = Nag(scale=5.0, alpha=0.5, tau=1.5)
OWN = [BACKENDS["auto"], sdpa, BACKENDS["sdpa-chunked"], by_head]


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def velocity(nag: Nag | None, negative: Tensor | None = None, execution: Execution | None = None, cache=None, **fields):
    """Of a tiny transformer; negative: (S, B, M, D) or the positive text itself."""
    ours, c = pair()[1], case(1, 3, **fields)
    positive = table(ours, c)
    step = replace(positive, negative=positive.text if negative is None else negative).step(0, nag)
    return ours(c.x, step, packed(ours, c), cache, execution or Execution())


@pytest.mark.parametrize(("scale", "alpha", "tau"), [(5.0, 0.5, 1.5), (11.0, 0.25, 2.5), (2.0, 1.0, 100.0)])
def test_values_are_guided_as_the_paper_says(scale, alpha, tau):
    plus, minus = values(1, 7, 12).numpy(), values(1, 7, 12, seed=1).numpy()
    away = scale * plus - (scale - 1) * minus
    ratio = np.abs(away).sum(-1, keepdims=True) / np.abs(plus).sum(-1, keepdims=True)
    away = np.where(ratio > tau, away * tau / ratio, away)
    expected = alpha * away + (1 - alpha) * plus
    made = Nag(scale=scale, alpha=alpha, tau=tau).guided(torch.from_numpy(plus), torch.from_numpy(minus))
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_nothing_guided_by_nothing_is_nothing():
    assert torch.equal(STRONG.guided(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)), torch.zeros(1, 2, 4))


@pytest.mark.parametrize("attention", OWN)
@pytest.mark.parametrize("biased", [False, True])
def test_each_query_sees_its_own_prompt_the_video_and_the_image(attention, biased):
    """Against one softmax a query over the keys it may see, written out."""
    negative, video, image, positive = 3, 8, 2, 4
    length = negative + video + image + positive
    query, key, value = (values(1, length, 2, 16, seed=seed) for seed in range(3))
    bias = values(1, 1, 1, length, seed=4) if biased else None
    layout = NagLayout(nag=STRONG, negative=negative, video=video, image=image)
    made = layout.attend(query, key, value, bias, attention, chunk=3)

    logits = torch.einsum("blhe,bmhe->bhlm", query, key) / 4 + (0 if bias is None else bias)

    def seen(keys: range) -> Tensor:
        hidden = torch.ones(length, dtype=torch.bool)
        hidden[list(keys)] = False
        shares = logits.masked_fill(hidden, float("-inf")).softmax(-1)
        return torch.einsum("bhlm,bmhe->blhe", shares, value)

    plus, minus = seen(range(negative, length)), seen(range(length - positive))
    expected = plus.clone()
    expected[:, :negative] = minus[:, :negative]
    window = slice(negative, negative + video)
    expected[:, window] = STRONG.guided(plus[:, window].flatten(2), minus[:, window].flatten(2)).unflatten(2, (2, 16))
    assert (made - expected).abs().max() <= (0.02 if attention is by_head else 1e-5)


def test_without_a_negative_text_or_without_guidance_it_is_the_same_to_the_bit():
    ours, c = pair()[1], case(1, 3)
    plain, where = table(ours, c), packed(ours, c)
    expected = ours(c.x, plain.step(0), where)
    assert torch.equal(ours(c.x, plain.step(0, STRONG), where), expected)
    assert torch.equal(ours(c.x, replace(plain, negative=plain.text).step(0, None), where), expected)


@pytest.mark.parametrize("nag", [STRONG, replace(STRONG, scale=20.0, alpha=1.0)])
def test_away_from_the_same_words_is_nowhere(nag):
    assert distance(velocity(nag), velocity(None)) <= 1e-5


def test_other_words_lead_away_and_a_larger_scale_leads_farther():
    other = values(*table(pair()[1], case(1, 3)).text.shape, seed=5)
    plain = velocity(None)
    moved = [distance(velocity(replace(STRONG, scale=scale, tau=100.0), other), plain) for scale in (1.0, 2.0, 4.0)]
    assert moved[0] <= 1e-5 < 1e-3 < moved[1] < moved[2]


def test_a_negative_prompt_of_another_length():
    shape = table(pair()[1], case(1, 3)).text.shape
    for length in (1, 20):
        other = values(*shape[:2], length, shape[3], seed=6)
        assert velocity(STRONG, other).shape == velocity(None).shape


@pytest.mark.parametrize("attention", OWN)
@pytest.mark.parametrize("chunk_size", [None, 5])
def test_it_is_the_same_for_every_attention_and_in_chunks(attention, chunk_size):
    other = values(*table(pair()[1], case(1, 3)).text.shape, seed=5)
    exact = velocity(STRONG, other)
    made = velocity(STRONG, other, Execution(attention=attention, chunk_size=chunk_size))
    assert distance(made, exact) <= (0.02 if attention is by_head else 1e-5)


@pytest.mark.parametrize("cache", [TeaCache, FirstBlockCache])
def test_a_cache_that_reuses_nothing_changes_nothing_and_keeps_the_window_only(cache):
    other = values(*table(pair()[1], case(1, 3)).text.shape, seed=5)
    kept = cache(steps=3, threshold=0.0)
    assert torch.equal(velocity(STRONG, other, cache=kept), velocity(STRONG, other))
    assert kept._residual is not None
    assert kept._residual.shape[1] == 3 * 5 * 7


def test_weights_of_pictures_stay_with_their_tokens():
    """Key biases and key scales move along with the tokens behind the negative prompt."""
    ours, c = pair()[1], case(1, 3)
    spans = [
        ContextLatents(latents=c.clean[:, :, :1], at=[0], scale=1, weight=0.2),
        ContextLatents(latents=c.clean[:, :, 1:], at=[9], scale=1, key_scale=1.3),
    ]
    where = ours.pack(spans, c.at["noisy"], (3, 10, 14))
    plain = table(ours, c)
    same = replace(plain, negative=plain.text)
    assert distance(ours(c.x, same.step(0, STRONG), where), ours(c.x, plain.step(0), where)) <= 1e-5
