"""A new page, without a browser."""

from pathlib import Path

import pytest

pytest.importorskip("gradio")

from framepack.app.ui import form
from framepack.app.ui.desk import Desk
from framepack.app.ui.page import Page
from framepack.app.ui.presets import Presets


def test_a_starred_preset_that_cannot_be_loaded_is_said_and_takes_nothing_along(service, tmp_path: Path) -> None:
    presets = Presets(tmp_path / "presets")
    presets.save("wide", {"width": 512, "height": None})
    presets.start_with("wide")
    page = Page(Desk(service, presets))
    updates = page._spoken(page._load)(*form.defaults().values(), "a-job")
    assert updates[page.tab.job] == "a-job"
    assert updates[page.tab.presets]["names"] == ["wide"]
    assert "width and height go together" in updates[page.tab.notice]["text"]
