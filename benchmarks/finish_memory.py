"""Memory of `framepack finish` along a long video: python benchmarks/finish_memory.py [FRAMES] [STEPS AS JSON].

A 608x640 video of 300 s (9,000 frames) is finished with all filters; printed is the process's resident memory at frame
600 and at the end, and the pace. The source is one clip joined to itself, which costs no encoding.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from framepack import finish_video
from framepack.media.finishing import Progress
from framepack.media.join import join_segments
from framepack.media.video import VideoWriter

SIZE, CLIP, EARLY = (608, 640), 150, 600
STEPS = {"deflicker": 5, "denoise": 0.3, "sharpen": 0.3, "contrast": 1.1, "saturation": 0.9, "grain": 0.1}


def source(folder: Path, frames: int) -> Path:
    """A clip of moving waves, joined to itself."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    with VideoWriter(folder / "clip.mp4", size=SIZE, metadata='{"request": {}}') as writer:
        for number in range(CLIP):
            waves = [128 + 90 * np.sin((x + 3 * number) / s + y / (s + 9)) for s in (21, 33, 47)]
            writer.write(np.stack(waves, -1).astype(np.uint8))
    join_segments([folder / "clip.mp4"] * (frames // CLIP), folder / "long.mp4", metadata='{"request": {}}')
    return folder / "long.mp4"


def main() -> None:
    """Run it, print what was measured."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    steps = json.loads(sys.argv[2]) if len(sys.argv) > 2 else STEPS
    process, early = psutil.Process(), 0
    with tempfile.TemporaryDirectory() as folder:
        file = source(Path(folder), frames)
        began = time.monotonic()
        said = Progress(frames=0, total=0)
        for said in finish_video(file, steps, Path(folder) / "out.mp4"):
            if isinstance(said, Progress) and said.frames == EARLY:
                early = process.memory_info().rss
        late = process.memory_info().rss
        seconds = time.monotonic() - began
        size = (Path(folder) / "out.mp4").stat().st_size
    print(
        f"{said}: {early / 2**20:.1f} MB at frame {EARLY}, {late / 2**20:.1f} MB at the end, difference "
        f"{(late - early) / 2**20:+.1f} MB; {frames / seconds:.1f} frames a second; {size / 2**20:.1f} MB written"
    )


if __name__ == "__main__":
    main()
