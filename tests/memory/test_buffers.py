import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framepack.memory.buffers import ALIGN, Layout

DTYPES = [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.float64, torch.bool]


def packed(tensors):
    layout = Layout.of(tensors)
    flat = torch.zeros(layout.nbytes, dtype=torch.uint8)
    for view, tensor in zip(layout.views(flat), tensors, strict=True):
        view.copy_(tensor)
    return layout, flat, layout.views(flat)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.lists(st.integers(0, 5), max_size=4), st.sampled_from(DTYPES)), max_size=6))
def test_tensors_come_back_from_flat_bytes_as_they_went_in(specs):
    tensors = [torch.randint(0, 2, shape).to(dtype) for shape, dtype in specs]
    layout, flat, views = packed(tensors)
    for view, tensor in zip(views, tensors, strict=True):
        assert view.dtype == tensor.dtype
        assert torch.equal(view, tensor)
    assert layout.nbytes % ALIGN == 0
    assert all(piece.offset % ALIGN == 0 for piece, tensor in zip(layout.pieces, tensors, strict=True))
    assert all(view.untyped_storage().data_ptr() == flat.data_ptr() for view in views if view.numel())


def test_tied_tensors_are_stored_once_and_stay_tied():
    weight = torch.randn(8, 8)
    layout, _, (first, second) = packed([weight, weight])
    assert layout.nbytes == weight.nbytes
    first.zero_()
    assert not second.any()


def test_parts_of_a_fused_weight_stay_parts_of_it():
    fused = torch.randn(12, 4)
    query, key = fused[:6], fused[6:]
    layout, _, views = packed([key, fused, query])
    assert layout.nbytes == ALIGN
    assert torch.equal(torch.cat([views[2], views[0]]), views[1])
    assert views[2].data_ptr() == views[1].data_ptr()


def test_strides_are_kept_and_repeated_elements_are_not():
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    repeated = torch.arange(4).expand(3, 4)
    _, _, (kept, dense) = packed([image, repeated])
    assert kept.stride() == image.stride()
    assert torch.equal(kept, image)
    assert dense.is_contiguous()
    assert torch.equal(dense, repeated)


def test_views_made_in_inference_mode_are_ordinary_tensors():
    layout = Layout.of([torch.ones(3)])
    flat = torch.zeros(layout.nbytes, dtype=torch.uint8)
    with torch.inference_mode():
        (view,) = layout.views(flat)
    assert not view.is_inference()


@pytest.mark.parametrize("count", [1, 3])
def test_meta_tensors_have_a_layout_too(count):
    with torch.device("meta"):
        tensors = [torch.empty(100, dtype=torch.bfloat16) for _ in range(count)]
    assert Layout.of(tensors).nbytes == count * ALIGN
