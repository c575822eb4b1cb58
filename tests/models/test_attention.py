"""Attention backends agree, and call the optional packages as these want to be called."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import pytest
import torch
from oracle import case, distance, our_velocity, pair
from torch._subclasses.fake_tensor import FakeTensorMode

from framepack.models import attention
from framepack.models.attention import BACKENDS, by_head, normalise_and_rotate
from framepack.models.hunyuan.blocks import Execution


def heads(seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 13, 3, 8, generator=g) for _ in range(3)]


BIASES = {
    "none": None,
    "mask": torch.tensor([[9], [13]]).gt(torch.arange(13)).view(2, 1, 1, 13),
    "weights": torch.linspace(-3, 0, 13).view(1, 1, 1, 13),
}


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("backend", ["auto", "sdpa-chunked", by_head])
def test_every_way_to_attend_equals_sdpa(monkeypatch, backend, bias):
    monkeypatch.setattr(attention, "LOGITS", 4 * 2 * 3 * 13 * 7)  # seven rows of the queries
    monkeypatch.setattr(attention, "CACHED_LOGITS", 64 * 5)
    attend = BACKENDS.get(backend, backend)
    query, key, value = (torch.cat([x] * 10, dim=1)[:, :n] for x, n in zip(heads(), (80, 13, 13), strict=True))
    expected = BACKENDS["sdpa"](query, key, value, BIASES[bias])
    torch.testing.assert_close(attend(query, key, value, BIASES[bias]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", BIASES)
def test_bf16_is_attended_to_in_fp16_where_no_kernel_takes_it(monkeypatch, bias):
    query, key, value = (x.bfloat16() for x in heads())
    add = BIASES[bias] if bias != "weights" else BIASES[bias].bfloat16()
    seen = []
    attend = attention.F.scaled_dot_product_attention
    monkeypatch.setattr(attention, "fuses_bfloat16", lambda device: False)
    monkeypatch.setattr(
        attention.F,
        "scaled_dot_product_attention",
        lambda q, *args, **kw: seen.append(q.dtype) or attend(q, *args, **kw),
    )
    made = attention.sdpa(query, key, value, add)
    assert (made.dtype, seen) == (torch.bfloat16, [torch.float16])
    exact = attention.sdpa(query.double(), key.double(), value.double(), add.double() if bias == "weights" else add)
    torch.testing.assert_close(made.double(), exact, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(("major", "fused"), [(7, False), (8, True), (12, True)])
def test_cards_from_ampere_on_take_bf16(monkeypatch, major, fused):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=major))
    assert attention.fuses_bfloat16(torch.device("cuda")) is fused
    assert attention.fuses_bfloat16(torch.device("cpu"))


def on_a_card(monkeypatch, major):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=major))
    return FakeTensorMode(allow_non_fake_inputs=False)


def kernels():
    """What PyTorch may choose from at this moment."""
    cuda = torch.backends.cuda
    return {
        "cudnn": cuda.cudnn_sdp_enabled(),
        "flash": cuda.flash_sdp_enabled(),
        "efficient": cuda.mem_efficient_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("backend", ["auto", "sdpa", "sdpa-chunked", "flash-attn", "sage", "xformers"])
def test_a_bias_on_cuda_never_goes_to_cudnn(monkeypatch, backend, bias):
    if BIASES[bias] is None and backend in STAND_INS:
        pytest.skip("the package itself attends")
    seen, before = [], kernels()
    attend = attention.F.scaled_dot_product_attention
    with on_a_card(monkeypatch, 9):
        query = torch.empty(2, 13, 3, 8, dtype=torch.bfloat16, device="cuda")
        add = None if bias == "none" else torch.empty(BIASES[bias].shape, dtype=BIASES[bias].dtype, device="cuda")
        monkeypatch.setattr(
            attention.F, "scaled_dot_product_attention", lambda *a, **kw: seen.append(kernels()) or attend(*a, **kw)
        )
        assert BACKENDS[backend](query, query, query, add).shape == query.shape
    pinned = {"cudnn": False, "flash": False, "efficient": True, "math": True}
    assert seen == [before if bias == "none" else pinned]
    assert kernels() == before


def test_threads_of_several_cards_leave_pytorchs_choice_as_it_was(monkeypatch):
    before = kernels()
    with on_a_card(monkeypatch, 9):
        query, bias = torch.empty(1, 4, 1, 8, device="cuda"), torch.zeros(1, 1, 1, 4, device="cuda")
    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", lambda q, *_, **__: time.sleep(0.1) or q)

    def card(delay):
        time.sleep(delay)
        BACKENDS["sdpa"](query, query, query, bias)

    with ThreadPoolExecutor() as cards:
        list(cards.map(card, (0, 0.05)))
    assert kernels() == before


class OnApplesGPU(torch.Tensor):
    """Shapes that say they are there."""

    device = torch.device("mps")


def test_apples_gpus_never_write_all_logits(monkeypatch):
    seen = []

    def attend(rows, key, value, attn_mask=None):
        seen.append(rows.shape[0] * rows.shape[1] * rows.shape[2] * key.shape[2])
        assert rows.is_contiguous()
        assert key.is_contiguous()
        assert value.is_contiguous()
        return rows.as_subclass(torch.Tensor)

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", attend)
    query = torch.empty(1, 18_001, 24, 128, dtype=torch.bfloat16, device="meta").as_subclass(OnApplesGPU)
    for backend in ("auto", "sdpa", "sdpa-chunked"):
        seen.clear()
        assert BACKENDS[backend](query, query, query, None).shape == query.shape
        assert sum(seen) == 24 * 18_001**2
        assert 4 * max(seen) <= 1.01 * attention.LOGITS  # to a row
        assert min(seen) > 0.99 * max(seen)  # none so short that it would go to other kernels
    seen.clear()
    BACKENDS["auto"](query[:, :300], query[:, :300], query[:, :300], None)
    assert len(seen) == 1


@pytest.mark.parametrize("bias", BIASES)
def test_gradients_head_by_head_equal_those_of_sdpa(monkeypatch, bias):
    monkeypatch.setattr(attention, "CACHED_LOGITS", 64 * 5)
    inputs = [torch.cat([x] * 10, dim=1)[:, :n].requires_grad_() for x, n in zip(heads(), (80, 13, 13), strict=True)]
    weights = torch.randn(2, 80, 3, 8, generator=torch.Generator().manual_seed(1))
    gradients = [
        torch.autograd.grad((attend(*inputs, BIASES[bias]) * weights).sum(), inputs)
        for attend in (by_head, BACKENDS["sdpa"])
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_bf16_on_a_cpu_with_a_slow_flash_kernel_goes_head_by_head_unless_the_bias_is_learnt(monkeypatch):
    monkeypatch.setattr(attention, "SLOW_FLASH", True)  # on any CPU: what is chosen, not how fast it is
    monkeypatch.setattr(attention, "by_head", lambda *_: "by head")
    query, key, value = (x.bfloat16() for x in heads())
    assert BACKENDS["auto"](query, key, value, None) == "by head"
    assert BACKENDS["auto"](query.float(), key.float(), value.float(), None).dtype == torch.float32
    learnt = torch.zeros(1, 1, 1, key.shape[1], dtype=torch.bfloat16, requires_grad=True)
    assert BACKENDS["auto"](query, key, value, learnt).dtype == torch.bfloat16


def test_bf16_head_by_head_makes_at_most_twice_the_error_of_sdpa():
    low = [x.bfloat16() for x in heads()]
    exact = BACKENDS["sdpa"](*(x.float() for x in low), None)
    errors = [(attend(*low, None) - exact).std() for attend in (by_head, BACKENDS["sdpa"])]
    assert errors[0] <= 2 * errors[1]


def test_a_backend_is_used_by_every_block():
    ours = pair()[1]
    plain = our_velocity(ours, case())
    calls = []

    def counting(query, key, value, bias):
        calls.append(query.shape)
        return BACKENDS["sdpa"](query, key, value, bias)

    assert distance(our_velocity(ours, case(), Execution(attention=counting)), plain) == 0
    assert len(calls) == len(ours.blocks)


def plain_attention(query, key, value):
    logits = torch.einsum("blhe,bmhe->bhlm", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("bhlm,bmhe->blhe", logits.softmax(-1), value)


STAND_INS = {
    "flash-attn": ("flash_attn", "flash_attn_func"),
    "sage": ("sageattention", "sageattn"),
    "xformers": ("xformers.ops", "memory_efficient_attention"),
}


@pytest.mark.parametrize("name", STAND_INS)
def test_optional_backends_hand_over_tokens_before_heads(monkeypatch, name):
    package, function = STAND_INS[name]
    seen = {}

    def stand_in(query, key, value, **options):
        seen.update(options)
        return plain_attention(query, key, value)

    module = ModuleType(package)
    setattr(module, function, stand_in)
    monkeypatch.setitem(sys.modules, package.split(".")[0], ModuleType(package.split(".")[0]))
    monkeypatch.setitem(sys.modules, package, module)
    torch.testing.assert_close(BACKENDS[name](*heads(), None), BACKENDS["sdpa"](*heads(), None), rtol=1e-5, atol=1e-6)
    assert seen == ({"tensor_layout": "NHD"} if name == "sage" else {})


@pytest.mark.parametrize("name", STAND_INS)
def test_optional_backends_leave_biased_calls_to_sdpa(name):
    mask = (torch.arange(13) < 9).expand(2, 1, 1, 13)
    torch.testing.assert_close(BACKENDS[name](*heads(), mask), BACKENDS["sdpa"](*heads(), mask))


def test_rotation_keeps_lengths_and_the_norm_makes_them_one():
    x = torch.randn(2, 5, 3, 8) * 7
    rope = torch.polar(torch.ones(1, 5, 1, 4), torch.randn(1, 5, 1, 4))
    turned = normalise_and_rotate(x, torch.ones(8), rope)
    torch.testing.assert_close(turned.square().mean(-1), torch.ones(2, 5, 3), rtol=1e-4, atol=1e-4)
    assert (turned - normalise_and_rotate(x, torch.ones(8), torch.ones_like(rope))).abs().max() > 0.1


@pytest.mark.parametrize("size", [1.0, 3e4, 1e6, 1e30])
def test_values_beyond_float16_stay_finite_and_right_on_cards_without_bfloat16(monkeypatch, size):
    query, key, value = (x.bfloat16() for x in heads())
    value = value * size
    exact = attention.sdpa(query.double(), key.double(), value.double())
    monkeypatch.setattr(attention, "fuses_bfloat16", lambda device: False)
    made = attention.sdpa(query, key, value)
    assert made.isfinite().all()
    torch.testing.assert_close(made.double() / size, exact / size, rtol=0.01, atol=0.01)


def test_queries_beyond_float16_are_not_infinite_on_cards_without_bfloat16(monkeypatch):
    query, key, value = (x.bfloat16() for x in heads())
    monkeypatch.setattr(attention, "fuses_bfloat16", lambda device: False)
    assert attention.sdpa(query * 1e6, key, value).isfinite().all()
    assert not attention.sdpa(query, key, value * float("nan")).isfinite().any(), "damage is not hidden"
