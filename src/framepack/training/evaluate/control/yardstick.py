"""What a seam's measures are where nothing was generated: in a true video, and in one that the VAE has made.

New frames are the VAE's, so a true video behind a source through the VAE alone is what a perfect model would come to.
Boundary: measures true videos; knows no task.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from framepack.training.evaluate.control.bench import Bench, Row
from framepack.training.evaluate.metrics import Video
from framepack.training.evaluate.scenes import Scene
from framepack.training.evaluate.seams import Crossing, Seam

FRAMES = 61
PLACES = range(25, 38, 4)
"""Frames of a true video that begin a latent, in its middle."""
NAMES = ("step", "sharpness", "colour")
TRUE, CODED = "a true video", "a true video by the VAE"


def yardsticks(
    bench: Bench,
    place: tuple[str, str, Scene],
    motion: str,
    measure: Callable[[Video, int], Seam | Crossing],
    stays: Sequence[bool] = (False, False),
    seam: str = "",
) -> Iterator[Row]:
    """Two rows: the most of each measure over some places of a true video, and where the VAE has made it.

    place: part, model and scene. stays: whether what lies before and behind the seam is a source, untouched by the VAE.
    seam: which one, where a part has two.
    """
    part, model, scene = place
    truth = scene.truth(motion, FRAMES)
    with torch.inference_mode(), bench.model(model).memory.lease("vae") as vae:
        coded = vae.decode(vae.encode(truth))
    before, after = (truth if stay else coded for stay in stays)
    for case, earlier, later in ((TRUE, truth, truth), (CODED, before, after)):
        found = [measure(np.concatenate([earlier[:at], later[at:]]), at) for at in PLACES]
        values = {name: max(getattr(one, name) for one in found) for name in NAMES}
        yield Row(part=part, model=model, scene=scene.name, case=f"{motion}{seam}, {case}", values=values)


def generated(rows: Sequence[Row]) -> list[Row]:
    """The rows that are no yardsticks."""
    return [row for row in rows if not row.case.endswith((TRUE, CODED))]


def beside(rows: Sequence[Row], name: str) -> str:
    """What the yardsticks among the rows say, to stand beside a goal; empty where there are none."""
    most = [
        (what, max(found))
        for what in (TRUE, CODED)
        if (found := [row.values[name] for row in rows if row.case.endswith(what) and name in row.values])
    ]
    return f" ({', '.join(f'{what}: {value:.2g}' for what, value in most)})" if most else ""
