"""What the terminal shows of a run."""

from pathlib import Path

from rich.console import Console

from framepack.app.cli.display import Display
from framepack.spec.events import Look, Notice, SectionDone
from framepack.spec.request import GenerationRequest


def test_brackets_in_sentences_and_paths_stay_as_they_are(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w+", encoding="utf-8") as file:
        console = Console(file=file, width=200)
        display = Display(console, GenerationRequest(image=Path("x.png")))
        display.show(Notice(message="no section takes 'she says [/hello] now'"))
        display.show(SectionDone(section=0, sections=2, file=Path("[door] take1.part.mp4"), frames=36, seconds=1.0))
        file.seek(0)
        said = file.read()
    assert "she says [/hello] now" in said
    assert "36 frames so far: [door] take1.part.mp4" in said


def test_verbose_says_how_far_each_section_has_drifted(tmp_path: Path) -> None:
    looks = [
        Look(colour=(120.0, 100.0, 80.0), contrast=50.0, sharpness=8.0, distance=10.2),
        Look(colour=(125.4, 100.0, 70.0), contrast=55.0, sharpness=6.0, distance=20.7),
    ]
    said = {}
    for verbose in (False, True):
        with (tmp_path / "said").open("w+", encoding="utf-8") as file:
            console = Console(file=file, width=200)
            display = Display(console, GenerationRequest(image=Path("x.png")), verbose=verbose)
            for index, look in enumerate(looks):
                display.show(SectionDone(section=index, sections=2, file=None, frames=36, seconds=1.0, look=look))
            file.seek(0)
            said[verbose] = file.read().splitlines()
    assert said[False] == []
    assert said[True] == [
        "section 1/2: colour 120/100/80 (+0/+0/+0), contrast 50.0 (+0%), sharpness 8.0 (+0%), "
        "10 from the start picture",
        "section 2/2: colour 125/100/70 (+5/+0/-10), contrast 55.0 (+10%), sharpness 6.0 (-25%), "
        "21 from the start picture",
    ]
