"""Makes what the README and the model card show of the bundled model: a sheet of its vocabulary, and GIFs.

`python examples/show.py [FOLDER]`, without a folder docs/images. Takes about three minutes on two cores.
"""

import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from framepack import FramePack, GenerationRequest
from framepack.media.marks import MARKED
from framepack.media.read import read_video
from framepack.media.sheet import contact_sheet, save_png

HERE = Path(__file__).parent
VOCABULARY = (
    "the camera pans left", "the camera pans right", "the camera tilts up", "the camera tilts down",
    "the camera zooms in", "the camera zooms out", "the camera rolls clockwise", "the camera rolls counterclockwise",
    "the camera sways", "ripples spread like water", "the sun rises", "night falls", "the light gets warmer",
    "the light gets cooler", "a static shot",
)  # fmt: skip
"""A phrase for each motion that moves the whole picture."""


def window(left: float) -> dict[str, object]:
    """A square of the harbour, so far from its left edge."""
    return {"file": HERE / "harbour.jpg", "crop": [left, 0.16, left + 0.68, 0.84]}


CLIPS = {
    "pan": {"image": "harbour.jpg", "prompt": "the camera pans left"},
    "zoom": {"image": "harbour.jpg", "prompt": "the camera zooms in"},
    "night": {"image": "harbour.jpg", "prompt": "night falls", "model": "mini-f1", "seconds": 2.4},
    "ball": {"image": "ball.jpg", "prompt": "the ball moves right"},
    "loop": {"image": "harbour.jpg", "prompt": "the camera sways", "seconds": 1.6},
    "long": {
        "image": window(0.0),
        "prompt": "the camera pans right",
        "seconds": 5.0,
        "frames": [{"image": window(0.107), "second": 1.67}, {"image": window(0.213), "second": 3.33}],
        "end_frame": {"image": window(0.32)},
    },
}
"""Name of the GIF and its request."""
BEFORE: dict[str, object] = {"resolution": 128, "steps": 25}
"""How mini made its videos before each model had settings of its own."""
SIDE = 160
COMPARED = ("the camera pans left", "the camera zooms in", "the camera rolls clockwise", "night falls")
SHOWN = (0.0, 0.33, 0.67, 1.0)
"""Where in a video the sheet's frames are."""


def frames_of(models: dict[str, FramePack], file: Path, **fields: object) -> np.ndarray:
    """The frames of a request's video, which is written to `file`."""
    format_of = {".gif": "gif"}.get(file.suffix, "mkv")
    output = {"path": file, "format": format_of, "fps": 15 if format_of == "gif" else 30, "overwrite": True}
    image = fields["image"] if isinstance(fields["image"], dict) else HERE / str(fields["image"])
    request = GenerationRequest.model_validate({**fields, "image": image, "output": output})
    if request.model not in models:
        models[request.model] = FramePack.load(request.model)
    for _ in models[request.model].generate(request):
        pass
    return np.stack(list(read_video(file)))


def fitted(frame: np.ndarray, side: int) -> np.ndarray:
    """A frame at that width, so that sizes can be compared."""
    return np.asarray(Image.fromarray(frame).resize((side, side * frame.shape[0] // frame.shape[1])))


def main(folder: Path) -> None:
    """Write everything."""
    models: dict[str, FramePack] = {}
    with tempfile.TemporaryDirectory() as temporary:
        pictures, labels = [], []
        for prompt in VOCABULARY:
            video = frames_of(models, Path(temporary) / "v.mkv", image="harbour.jpg", prompt=prompt, seconds=1.2)
            pictures += [video[round(at * (len(video) - 1))] for at in SHOWN]
            labels += [prompt, *(f"{at * 1.2:.1f} s" for at in SHOWN[1:])]
        save_png(folder / "vocabulary.png", contact_sheet(pictures, len(SHOWN), labels=labels), MARKED)
        pictures, labels = [], []
        for prompt, (when, settings) in itertools.product(COMPARED, (("before", BEFORE), ("now", {}))):
            asked = {"image": "harbour.jpg", "prompt": prompt, "seconds": 1.2, "model": "mini", **settings}
            video = frames_of(models, Path(temporary) / "v.mkv", **asked)
            pictures += [fitted(video[round(at * (len(video) - 1))], SIDE) for at in SHOWN]
            labels += [f"{when}: {prompt}", *(f"{at * 1.2:.1f} s" for at in SHOWN[1:])]
        save_png(folder / "before-and-now.png", contact_sheet(pictures, len(SHOWN), labels=labels), MARKED)
    for name, fields in CLIPS.items():
        frames_of(models, folder / f"{name}.gif", **{"seconds": 1.2, **fields})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "docs" / "images")
