"""Which attention takes an installed package, and why one does not fit a card. The packages are stand-ins."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from framepack.models import attention
from framepack.models.attention import BACKENDS


def on_a_card(monkeypatch, major):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=major))
    return FakeTensorMode(allow_non_fake_inputs=False)


@pytest.fixture
def flash(monkeypatch):
    """A stand-in for the flash-attn package; what it was called with."""
    seen = []
    package = ModuleType("flash_attn")
    package.flash_attn_func = lambda query, key, value: seen.append(query.dtype) or torch.empty_like(query)
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    attention.flash_is_missed.cache_clear()
    yield seen
    attention.flash_is_missed.cache_clear()


@pytest.mark.parametrize(
    ("major", "dtype", "bias", "built_in", "taken"),
    [
        (8, torch.bfloat16, False, False, True),
        (8, torch.float16, False, False, True),
        (8, torch.float32, False, False, False),
        (8, torch.bfloat16, True, False, False),
        (7, torch.float16, False, False, False),
        (9, torch.bfloat16, False, True, False),
    ],
)
def test_auto_takes_flash_attn_where_pytorch_lacks_it_and_card_and_numbers_suit(
    monkeypatch, flash, major, dtype, bias, built_in, taken
):
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: built_in)
    with on_a_card(monkeypatch, major):
        query, key, value = (torch.empty(1, 13, 3, 8, dtype=dtype, device="cuda") for _ in range(3))
        mask = torch.ones(1, 1, 1, 13, dtype=torch.bool, device="cuda") if bias else None
        made = BACKENDS["auto"](query, key, value, mask)
    assert (made.shape, made.dtype, flash) == ((1, 13, 3, 8), dtype, [dtype] * taken)


def test_auto_does_without_a_flash_attn_that_does_not_load(monkeypatch):
    def fail(name):
        raise ImportError("undefined symbol")

    attention.flash_is_missed.cache_clear()
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)
    monkeypatch.setattr(attention, "import_module", fail)
    assert not attention.flash_is_missed()
    attention.flash_is_missed.cache_clear()


@pytest.mark.parametrize(
    ("name", "device", "dtype", "major", "words"),
    [
        ("sage", "cpu", torch.bfloat16, 8, "needs a CUDA device, got cpu"),
        ("flash-attn", "cuda", torch.float32, 8, "not float32"),
        ("flash-attn", "cuda", torch.float16, 7, "does not take float16 on this card"),
        ("xformers", "cuda", torch.bfloat16, 7, "does not take bfloat16 on this card"),
        ("xformers", "cuda", torch.float32, 7, ""),
        ("flash-attn", "cuda", torch.bfloat16, 9, ""),
    ],
)
def test_a_package_that_cannot_compute_here_says_why(monkeypatch, name, device, dtype, major, words):
    on_a_card(monkeypatch, major)
    said = attention.unsuited(name, torch.device(device), dtype)
    assert words in said
    assert bool(words) is bool(said)
