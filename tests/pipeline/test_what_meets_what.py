"""Each pair of tasks and controls works on tiny checkpoints, or is refused in one sentence; docs/control.md says so."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from runs import request_of

from framepack import FramePack
from framepack.media.video import VideoWriter
from framepack.spec.events import Finished

DOCS = Path(__file__).parents[2] / "docs" / "control.md"
TASKS = ("extend", "lead-in", "bridge", "loop", "restyle")
CONTROLS = ("mask", "keyframes", "end frame", "timed prompts", "motion", "F1", "inverted")
REFUSED = {
    ("extend", "inverted"): "extend needs an end frame",
    ("lead-in", "end frame"): "has no end frame",
    ("lead-in", "F1"): "no slots for what comes later",
    ("bridge", "end frame"): "has no end frame",
    ("bridge", "mask"): "leave the mask out",
    ("bridge", "F1"): "no slots for what comes later",
    ("loop", "end frame"): "has no end frame",
    ("loop", "F1"): "no slots for what comes later",
    ("keyframes", "F1"): "no slot for a later frame",
    ("end frame", "F1"): "no slot for a later frame",
}
"""Pairs that are refused, and of the sentence what says why. All others work."""
NEVER = {("F1", "inverted"), *combinations(TASKS, 2)}
"""A request has one task and one model."""
PAIRS = [
    pair for pair in combinations((*TASKS, *CONTROLS), 2) if pair not in NEVER
]  # fmt: skip


def table() -> str:
    """As docs/control.md has it: a row for each task and control, a column for each control."""
    lines = [f"| | {' | '.join(CONTROLS)} |", f"|---|{'---|' * len(CONTROLS)}"]
    for row in (*TASKS, *CONTROLS[:-2]):
        cells = ["yes" if (row, c) not in REFUSED else "refused" if (row, c) in PAIRS else "" for c in CONTROLS]
        cells = [cell if (row, c) in PAIRS else "" for cell, c in zip(cells, CONTROLS, strict=True)]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    pixels = np.random.default_rng(5).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    with VideoWriter(folder / "clip.mkv", size=(32, 32)) as writer:
        writer.write(pixels)
    Image.fromarray(pixels[0]).save(folder / "a.png")
    half = np.zeros((32, 32), np.uint8)
    half[:16] = 255
    Image.fromarray(half).save(folder / "mask.png")
    return {"clip": folder / "clip.mkv", "picture": folder / "a.png", "mask": folder / "mask.png"}


def having(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """The fields of a request with this task or control."""
    clip, picture = files["clip"], files["picture"]
    return {
        "extend": {"task": "extend", "image": clip, "model": "mini-f1"},
        "lead-in": {"task": "lead_in", "image": clip},
        "bridge": {"task": "bridge", "image": clip, "target": clip},
        "loop": {"task": "loop"},
        "restyle": {"task": "restyle", "image": clip},
        "mask": {"motion_mask": files["mask"]},
        "keyframes": {"frames": [{"image": picture, "second": 0.15}]},
        "end frame": {"end_frame": {"image": picture}},
        "timed prompts": {"prompts": [{"second": 0.1, "text": "pan up"}]},
        "motion": {"motion": 0.5},
        "F1": {"model": "framepack-f1"},
        "inverted": {"model": "framepack"},
    }[name]


@pytest.fixture(scope="module")
def models(tiny_models_dir: Path) -> dict[str, FramePack]:
    names = ("mini", "mini-f1", "framepack", "framepack-f1")
    return {name: FramePack.load(name, models_dir=tiny_models_dir, dtype="float32", device="cpu") for name in names}


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_each_pair_works_or_is_refused(pair: tuple[str, str], files: dict, models: dict, tmp_path: Path) -> None:
    small = {"model": "mini", "steps": 1, "seconds": 0.4, "length": "exact", "window": 3}
    fields = small | having(pair[0], files) | having(pair[1], files)
    image = fields.pop("image", files["picture"])
    if pair in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[pair]) as refused:
            request_of(image, tmp_path / "v.mkv", **fields)
        assert str(refused.value).count("\n") == 0
        return
    request = request_of(image, tmp_path / "v.mkv", **fields)
    *_, finished = models[request.model].generate(request)
    assert isinstance(finished, Finished)
    source = 6  # frames; a video is restyled as far as it goes
    assert finished.frames >= (source if request.task == "restyle" else request.frame_count)


def test_the_documents_say_what_is_tested() -> None:
    assert table() in DOCS.read_text("utf-8")
