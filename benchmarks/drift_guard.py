"""How far long videos of mini drift, and what --guard does about it.

python benchmarks/drift_guard.py [--sections 12] [--side 128] [--models mini mini-f1] [--save FILE]

For each model and prompt the same video is made without the guard and with it. A row is one video: how far the last
third of its sections, in the order they are made, lies from the first two (colour: length of the difference of the mean
colours; contrast, sharpness: ratios), the distance to the start picture, and the mean change from one section's colour
to the next, in levels of 0..255.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import framepack
from framepack import FramePack, GenerationRequest
from framepack.pipeline.engine import SectionResult
from framepack.spec.events import Look

EXAMPLES = Path(__file__).parents[1] / "examples"
PROMPTS = ("the camera pans left", "nothing moves", "the camera zooms in")
HEADER = """| model | prompt | guard | colour | contrast | sharpness | distance | step |
|---|---|---|---|---|---|---|---|"""


def looks(model: FramePack, request: GenerationRequest) -> Iterator[Look]:
    """Of each section, in the order they are made."""
    for made in model.sections(request):
        if isinstance(made, SectionResult) and made.look:
            yield made.look


def row(found: list[Look]) -> tuple[float, ...]:
    """Colour, contrast, sharpness, distance and step of a video."""
    colours = np.array([look.colour for look in found])
    first, last = found[:2], found[-max(len(found) // 3, 1) :]

    def ratio(name: str) -> float:
        means = [np.mean([getattr(look, name) for look in part]) for part in (last, first)]
        return float(means[0] / means[1])

    moved = np.linalg.norm(colours[-len(last) :].mean(0) - colours[:2].mean(0))
    steps = np.linalg.norm(np.diff(colours, axis=0), axis=1).mean()
    distance = np.mean([look.distance for look in last if look.distance is not None])
    return float(moved), ratio("contrast"), ratio("sharpness"), float(distance), float(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=12)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--models", nargs="+", default=["mini", "mini-f1"])
    parser.add_argument("--pictures", nargs="+", type=Path, default=[EXAMPLES / "harbour.jpg"])
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    parser.add_argument("--guards", nargs="+", type=float, default=[0.0, 0.5, 1.0])
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    table = [HEADER]
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            model = framepack.load(name)
            for prompt, picture in ((prompt, picture) for prompt in args.prompts for picture in args.pictures):
                for guard in args.guards:
                    request = GenerationRequest.model_validate(
                        {"image": picture, "prompt": prompt, "model": name, "guard": guard, "length": "sections"}
                        | {"seconds": 1.2 * args.sections, "width": args.side, "height": args.side}
                        | {"output": {"path": Path(folder) / "v.mkv"}}
                    )
                    began = time.monotonic()
                    numbers = row(list(looks(model, request)))
                    cells = [name, prompt, f"{guard:g}", *(f"{number:.3g}" for number in numbers)]
                    table.append("| " + " | ".join(cells) + " |")
                    print(table[-1], f"  {time.monotonic() - began:.0f} s", flush=True)
    if args.save:
        args.save.write_text("\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
