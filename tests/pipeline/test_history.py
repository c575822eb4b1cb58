"""History: what each order sees, and that it stays the same size."""

import torch

from framepack.pipeline.history import History


def latents(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, -1, 1, 1)


def values(tensor: torch.Tensor) -> list[int]:
    return [int(v) for v in tensor.flatten()]


def test_it_begins_with_zeros_that_are_real_inputs():
    history = History("backward", latents(5), keep=4)
    assert values(history.take(range(4))) == [0, 0, 0, 0]


def test_backward_history_grows_at_the_front():
    history = History("backward", latents(0), keep=6)
    history.add(latents(7, 8, 9))
    history.add(latents(4, 5, 6))
    assert values(history.take(range(3))) == [4, 5, 6]
    assert values(history.edge(4)) == [4, 5, 6, 7]


def test_forward_history_grows_at_the_back_and_is_read_oldest_first():
    history = History("forward", latents(0), keep=6)
    history.add(latents(1, 2, 3))
    history.add(latents(4, 5))
    assert values(history.take(range(3, -1, -1))) == [2, 3, 4, 5]
    assert values(history.edge(3)) == [3, 4, 5]


def test_it_never_holds_more_than_it_keeps():
    history = History("forward", latents(0), keep=5)
    for i in range(10):
        history.add(latents(*range(9 * i, 9 * i + 9)))
    assert values(history.latents) == [85, 86, 87, 88, 89]
    assert history.latents.untyped_storage().nbytes() == 5 * 4
