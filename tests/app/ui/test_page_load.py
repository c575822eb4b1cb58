"""A new page, without a browser."""

import json
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
    updates = page._spoken(page._load)(*form.defaults().values(), "a-job", "")
    assert updates[page.tab.job] == "a-job"
    assert updates[page.tab.presets]["names"] == ["wide"]
    assert "width and height go together" in updates[page.tab.notice]["text"]


def opened(page: Page, kept: object) -> dict:
    return page._spoken(page._load)(*form.defaults().values(), "", json.dumps(kept))


def test_a_reload_brings_the_tabs_form_back_and_a_new_tab_the_starred_preset_or_the_last_form(service, tmp_path: Path):
    presets = Presets(tmp_path / "presets")
    page = Page(Desk(service, presets))
    steps, prompt = page.controls["steps"], page.controls["prompt"]
    mine, other = (
        json.loads(form.kept(form.defaults() | {"steps": n, "prompt": "a ball"}, lock=True, preserve="6"))
        for n in (7, 8)
    )
    updates = opened(page, {"here": mine, "before": other})
    assert (updates[steps]["value"], updates[prompt]["value"]) == (7, "a ball")
    assert (updates[page.tab.lock], updates[page.tab.preserve]) == (True, "6")
    assert opened(page, {"here": None, "before": other})[steps]["value"] == 8
    presets.save("short", {"steps": 5})
    presets.start_with("short")
    assert opened(page, {"here": None, "before": other})[steps]["value"] == 5
    assert opened(page, {"here": mine, "before": other})[steps]["value"] == 7


@pytest.mark.parametrize(
    "kept", [{}, [], None, {"here": 3}, {"here": {"request": {"steps": 0}}}, {"here": {"request": {"image": "x"}}}]
)
def test_a_form_that_another_version_kept_is_left_out(service, tmp_path: Path, kept: object) -> None:
    page = Page(Desk(service, Presets(tmp_path / "presets")))
    updates = opened(page, kept)
    assert page.controls["steps"] not in updates
    assert page.tab.notice not in updates


def test_pictures_that_are_gone_are_left_out_of_a_kept_form(service, tmp_path: Path) -> None:
    page = Page(Desk(service, Presets(tmp_path / "presets")))
    values = form.defaults() | {"image": "gone.png", "end_frame": [{"image": "gone.png", "strength": 1.0}], "steps": 9}
    updates = opened(page, {"here": json.loads(form.kept(values, lock=False, preserve=""))})
    assert updates[page.controls["steps"]]["value"] == 9
    assert not updates[page.controls["image"]]["value"]


def test_only_a_form_without_mistakes_is_kept(service, tmp_path: Path) -> None:
    page = Page(Desk(service, Presets(tmp_path / "presets")))
    good = page._check(*(form.defaults() | {"steps": 9}).values(), True, "6")
    kept = json.loads(good[page.tab.kept])
    assert (kept["request"]["steps"], kept["lock"], kept["preserve"]) == (9, True, "6")
    assert page.tab.kept not in page._check(*(form.defaults() | {"steps": 0}).values(), True, "6")
