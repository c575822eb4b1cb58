"""What the terminal shows of a run."""

from pathlib import Path

from rich.console import Console

from framepack.app.cli.display import Display
from framepack.spec.events import Notice, SectionDone
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
