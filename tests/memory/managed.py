"""The rig's module in the care of a manager: on a pretended device, on loan, its sizes."""

from operator import attrgetter

from rig import RacyCopyStream, inputs, net

from framepack.memory import MemoryManager
from framepack.memory.weight_blocks import split


def sizes(module):
    weight_blocks = split(module, module.blocks, module.once)
    return weight_blocks.rest.nbytes, [u.nbytes for u in weight_blocks.blocks], [u.nbytes for u in weight_blocks.once]


REST, BLOCKS, ONCE = sizes(net())


def pretend(limit, seed=0, **options):
    """A manager of a pretended device of `limit` bytes, with a copy stream of its own."""
    return MemoryManager("cpu", vram_limit=limit, copy_stream=RacyCopyStream(seed), **{"preserve": 0, **options})


def add(memory, name, module, **options):
    memory.add(name, module, blocks=attrgetter("blocks"), once=attrgetter("once"), **options)


def run(memory, name, steps=3):
    """What `expected` computes, on loan."""
    x, vector = inputs()
    with memory.lease(name, once=True) as module:
        table = module.condition(vector)
    with memory.lease(name) as module:
        for _ in range(steps):
            x = module(x, table)
    return x
