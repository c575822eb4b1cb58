"""The bundled model from picture to video on a device, and a contact sheet to look at: does the picture move as told?

python benchmarks/gpu_mini.py [--device cuda] [--seconds 600] [--folder outputs/gpu]
"""

import sys
import time
from itertools import islice
from pathlib import Path

from gpu_rows import FAILURES, Rows, arguments, failure

from framepack import FramePack, GenerationRequest
from framepack.media.read import read_video
from framepack.media.sheet import contact_sheet, save_png
from framepack.spec.events import Finished, Planned

ROOT = Path(__file__).parents[1]
ASKED = {
    "harbour.jpg": ("the camera pans left", "the camera zooms in", "night falls"),
    "ball.jpg": ("the ball moves right",),
}
EVERY = 9
"""Frames between two stills."""


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "gpu")
    args = parser.parse_args()
    rows, stills, labels = Rows(args.rows, args.seconds), [], []
    framepack = FramePack.load("mini", device=args.device)
    for picture, prompts in ASKED.items():
        for prompt in prompts:
            name, file = f"mini: {prompt}", args.folder / f"{prompt.replace(' ', '-')}.mp4"
            if rows.is_late(name):
                continue
            began = time.monotonic()
            try:
                planned = made(framepack, ROOT / "examples" / picture, prompt, file)
                frames = list(islice(read_video(file), 0, None, EVERY))
                stills += frames
                labels += [f"{prompt}, {EVERY * index}" for index in range(len(frames))]
                rows.add(name, seconds=time.monotonic() - began, planned=planned, note=str(file))
            except FAILURES as error:
                rows.add(name, note=failure(error))
            rows.longest = max(rows.longest, time.monotonic() - began)
    if stills:
        sheet = args.folder / "sheet.png"
        columns = len(stills) // len({label.split(",")[0] for label in labels})
        save_png(sheet, contact_sheet(stills, columns, labels=labels))
        rows.add("mini: contact sheet", note=str(sheet))
    return 0


def made(framepack: FramePack, picture: Path, prompt: str, file: Path) -> int:
    """Make the video; the peak that was planned."""
    output = {"path": file, "overwrite": True}
    request = GenerationRequest.model_validate({"image": picture, "prompt": prompt, "seconds": 1.2, "output": output})
    planned = 0
    for event in framepack.generate(request):
        if isinstance(event, Planned):
            planned = max(stage.peak for stage in event.stages)
        last = event
    assert isinstance(last, Finished)
    return planned


if __name__ == "__main__":
    sys.exit(main())
