import pytest
import torch

from framepack.memory import allocator

CARD = torch.device("cuda")


@pytest.fixture
def told(monkeypatch):
    """The options that torch is told, in place of a card's allocator."""
    said: list[str] = []
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", said.append, raising=False)
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "native")
    monkeypatch.setattr(allocator, "_chosen", lambda: said[-1] if said else "")
    monkeypatch.setattr(allocator, "_grows", lambda device: True)
    return said


def test_segments_grow_unless_the_system_cannot(told, monkeypatch):
    allocator.tune_allocator(CARD)
    assert told == ["expandable_segments:True"]
    told.clear()
    monkeypatch.setattr(allocator, "_grows", lambda device: False)
    allocator.tune_allocator(CARD)
    assert told[-1] == "expandable_segments:False,max_split_size_mb:64"
    told.clear()
    monkeypatch.setattr(allocator.os, "name", "nt")
    allocator.tune_allocator(CARD)
    assert told == ["expandable_segments:False,max_split_size_mb:64"]


def test_options_are_set_once_and_never_over_the_users(told, monkeypatch):
    allocator.tune_allocator(CARD)
    allocator.tune_allocator(CARD)
    assert len(told) == 1
    told.clear()
    monkeypatch.setattr(allocator, "_chosen", lambda: "garbage_collection_threshold:0.8")
    allocator.tune_allocator(CARD)
    assert told == []
    monkeypatch.setattr(allocator, "_chosen", lambda: "")
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "cudaMallocAsync")
    allocator.tune_allocator(CARD)
    assert told == []


def test_a_torch_that_cannot_be_told_keeps_its_own(told, monkeypatch):
    monkeypatch.delattr(torch._C, "_accelerator_setAllocatorSettings")
    allocator.tune_allocator(CARD)
    assert told == []
