import gc
import weakref

import pytest
import torch

from framepack.memory.fallbacks import LEVELS, Fallbacks, MemoryExhaustedError, is_out_of_memory

PHASES = ["text encoder", "image encoder", "condition", "step", "decode", "encode"]


def failing(times, error=None, seen=None):
    """Work that fails some times; each level it is given is noted."""
    left = [times]

    def work(level):
        if seen is not None:
            seen.append(level)
        if left[0]:
            left[0] -= 1
            raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return level.name

    return work


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_out_of_memory_frees_and_does_it_again_then_steps_down_one_level_a_time(phase, level):
    freed = []
    fallbacks = Fallbacks(freed.append)
    assert fallbacks.retry_with_less_memory(phase, failing(level + 1), allow_tiles=True) == LEVELS[level].name
    assert freed == list(LEVELS[: level + 1])
    assert all(fallbacks.level(other).name == "as planned" for other in PHASES if other != phase)


def test_a_shortage_that_freeing_ends_gives_nothing_up_and_says_nothing():
    fallbacks, seen = Fallbacks(lambda level: None), []
    for _ in range(9):
        assert fallbacks.retry_with_less_memory("step", failing(1, seen=seen)) == "as planned"
    assert {level.name for level in seen} == {"as planned"}
    assert fallbacks.notices() == []


def test_a_level_once_taken_is_kept_for_the_next_work_of_the_phase():
    fallbacks = Fallbacks(lambda level: None)
    fallbacks.retry_with_less_memory("step", failing(3))
    assert fallbacks.retry_with_less_memory("step", failing(0)) == "chunked"


def test_what_was_given_up_is_tried_again_once_the_work_has_gone_well_for_a_while():
    fallbacks = Fallbacks(lambda level: None)
    fallbacks.retry_with_less_memory("step", failing(3))
    assert "Memory ran out in step" in fallbacks.notices()[0]
    rungs = [fallbacks.retry_with_less_memory("step", failing(0)) for _ in range(12)]
    assert sorted(set(rungs), key=rungs.index) == ["chunked", "fewer resident blocks", "as planned"]
    assert fallbacks.notices() == ["There is enough memory again: step continues as planned."]


def test_a_lasting_shortage_costs_ever_fewer_trials_and_is_reported_once():
    freed = []
    fallbacks = Fallbacks(freed.append)
    refused = []

    def work(level):
        if level.resident == 1:
            refused.append(level)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return level.name

    assert [fallbacks.retry_with_less_memory("step", work) for _ in range(200)] == ["fewer resident blocks"] * 200
    assert len(refused) <= 2 + 7  # after 2, 4, 8 ... 128 successes
    assert len(fallbacks.notices()) == 1


def test_a_trial_that_fails_goes_back_to_the_rung_that_is_known_to_do():
    fallbacks, seen = Fallbacks(lambda level: None), []
    fallbacks.retry_with_less_memory("step", failing(2))
    fallbacks.retry_with_less_memory("step", failing(0))
    assert fallbacks.retry_with_less_memory("step", failing(1, seen=seen)) == "fewer resident blocks"
    assert [level.name for level in seen] == ["as planned", "fewer resident blocks"]


def test_the_picture_changes_only_with_consent():
    seen = []
    fallbacks = Fallbacks(lambda level: None)
    fallbacks.retry_with_less_memory("decode", failing(5, seen=seen))
    assert not any(level.tiled for level in seen)
    plain = [name.name for name in LEVELS if name.name != "tiled"]
    assert [level.name for level in seen] == ["as planned", *plain]


def test_rungs_that_change_nothing_for_the_work_are_passed_over():
    seen = []
    fallbacks = Fallbacks(lambda level: None)
    with pytest.raises(MemoryExhaustedError):
        fallbacks.retry_with_less_memory("decode", failing(9, seen=seen), supported={"tiled"}, allow_tiles=True)
    assert [level.tiled for level in seen] == [False, False, True]
    assert all(level.chunk_size is None and level.resident == 1 for level in seen)


def test_below_the_last_rung_one_sentence_says_what_would_help():
    with pytest.raises(
        MemoryExhaustedError, match=r"ran out in step.*smaller size.*Tried to allocate 2.00 GiB"
    ) as raised:
        Fallbacks(lambda level: None).retry_with_less_memory("step", failing(99))
    assert "\n" not in str(raised.value)


def test_what_the_interrupted_work_held_is_freed_before_it_is_done_again():
    held = []
    alive = []

    def work(level):
        activations = torch.zeros(10)
        held.append(weakref.ref(activations))
        if len(held) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return level.name

    gc.disable()
    try:
        Fallbacks(lambda level: alive.append(held[0]())).retry_with_less_memory("step", work)
    finally:
        gc.enable()
    assert alive == [None]


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("Invalid buffer size: 31.29 GiB"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_only_out_of_memory_is_tried_again(error, is_it):
    assert is_out_of_memory(error) is is_it
    seen = []
    if is_it:
        Fallbacks(lambda level: None).retry_with_less_memory("step", failing(1, error, seen))
    else:
        with pytest.raises(type(error), match=str(error)):
            Fallbacks(lambda level: None).retry_with_less_memory("step", failing(1, error, seen))
    assert len(seen) == 1 + is_it


ENGINE = "GET was unable to find an engine to execute this computation"


@pytest.mark.parametrize(
    "said", [ENGINE, "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED", "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"]
)
@pytest.mark.parametrize(
    ("allocated", "free", "share", "short"),
    [
        (9, 1, 1.0, True),
        (1, 23, 1.0, False),  # a broken cuDNN on an empty card
        (4, 19, 6 / 24, True),  # most of what was allowed
        (2, 21, 6 / 24, False),
        (2, 1, 1.0, True),  # other programs hold the card
        (0.1, 0.5, 1.0, True),
    ],
)
def test_a_library_that_fails_is_short_of_memory_only_where_memory_is_short(
    monkeypatch, said, allocated, free, share, short
):
    gb = 1 << 30
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: allocated * gb if device.index else 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocated * gb if device.index else 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: {1: (free * gb, 24 * gb)}[device.index])
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: share)
    assert is_out_of_memory(RuntimeError(said)) is short


def test_without_a_card_no_library_is_short_of_memory():
    assert not is_out_of_memory(RuntimeError(ENGINE))


def test_an_unknown_knob_is_refused():
    with pytest.raises(ValueError, match="got speed"):
        Fallbacks(lambda level: None).retry_with_less_memory("step", failing(0), supported={"speed"})
