import pytest
import torch

from framepack.sampling import SAMPLERS, make_sigmas

every_sampler = pytest.mark.parametrize("name", SAMPLERS)


@every_sampler
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_every_sampler_yields_each_step_once_with_one_call(name, steps, gaussian, reference_noise):
    problem = gaussian(make_sigmas(steps, 432))
    done = list(SAMPLERS[name](problem.denoise, reference_noise, problem.sigmas))
    assert [step.index for step in done] == problem.calls == list(range(steps))
    assert all(step.x.shape == step.denoised.shape == reference_noise.shape for step in done)


@every_sampler
def test_every_sampler_is_lazy(name, gaussian, reference_noise):
    problem = gaussian(make_sigmas(5, 432))
    run = SAMPLERS[name](problem.denoise, reference_noise, problem.sigmas)
    assert problem.calls == []
    next(run)
    assert problem.calls == [0]
    next(run)
    assert problem.calls == [0, 1]


@every_sampler
def test_every_sampler_follows_a_constant_prediction_on_a_straight_line(name, reference_noise):
    target, sigmas = torch.full_like(reference_noise, 0.3), make_sigmas(6, 432)
    for step in SAMPLERS[name](lambda x, i: target, reference_noise, sigmas):
        line = sigmas[step.index] * reference_noise + (1 - sigmas[step.index]) * target
        assert torch.allclose(step.x, line, atol=1e-6)


@every_sampler
def test_every_sampler_comes_close_to_the_exact_path_in_60_steps(name, gaussian, reference_noise):
    problem = gaussian(make_sigmas(60, 432))
    *_, last = SAMPLERS[name](problem.denoise, reference_noise, problem.sigmas)
    sigma = problem.sigmas[-2].item()
    assert torch.allclose(last.x, problem.exact(reference_noise, sigma), atol=0.05)


@every_sampler
def test_every_sampler_leaves_the_noise_and_the_predictions_as_they_were(name, gaussian, reference_noise):
    problem, predictions = gaussian(make_sigmas(5, 432)), []
    noise = reference_noise.clone()

    def remember(x, step):
        denoised = problem.denoise(x, step)
        predictions.append((denoised, denoised.clone()))
        return denoised

    list(SAMPLERS[name](remember, noise, problem.sigmas))
    assert torch.equal(noise, reference_noise)
    assert all(torch.equal(now, then) for now, then in predictions)


def test_euler_is_of_first_order_and_dpmpp_2m_of_second(observed_order):
    assert observed_order(SAMPLERS["euler"]) == pytest.approx(1, abs=0.1)
    assert observed_order(SAMPLERS["dpm++2m"]) == pytest.approx(2, abs=0.15)


def test_euler_moves_along_the_velocity(gaussian, reference_noise):
    problem = gaussian(make_sigmas(3, 432))
    first, second, _ = SAMPLERS["euler"](problem.denoise, reference_noise, problem.sigmas)
    velocity = (first.x - first.denoised) / problem.sigmas[0]
    expected = first.x + (problem.sigmas[1] - problem.sigmas[0]) * velocity
    assert torch.allclose(second.x, expected, atol=1e-6)


def test_dpmpp_2m_with_two_steps_is_euler(gaussian, reference_noise):
    problem = gaussian(make_sigmas(2, 432))
    *_, second_order = SAMPLERS["dpm++2m"](problem.denoise, reference_noise, problem.sigmas)
    *_, first_order = SAMPLERS["euler"](problem.denoise, reference_noise, problem.sigmas)
    assert torch.allclose(second_order.denoised, first_order.denoised, atol=1e-6)


def test_sigmas_that_rise_are_refused(reference_noise):
    with pytest.raises(AssertionError, match="sigmas must fall"):
        next(SAMPLERS["euler"](lambda x, i: x, reference_noise, torch.tensor([0.5, 1.0, 0.0])))
