"""Which device is taken, and what torch is told of its limits."""

from types import SimpleNamespace

import pytest
import torch

import framepack
from framepack.memory import Budget, allocator, budget
from framepack.memory.probe import DeviceMemory
from framepack.pipeline.device import choose_device


def test_a_card_that_is_not_there_is_reported_with_how_many_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="has 2 cuda devices, counted from cuda:0, got 'cuda:7'"):
        choose_device("cuda:7")


@pytest.mark.parametrize(
    ("system", "limit", "share"), [("posix", None, 1.0), ("posix", "6GB", 0.25), ("nt", None, 0.9 * 18 / 24)]
)
def test_torch_is_told_the_limit_of_the_card(monkeypatch, system, limit, share):
    told = []
    card = DeviceMemory(total=24 * 10**9, free=18 * 10**9, allocated=0, reserved=0)
    for module in (allocator, budget):
        monkeypatch.setattr(module, "device_memory", lambda device: card)
    monkeypatch.setattr(allocator, "os", SimpleNamespace(name=system))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: told.append(given))
    for device in ("cuda", "cuda:1", "cpu"):
        allocator.limit_device(Budget.of(torch.device(device), limit, None, None))
    assert [card for _, card in told] == [None, 1]
    assert all(isinstance(given, float) and given == pytest.approx(share) for given, _ in told)


def test_every_limit_reaches_the_memory_manager_and_a_wrong_one_is_a_sentence(tiny_models_dir):
    limits = {"vram_limit": "1GB", "ram_limit": 2 * 10**9, "preserve": "100 MB"}
    with framepack.load("mini", models_dir=tiny_models_dir, device="cpu", vae_tiling="allow", **limits) as model:
        limited = model.memory.budget
        assert (limited.vram_limit, limited.ram_limit, limited.preserve) == (10**9, 2 * 10**9, 10**8)
        assert model.tiling == "allow"
    with pytest.raises(ValueError, match="many"):
        framepack.load("mini", models_dir=tiny_models_dir, device="cpu", vram_limit="many")
    with pytest.raises(ValueError, match="vae-tiling must be one of never, allow, always, got 'perhaps'"):
        framepack.load("mini", models_dir=tiny_models_dir, device="cpu", vae_tiling="perhaps")
