import random

import pytest
import torch
from rig import RacyCopyStream, expected, inputs, net
from torch import nn
from transformers import LlamaConfig, LlamaModel

from framepack.memory import DynamicSwapInstaller
from framepack.memory.copy_streams import HostCopyStream


def state(module):
    return {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 20])
@pytest.mark.parametrize("seed", range(3))
def test_streaming_computes_the_same_bits_as_resident_weights(slots, seed):
    truth = expected(net())
    module, copy_stream = net(), RacyCopyStream(seed)
    for block in module.blocks:
        block.register_forward_hook(lambda block, args, output: copy_stream.use(block.up.weight))
    with DynamicSwapInstaller(module.blocks, copy_stream, slots=slots):
        assert torch.equal(expected(module), truth)
    assert copy_stream.host_waits == 0


@pytest.mark.parametrize("seed", range(20))
def test_any_order_and_any_skipping_of_blocks_computes_the_same_bits(seed):
    generator = random.Random(seed)
    skips = [frozenset(generator.sample(range(7), generator.randint(0, 7))) for _ in range(8)]
    x, vector = inputs()
    module = net()
    table = module.condition(vector)
    truth = [module(x, table, skip) for skip in skips]
    with DynamicSwapInstaller(module.blocks, RacyCopyStream(seed), slots=generator.randint(1, 4)):
        table = module.condition(vector)
        assert all(torch.equal(module(x, table, s), t) for s, t in zip(skips, truth, strict=True))


def test_a_llama_streams_to_the_same_bits():
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=5, num_attention_heads=4, vocab_size=50
    )
    torch.manual_seed(0)
    llama = LlamaModel(config).eval()
    tokens = torch.randint(0, 50, (1, 9))
    with torch.no_grad():
        truth = llama(tokens, output_hidden_states=True).hidden_states[-3]
        with DynamicSwapInstaller(llama.layers, RacyCopyStream(0)):
            assert torch.equal(llama(tokens, output_hidden_states=True).hidden_states[-3], truth)
        assert torch.equal(llama(tokens, output_hidden_states=True).hidden_states[-3], truth)


def test_streaming_works_where_tensors_are_made_in_inference_mode():
    truth = expected(net())
    module = net()
    with torch.inference_mode():
        swap = DynamicSwapInstaller(module.blocks, "cpu").install()
        assert torch.equal(expected(module), truth)
    swap.uninstall()
    assert not module.blocks[0].up.weight.is_inference()
    assert torch.equal(expected(module), truth)


def test_uninstall_leaves_identity_values_and_no_hooks():
    module = net()
    before = [id(p) for p in module.parameters()]
    values = state(module)
    swap = DynamicSwapInstaller(module.blocks, "cpu").install()
    expected(module)
    swap.uninstall()
    swap.uninstall()
    assert [id(p) for p in module.parameters()] == before
    assert all(torch.equal(tensor, values[name][1]) for name, tensor in module.state_dict().items())
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in module.blocks)
    assert swap.device_bytes == 0


class Log(HostCopyStream):
    """Writes down which slot is filled and when the computation waits."""

    def __init__(self):
        super().__init__("cpu")
        self.events = []

    def copy(self, target, source, after):
        self.events.append(("copy", target.data_ptr()))
        super().copy(target, source, after)


def test_blocks_are_fetched_ahead_in_their_order_into_slots_in_turn_across_steps():
    module, copy_stream = net(count=5), Log()
    swap = DynamicSwapInstaller(module.blocks, copy_stream, slots=3)
    order = {id(weight_block.host): index for index, weight_block in enumerate(swap.weight_blocks)}
    fetched, ran = [], []
    for weight_block in swap.weight_blocks:
        fill = weight_block.fill
        weight_block.fill = lambda flat, *rest, weight_block=weight_block, fill=fill: (
            fetched.append((order[id(weight_block.host)], flat.data_ptr(), len(ran))),
            fill(flat, *rest),
        )[1]
    for index, block in enumerate(module.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    swap.install()
    x, vector = inputs()
    table = module.condition(vector)
    for _ in range(3):
        x = module(x, table)
    swap.uninstall()
    assert [index for index, _, _ in fetched] == [i % 5 for i in range(len(fetched))]
    assert len({slot for _, slot, _ in fetched}) == 3
    assert [slot for _, slot, _ in fetched[3:]] == [slot for _, slot, _ in fetched[:-3]]
    # a block is on its way as soon as a slot is free: two blocks before the one that runs
    assert all(runs == max(0, place - 2) for place, (_, _, runs) in enumerate(fetched))
    assert len(fetched) == 3 * 5 + 3


def test_bytes_of_a_step_are_those_of_the_streamed_blocks():
    module = net()
    with DynamicSwapInstaller(module.blocks, "cpu", slots=2) as swap:
        before = swap.bytes_copied
        expected(module, steps=1)
        assert swap.bytes_copied - before == sum(weight_block.nbytes for weight_block in swap.weight_blocks)


def test_what_fits_the_slots_is_copied_once():
    module = net(count=3)
    with DynamicSwapInstaller(module.blocks, "cpu", slots=3) as swap:
        expected(module, steps=4)
        assert swap.bytes_copied == sum(weight_block.nbytes for weight_block in swap.weight_blocks)


def test_an_error_inside_a_block_leaves_streaming_usable():
    truth = expected(net())
    module = net()
    fail = {4}

    def explode(block, args):
        if fail:
            fail.clear()
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = module.blocks[4].up.register_forward_pre_hook(explode)
    with DynamicSwapInstaller(module.blocks, RacyCopyStream(0), slots=2) as swap:
        with pytest.raises(torch.OutOfMemoryError):
            expected(module)
        assert not any(slot.busy for slot in swap.slots)
        assert torch.equal(expected(module), truth)
    handle.remove()


def test_a_failed_copy_is_raised_once_and_the_block_fetched_again():
    truth = expected(net())
    module = net()
    with DynamicSwapInstaller(module.blocks, "cpu", slots=2) as swap:
        fill, fail = swap.weight_blocks[3].fill, [True]

        def broken(*args):
            def wait_for():
                if fail:
                    fail.clear()
                    raise OSError("disk is gone")

            fill(*args)
            return wait_for

        swap.weight_blocks[3].fill = broken
        with pytest.raises(OSError, match="disk is gone"):
            expected(module)
        assert torch.equal(expected(module), truth)


def test_streaming_refuses_to_be_differentiated():
    module = net()
    x, vector = inputs()
    table = module.condition(vector)
    with DynamicSwapInstaller(module.blocks, "cpu"), pytest.raises(AssertionError, match="backward"):
        module(x.requires_grad_(), table)


def test_slots_must_be_at_least_one():
    with pytest.raises(ValueError, match="slots must be at least 1, got 0"):
        DynamicSwapInstaller([nn.Linear(2, 2)], "cpu", slots=0)
