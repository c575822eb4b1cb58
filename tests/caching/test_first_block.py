import torch

from framepack.caching import FirstBlockCache


def walk(cache, sizes):
    """Run the cache as the transformer does on signals of the given sizes; returns 1 where all blocks ran."""
    for step, size in enumerate(sizes):
        if cache.lookup(step, torch.full((1, 6, 8), size)) is None:
            cache.store(torch.full((1, 4, 8), float(step)))
    return [int(ran) for ran in cache.ran]


def test_it_lets_block_zero_run_before_it_decides():
    assert FirstBlockCache(steps=3).probe_blocks == 1


def test_change_is_measured_against_the_last_step_that_ran():
    """Each step moves 6% of the first: below 15% up to 12%, then a full step sets a new reference (1.18)."""
    sizes = [1.0, 1.06, 1.12, 1.18, 1.24, 1.3, 1.36, 1.42]
    assert walk(FirstBlockCache(steps=20, threshold=0.15), sizes) == [1, 0, 0, 1, 0, 0, 1, 0]


def test_a_skipped_step_gets_the_residual_of_the_last_full_one():
    cache = FirstBlockCache(steps=20, threshold=0.15)
    walk(cache, [1.0, 2.0])
    assert cache.lookup(2, torch.full((1, 6, 8), 2.1)).unique().tolist() == [1.0]


def test_the_first_and_the_last_step_always_run():
    assert walk(FirstBlockCache(steps=5), [1.0] * 5) == [1, 0, 0, 0, 1]


def test_a_threshold_of_zero_runs_every_step():
    assert walk(FirstBlockCache(steps=5, threshold=0.0), [1.0] * 5) == [1] * 5
