"""What --reference and --restate do with mini: how far a video moves towards another picture, and how far it drifts.

python benchmarks/reference_effect.py [--sections 6] [--side 80] [--models mini mini-f1]

A row is one video of "the camera pans left". The reference is the start picture itself, or another one. towards: of the
colour from the start picture's mean to the other's, the share that the video moved beyond the one without (per cent);
distance: to the start picture (levels, mean of the last third of the sections); sharpness: of the same sections.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import framepack
from framepack import FramePack, GenerationRequest, Look
from framepack.media.image import load_image
from framepack.pipeline.engine import SectionResult

EXAMPLES = Path(__file__).parents[1] / "examples"
START, OTHER = EXAMPLES / "harbour.jpg", EXAMPLES / "ball.jpg"
WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "the start, 1": {"reference": {"image": START, "strength": 1}},
    "another, 0.25": {"reference": {"image": OTHER, "strength": 0.25}},
    "another, 1": {"reference": {"image": OTHER, "strength": 1}},
    "restate 1": {"restate": 1},
    "restate 3": {"restate": 3},
}


def looks(model: FramePack, folder: Path, sections: int, side: int, way: dict[str, Any]) -> list[Look]:
    """Of the last third of a video's sections, in the order they are made."""
    request = GenerationRequest.model_validate(
        {"image": START, "prompt": "the camera pans left", "model": model.model, "length": "sections", **way}
        | {"seconds": 1.2 * sections, "width": side, "height": side, "output": {"path": folder / "v.mkv"}}
    )
    found = [made.look for made in model.sections(request) if isinstance(made, SectionResult) and made.look]
    return found[-max(sections // 3, 1) :]


def mean(found: list[Look], name: str) -> Any:
    """Of a number, or of the colour."""
    return np.mean([getattr(look, name) for look in found], axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=6)
    parser.add_argument("--side", type=int, default=80)
    parser.add_argument("--models", nargs="+", default=["mini", "mini-f1"])
    args = parser.parse_args()
    apart = np.subtract(*(load_image(file).mean(axis=(0, 1)) for file in (OTHER, START)))
    print("| model | reference or restate | towards | distance | sharpness |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            model = framepack.load(name)
            plain: Any = None
            for title, way in WAYS.items():
                found = looks(model, Path(folder), args.sections, args.side, way)
                plain = mean(found, "colour") if plain is None else plain
                towards = float((mean(found, "colour") - plain) @ apart / (apart @ apart))
                cells = (name, title, f"{towards:.0%}", *(f"{mean(found, n):.3g}" for n in ("distance", "sharpness")))
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
