"""What NAG costs: operations and memory of a 13 B step, counted on the meta device, and a step of mini, timed here.

python benchmarks/nag_cost.py [--rounds 15] [--side 160]

The step with NAG is divided by the one without, and by the two steps of guidance by cfg. A job's ratio is that of its
steps at the default nag_end. Timed are the two in turns; the ratio is the median over the turns.
"""

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

import torch

import framepack
from framepack import GenerationRequest
from framepack.models.families import FAMILIES
from framepack.models.nag import Nag
from framepack.models.packing import ContextLatents
from framepack.pipeline.estimate import Estimator
from framepack.pipeline.job_costs import JobCosts, job_of
from framepack.pipeline.stages import Modes
from framepack.spec.plan import plan
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import choose_precision
from framepack.weights.meta import MetaModels

PROMPT = "The girl dances gracefully, with clear movements, full of charm."
NEGATIVE = "blurry, distorted hands, low quality, shaking camera"
SIZE = (544, 704)


def request_of(model: str, **fields: Any) -> GenerationRequest:
    """One section's worth."""
    settings = {"image": "a.png", "model": model, "prompt": PROMPT, "negative_prompt": NEGATIVE, "steps": 25}
    return GenerationRequest.model_validate({**settings, "width": SIZE[1], "height": SIZE[0], **fields})


@torch.no_grad()
def counted() -> None:
    """Operations and activations at 544 x 704."""
    family = FAMILIES["hunyuan"]
    assert family.shapes is not None
    places = {name: family.shapes / name for name in VARIANTS["framepack"].repositories}
    estimator = Estimator(
        MetaModels(family, places, choose_precision("meta", "bfloat16")), torch.device("cuda"), here=False
    )

    def cost(chunk_size: int | None, **fields: Any) -> tuple[int, int]:
        request = request_of("framepack", **fields)
        job = job_of(request, plan(request), SIZE)
        made = JobCosts(estimator.run, estimator.stages, estimator.models, job).cost(
            "sample", Modes(chunk_size=chunk_size)
        )
        return made.flops, made.activations

    plain, small = cost(None), cost(1024)
    always, usual = cost(None, nag=5, nag_end=0), cost(None, nag=5)
    print(f"13 B, {SIZE[1]}x{SIZE[0]}: a step {plain[0] / 1e12:.0f} TFLOP, with NAG {always[0] / plain[0]:.3f} times;")
    print(f"a job of 25 steps, nag_end 0.75: {usual[0] / plain[0]:.3f} (cfg: 2)")
    print(f"activations {plain[1] / 1e6:.0f} MB, with NAG {always[1] / 1e6:.0f} MB;", end=" ")
    print(f"1024 tokens at a time {small[1] / 1e6:.0f} and {cost(1024, nag=5)[1] / 1e6:.0f} MB")


@torch.inference_mode()
def timed(rounds: int, side: int) -> None:
    """A step of mini on this machine."""
    model = framepack.load("mini")
    size = side // 8
    with model.memory.lease("text") as text:
        words = [text.encode(said) for said in (PROMPT, NEGATIVE)]
    with model.memory.lease("transformer", once=True) as transformer:
        scale = torch.tensor([10_000.0])
        tables = [
            transformer.condition(torch.tensor([900.0]), scale, said.pooled, said.text, None, None) for said in words
        ]
    channels = transformer.config.in_channels
    spans = [(1, [0]), (1, [19]), (2, [20, 21]), (4, list(range(22, 38)))]
    context = [
        ContextLatents(latents=torch.randn(1, channels, len(at), size, size), at=at, scale=scale)  # pyright: ignore[reportArgumentType]
        for scale, at in spans
    ]
    with model.memory.lease("transformer") as transformer:
        packed = transformer.pack(context, range(10, 19), (9, size, size))
        x = torch.randn(1, channels, 9, size, size)
        table = replace(tables[0], negative=tables[1].text)

        def seconds(nag: Nag | None) -> float:
            began = time.perf_counter()
            transformer(x, table.step(0, nag), packed)
            return time.perf_counter() - began

        pairs = [(seconds(None), seconds(Nag(scale=5.0))) for _ in range(rounds + 1)][1:]
    ratio = statistics.median(guided / plain for plain, guided in pairs)
    print(f"mini, {side}x{side}, {transformer.dtype}: a step {statistics.median(p for p, _ in pairs):.2f} s,", end=" ")
    print(f"with NAG {ratio:.2f} times that ({rounds} turns, {torch.get_num_threads()} threads)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--side", type=int, default=160)
    args = parser.parse_args()
    counted()
    timed(args.rounds, args.side)


if __name__ == "__main__":
    main()
