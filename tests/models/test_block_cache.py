"""How the transformer talks to a block cache."""

import math

import torch
from oracle import case, distance, packed, pair, table

from framepack.models.layers import modulated_norm


class Recorder:
    """Reuses when told to; remembers what it was asked and given."""

    def __init__(self, probe_blocks: int = 0) -> None:
        self.probe_blocks = probe_blocks
        self.reuse = False
        self.residual = None
        self.asked = []

    def lookup(self, step, signal):
        self.asked.append((step, signal))
        return self.residual if self.reuse else None

    def store(self, residual):
        self.residual = residual


def test_a_cache_that_never_reuses_changes_nothing():
    ours, c = pair()[1], case(2, 3, lengths=(9, 5))
    step, context = table(ours, c).step(0), packed(ours, c)
    for probe in (0, 1, 3):
        assert torch.equal(ours(c.x, step, context, Recorder(probe)), ours(c.x, step, context))


def test_reusing_the_residual_of_the_same_input_gives_the_same_velocity():
    ours, c = pair()[1], case(2, 3, lengths=(9, 5))
    step, context = table(ours, c).step(0), packed(ours, c)
    for probe in (0, 1, 3):
        cache = Recorder(probe)
        ran = ours(c.x, step, context, cache)
        cache.reuse = True
        assert distance(ours(c.x, step, context, cache), ran) <= 1e-5
        assert cache.residual.shape == (2, math.prod(context.shape) // 4, 32)


def test_a_reused_step_runs_only_the_probe_blocks():
    ours, c = pair()[1], case()
    step, context = table(ours, c).step(0), packed(ours, c)
    runs = []
    for block in ours.blocks:
        block.register_forward_hook(lambda *_: runs.append(1))
    for probe in (0, 1):
        cache = Recorder(probe)
        ours(c.x, step, context, cache)
        cache.reuse = True
        runs.clear()
        ours(c.x, step, context, cache)
        assert len(runs) == probe


def test_the_signal_is_the_first_blocks_modulated_norm_of_all_video_tokens():
    ours, c = pair()[1], case()
    steps, context = table(ours, c, torch.tensor([900.0, 200.0])), packed(ours, c)
    cache = Recorder()
    seen = []
    block = ours.transformer_blocks[0]
    block.attn.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    ours(c.x, steps.step(1), context, cache)
    index, signal = cache.asked[0]
    assert index == 1
    assert signal.shape == (1, len(context.rope), 32)
    torch.testing.assert_close(signal, seen[0])


def test_the_signal_of_a_first_block_cache_is_what_that_block_added():
    ours, c = pair()[1], case()
    context = packed(ours, c)
    cache = Recorder(probe_blocks=1)
    seen = []
    ours.blocks[0].register_forward_hook(lambda _module, inputs, output: seen.append(output - inputs[0]))
    ours(c.x, table(ours, c).step(0), context, cache)
    torch.testing.assert_close(cache.asked[0][1], seen[0][:, : len(context.rope)])


def test_the_norm_for_one_sample_equals_the_norm_for_many():
    tokens, shift, scale = torch.randn(3, 5, 8), torch.randn(3, 8), torch.randn(3, 8)
    together = modulated_norm(tokens, shift, scale)
    for i in range(3):
        torch.testing.assert_close(
            together[i : i + 1], modulated_norm(tokens[i : i + 1], shift[i : i + 1], scale[i : i + 1])
        )
