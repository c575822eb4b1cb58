from functools import partial

import pytest
import torch

from framepack.sampling import make_sigmas, unipc
from framepack.sampling.unipc import solver_weights


def test_results_equal_the_public_application(numbers, gaussian, reference_noise):
    for case in numbers["unipc"]:
        problem = gaussian(make_sigmas(case["steps"], case["seq_len"]))
        *_, last = unipc(problem.denoise, reference_noise, problem.sigmas, variant=case["variant"])
        difference = (last.denoised.flatten() - torch.tensor(case["result"])).abs().max().item()
        assert difference < 2e-6, (case["steps"], case["seq_len"], case["variant"])


def test_the_two_variants_differ_where_a_single_node_is_used(numbers):
    results = {case["variant"]: case["result"] for case in numbers["unipc"] if case["steps"] == 3}
    assert max(abs(a - b) for a, b in zip(results["bh1"], results["bh2"], strict=True)) > 2e-5


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("max_order", [1, 2])
def test_the_corrector_lifts_the_order_by_one(observed_order, variant, max_order):
    assert observed_order(partial(unipc, variant=variant, max_order=max_order)) == pytest.approx(
        max_order + 1, abs=0.25
    )


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
def test_third_order_is_far_more_exact_than_second(error_at_end, variant):
    """Its order cannot be read off: an error this small is that of the first, lower-order steps."""
    third, second = (error_at_end(partial(unipc, variant=variant, max_order=order), 32) for order in (3, 2))
    assert third < 0.05 * second


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("nodes", [[], [-0.7], [-0.7, -1.9], [-0.7, -1.9, 1.0], [1.0]])
def test_a_step_leaves_a_constant_prediction_where_it_belongs(variant, nodes):
    """If every x0 is the same, x moves on the straight line to it: the weights add up to 1 - sigma'/sigma."""
    weights = solver_weights(nodes, 0.3, variant)
    assert len(weights) == len(nodes) + 1
    assert sum(weights) == pytest.approx(1 - torch.tensor(-0.3).exp().item())


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
def test_a_corrected_step_integrates_a_quadratic_prediction_exactly(variant):
    """x0 = lambda^2 on [0, h]: x' = e^-h times the integral of e^lambda lambda^2, with nodes at r = -1, -2 and 1."""
    h = 0.4
    weights = solver_weights([-1.0, -2.0, 1.0], h, variant)
    stepped = sum(w * (r * h) ** 2 for w, r in zip(weights, [0.0, -1.0, -2.0, 1.0], strict=True))
    e = torch.tensor(-h, dtype=torch.float64).exp().item()
    assert stepped == pytest.approx(h**2 - 2 * h + 2 - 2 * e, abs=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 25])
def test_the_model_is_called_once_a_step_and_never_at_sigma_zero(gaussian, reference_noise, steps):
    problem = gaussian(make_sigmas(steps, 432))
    indices = [step.index for step in unipc(problem.denoise, reference_noise, problem.sigmas)]
    assert problem.calls == indices == list(range(steps))


def test_one_step_returns_the_first_prediction(gaussian, reference_noise):
    problem = gaussian(make_sigmas(1, 432))
    (step,) = unipc(problem.denoise, reference_noise, problem.sigmas)
    assert torch.equal(step.denoised, problem.denoise(reference_noise, 0))
    assert torch.equal(step.x, reference_noise)


def test_a_second_run_and_a_closed_first_one_change_nothing(gaussian, reference_noise):
    problem = gaussian(make_sigmas(6, 432))
    before = reference_noise.clone()
    first = unipc(problem.denoise, reference_noise, problem.sigmas)
    steps = [next(first), next(first), next(first)]
    kept = [(step.x.clone(), step.denoised.clone()) for step in steps]
    first.close()
    again = list(unipc(problem.denoise, reference_noise, problem.sigmas))
    assert torch.equal(reference_noise, before)
    for step, (x, denoised), repeated in zip(steps, kept, again, strict=False):
        assert torch.equal(step.x, x)
        assert torch.equal(repeated.x, x)
        assert torch.equal(repeated.denoised, denoised)


def test_state_is_kept_in_float32_when_noise_and_model_are_in_half_precision(gaussian, reference_noise):
    problem = gaussian(make_sigmas(4, 432))
    steps = list(unipc(lambda x, i: problem.denoise(x, i).bfloat16(), reference_noise.bfloat16(), problem.sigmas))
    assert {step.x.dtype for step in steps} == {step.denoised.dtype for step in steps} == {torch.float32}
