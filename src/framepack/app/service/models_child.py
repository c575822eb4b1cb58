"""The child's half of `models_here`: which models are not complete, and what they lack, as one JSON object.

Started as `python -m framepack.app.service.models_child [MODELS_DIR]`, since looking into checkpoints loads torch.
"""

import json
import os
import sys
from pathlib import Path

POLITE = 10
"""By how much its priority is lower than the service's."""


def main() -> None:
    """Looks, and answers {model: bytes to fetch} of those that are not here."""
    if hasattr(os, "nice"):
        os.nice(POLITE)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not become part of the answer
    answers.write(json.dumps(lacking(Path(sys.argv[1]) if len(sys.argv) > 1 else None)))
    answers.close()


def lacking(models_dir: Path | None) -> dict[str, int]:
    """Bytes to fetch of each model that is not complete."""
    from framepack.spec.variants import VARIANTS
    from framepack.weights.sources import ModelSource, locate, to_fetch

    found = {name: locate(variant, ModelSource(models_dir=models_dir)) for name, variant in VARIANTS.items()}
    return {name: to_fetch(places) for name, places in found.items() if any(place.missing for place in places)}


if __name__ == "__main__":
    main()
