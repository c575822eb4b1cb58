"""An edit means the same on every picture of a request, whoever asks for it."""

from pathlib import Path

import pytest

pytest.importorskip("gradio")

from framepack.app.api.submit import validated
from framepack.app.cli import arguments
from framepack.app.service.paths import for_client
from framepack.app.ui.form import request_of
from framepack.app.ui.restore import restore_values
from framepack.jobs.batch import make_requests
from framepack.jobs.batch_files import read_batch
from framepack.jobs.folders import Folders
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest

EDITS = [
    ("rotate=90", {"rotate": 90}),
    ("flip=vertical", {"flip": "vertical"}),
    ("crop=0.1/0/0.9/1", {"crop": [0.1, 0, 0.9, 1]}),
    ("exposure=-1.5", {"exposure": -1.5}),
    ("contrast=0.5", {"contrast": 0.5}),
    ("saturation=0", {"saturation": 0}),
    ("fit=blur", {"fit": "blur"}),
    ("focus=0.2/0.8", {"focus": [0.2, 0.8]}),
    ("rotate=270,flip=horizontal,crop=0/0.2/0.5/1,fit=pad", None),
]
ALL = {"rotate": 270, "flip": "horizontal", "crop": [0, 0.2, 0.5, 1], "fit": "pad"}


@pytest.mark.parametrize("place", ["start", "on the way", "end", "reference"])
@pytest.mark.parametrize(("typed", "meant"), EDITS)
def test_python_commands_http_and_page_agree(typed: str, meant: dict | None, place: str, tmp_path: Path) -> None:
    folders = Folders(tmp_path / "outputs", tmp_path / "home", reserve=0)
    names = {"start": "a.png", "on the way": "b.png", "end": "c.png", "reference": "d.png"}
    files = {which: folders.uploads / name for which, name in names.items()}
    for file in files.values():
        file.write_bytes(b"x")

    def pictures(of: dict) -> dict:
        edited = {w: {"file": f, **(meant or ALL)} if w == place else f for w, f in of.items()}
        frames = [{"image": edited["on the way"], "second": 1.5}]
        return {
            "image": edited["start"],
            "frames": frames,
            "end_frame": {"image": edited["end"]},
            "reference": {"image": edited["reference"], "strength": 0.5},
        }

    asked = GenerationRequest.model_validate(pictures(files))
    suffix = {w: f"{f}[{typed}]" if w == place else str(f) for w, f in files.items()}
    commanded = GenerationRequest(
        image=arguments.picture(suffix["start"]),
        frames=(arguments.keyframe(f"{suffix['on the way']}@1.5"),),
        end_frame=arguments.end_frame(suffix["end"]),
        reference=arguments.reference(f"{suffix['reference']}:0.5"),
    )
    posted = validated(pictures(names), folders)
    values, said = restore_values(for_client(asked.model_dump(mode="json")), folders)
    assert said == []
    assert commanded == posted == asked
    assert request_of(values, folders).model_copy(update={"length": None}) == asked
    assert asked.pictures[{"on the way": "frame:0"}.get(place, place)].edited


def test_a_table_names_edits_as_columns(tmp_path: Path) -> None:
    table = tmp_path / "b.csv"
    table.write_text("image.file,image.rotate,image.exposure,prompt\nball.jpg,180,0.5,still\n", encoding="utf-8")
    (item,) = read_batch(table, {})
    (request,), _ = make_requests([item], ())
    assert request.image == Picture(file=tmp_path / "ball.jpg", rotate=180, exposure=0.5)
