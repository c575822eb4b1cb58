import pytest
import torch

from framepack.models.transfer import SMALL, _locked, to_device, to_host


def test_without_a_card_a_tensor_stays_the_one_it_is():
    tensor = torch.randn(SMALL)
    assert to_device(tensor, "cpu") is tensor
    assert to_device(tensor, torch.device("cpu")) is tensor
    assert to_host(tensor) is tensor
    assert to_device(tensor, "meta").is_meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shape", [(3,), (1000, 257)])
def test_what_goes_to_a_card_comes_back_the_same(shape):
    tensor = torch.randn(shape)
    there = to_device(tensor.t() if len(shape) > 1 else tensor, "cuda")
    back = to_host(there.t() if len(shape) > 1 else there)
    assert torch.equal(back, tensor)
    assert not back.is_pinned()


def test_where_the_system_locks_no_more_memory_there_is_none(monkeypatch):
    def refused(*shape, **options):
        raise RuntimeError("CUDA error: out of memory")

    tensor = torch.zeros(SMALL)
    monkeypatch.setattr(torch, "empty", refused)
    assert _locked(tensor) is None
