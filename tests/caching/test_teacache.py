import pytest
import torch

from framepack.caching import CACHES, TeaCache
from framepack.caching.change import relative_change
from framepack.caching.teacache import rescaled

RESIDUAL = torch.full((1, 4, 8), 2.0)


def walk(cache, signals):
    """Run the cache as the transformer does; returns 1 where the blocks ran."""
    for step, signal in enumerate(signals):
        if cache.lookup(step, signal) is None:
            cache.store(RESIDUAL + step)
    return [int(ran) for ran in cache.ran]


def growing(changes):
    """Signals whose relative change from one to the next is exactly the one given."""
    signals = [torch.ones(1, 6, 8, dtype=torch.float64)]
    for change in changes:
        signals.append(signals[-1] * (1 + change))
    return signals


def test_the_polynomial_has_the_published_values():
    assert rescaled(0.0) == pytest.approx(0.0961237896)
    assert rescaled(0.1) == pytest.approx(0.0733226126 - 0.401131952 + 0.675869174 - 0.31498780 + 0.0961237896)


def test_relative_change_is_the_mean_move_over_the_mean_size():
    previous = torch.tensor([[1.0, -3.0], [2.0, 2.0]])
    signal = torch.tensor([[2.0, -3.0], [2.0, 1.0]])
    assert relative_change(signal, previous) == pytest.approx(0.25)


def test_relative_change_of_bfloat16_is_summed_in_float32():
    previous = torch.ones(1, 3000, 64, dtype=torch.bfloat16)
    signal = previous.clone()
    signal[:, :1500] = 1.25
    assert relative_change(signal, previous) == pytest.approx(0.125, rel=1e-5)


def test_a_still_signal_runs_every_second_step_because_two_estimates_of_0_096_pass_0_15():
    assert walk(TeaCache(steps=9), growing([0.0] * 8)) == [1, 0, 1, 0, 1, 0, 1, 0, 1]


def test_changes_add_up_until_the_threshold_and_start_again():
    """rescaled(0.03) is 0.0522, so the sums are 0.052, 0.104, 0.157: two steps of three are skipped."""
    assert rescaled(0.03) == pytest.approx(0.0005939 - 0.0108306 + 0.0608282 - 0.0944963 + 0.0961238, abs=1e-6)
    assert walk(TeaCache(steps=10), growing([0.03] * 9)) == [1, 0, 0, 1, 0, 0, 1, 0, 0, 1]


def test_a_big_change_runs_the_blocks_at_once():
    assert rescaled(0.5) > 0.15
    assert walk(TeaCache(steps=6), growing([0.5] * 5)) == [1] * 6


def test_a_change_is_measured_against_the_step_before_whether_it_ran_or_not():
    """0.03 twice and back: against the last full step the change would be nil, against the step before it is not."""
    signals = growing([0.03, 0.03])
    assert walk(TeaCache(steps=9), [*signals, signals[0], signals[0]]) == [1, 0, 0, 1, 0]


def test_the_last_step_runs_even_where_its_turn_has_not_come():
    assert walk(TeaCache(steps=3), growing([0.0, 0.03])) == [1, 0, 1]
    assert walk(TeaCache(steps=2), growing([0.0])) == [1, 1]
    assert walk(TeaCache(steps=1), growing([])) == [1]


def test_a_skipped_step_gets_the_residual_of_the_last_step_that_ran():
    cache = TeaCache(steps=9)
    signals = growing([0.0] * 8)
    walk(cache, signals[:3])
    assert torch.equal(cache.lookup(3, signals[3]), RESIDUAL + 2)


def test_a_threshold_of_zero_runs_every_step_and_a_huge_one_only_the_first_and_last():
    assert walk(TeaCache(steps=5, threshold=0.0), growing([0.01] * 4)) == [1] * 5
    assert walk(TeaCache(steps=5, threshold=100.0), growing([0.01] * 4)) == [1, 0, 0, 0, 1]


def test_a_broken_signal_runs_the_blocks_rather_than_hiding_it():
    signals = growing([0.0] * 4)
    signals[2] = signals[2] * float("nan")
    assert walk(TeaCache(steps=9), signals) == [1, 0, 1, 1, 0]


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
@pytest.mark.parametrize("name", ["teacache", "first-block"])
def test_a_threshold_below_zero_is_refused(name, threshold):
    with pytest.raises(ValueError, match="threshold must be 0"):
        CACHES[name](steps=5, threshold=threshold)


def test_every_cache_by_name_makes_a_fresh_one_or_none():
    assert CACHES["none"](steps=5, threshold=0.15) is None
    for name in ("teacache", "first-block"):
        first, second = (CACHES[name](steps=5, threshold=0.15) for _ in range(2))
        assert first is not second
        assert first.lookup(0, torch.ones(1, 2, 3)) is None
