"""A ten-minute video of one picture, with the real models: does a section cost the same at the end, and how far is it?

    python benchmarks/ten_minutes.py FOLDER [--model mini] [--sections 500] [--side 64] [--guard 0.5] [--steps 1]

Runs one job with its work folder, and prints: processor time of a section (median of the last 50 over that of sections
5 to 54), bytes written a section (the same two), resident memory, and the look of each minute in the order of time.
FOLDER gets the video, a row a section (sections.json) and a contact sheet, a frame each 20 s. With `--look FOLDER` what
was measured is only shown again.
"""

import argparse
import json
import platform
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import psutil
import torch

import framepack
from framepack import GenerationRequest
from framepack.media.marks import MARKED
from framepack.media.read import read_video
from framepack.media.sheet import contact_sheet, save_png
from framepack.spec.events import SectionDone

PICTURE = Path(__file__).parents[1] / "examples" / "harbour.jpg"
EARLY, LATE = slice(4, 54), slice(-51, -1)
"""Sections 5 to 54, and the last 50 but for the very last, which also closes the file."""
MINUTE = 50
"""Sections of 1.2 s."""
SHOWN = 600
"""Frames between two on the contact sheet."""


def run(request: GenerationRequest, folder: Path) -> list[dict[str, Any]]:
    """A row for each section, in the order they are made."""
    process, rows = psutil.Process(), list[dict[str, Any]]()
    model = framepack.load(request.model)
    worked, written, clock = time.process_time(), process.io_counters(), time.monotonic()
    for event in model.generate(request, work=folder / "work"):
        if isinstance(event, SectionDone):
            now, put = time.process_time(), process.io_counters()
            rows.append(
                {
                    "cpu": now - worked,
                    "seconds": time.monotonic() - clock,
                    "bytes": put.write_chars - written.write_chars,
                    "disk": put.write_bytes - written.write_bytes,
                    "memory": process.memory_info().rss,
                    "look": asdict(event.look) if event.look else None,
                }
            )
            worked, written, clock = time.process_time(), put, time.monotonic()
            (folder / "sections.json").write_text(json.dumps(rows), encoding="utf-8")
    return rows


def show(rows: list[dict[str, Any]], inverted: bool) -> None:
    """The two tables."""
    print("| | sections 5 to 54 | last 50 | ratio |\n|---|---|---|---|")
    for name, unit in (("cpu", 1), ("bytes", 1000), ("disk", 1000), ("memory", 1e6)):
        early, late = (median(row[name] for row in rows[part]) / unit for part in (EARLY, LATE))
        print(f"| {name} | {early:.3g} | {late:.3g} | {late / early if early else 0:.3f} |")
    looks = [row["look"] for row in (rows[::-1] if inverted else rows)]
    print("\n| minute | colour | contrast | sharpness | distance |\n|---|---|---|---|---|")
    for begin in range(0, len(looks), MINUTE):
        part = looks[begin : begin + MINUTE]
        colour = " ".join(f"{value:.0f}" for value in np.mean([look["colour"] for look in part], axis=0))
        numbers = (f"{mean(look[name] for look in part):.1f}" for name in ("contrast", "sharpness", "distance"))
        print("| " + " | ".join((str(begin // MINUTE + 1), colour, *numbers)) + " |")


def main() -> None:
    """Run, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--sections", type=int, default=500)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--guard", type=float, default=0.0)
    parser.add_argument("--prompt", default="the camera pans left")
    parser.add_argument("--look", action="store_true")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    request = GenerationRequest.model_validate(
        {"image": PICTURE, "prompt": args.prompt, "model": args.model, "guard": args.guard, "length": "sections"}
        | {"seconds": 1.2 * args.sections, "width": args.side, "height": args.side, "steps": args.steps}
        | {"output": {"path": args.folder / "video.mp4"}}
    )
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    rows = json.loads((args.folder / "sections.json").read_text()) if args.look else run(request, args.folder)
    took = sum(row["seconds"] for row in rows)
    print(f"{args.model}, {len(rows)} sections, {args.side} pixels, guard {args.guard:g}, {took:.0f} s")
    show(rows, inverted="f1" not in args.model)
    frames = [frame for at, frame in enumerate(read_video(args.folder / "video.mp4")) if at % SHOWN == 0]
    labels = [f"{20 * number} s" for number in range(len(frames))]
    save_png(args.folder / "sheet.png", contact_sheet(frames, 10, labels=labels), MARKED)


if __name__ == "__main__":
    main()
