"""A new page, without a browser."""

import json
from pathlib import Path

import pytest

pytest.importorskip("gradio")

from framepack.app.ui import form
from framepack.app.ui.desk import Desk
from framepack.app.ui.page import Page
from framepack.pipeline.presets import Presets


@pytest.fixture
def page(service, tmp_path: Path) -> Page:
    return Page(Desk(service, Presets(tmp_path / "presets")))


def kept(**more) -> dict:
    """A form as a browser keeps it."""
    return {"values": form.defaults() | more, "lock": True, "preserve": "6", "editing": ""}


def opened(page: Page, kept: object) -> dict:
    updates = page._spoken(page._load)("a-job", json.dumps(kept))
    assert updates[page.tab.job] == "a-job"
    assert updates[page.tab.memory]["begin"]
    return updates[page.tab.memory]


def test_a_starred_preset_that_cannot_be_loaded_is_said_and_takes_nothing_along(page: Page, tmp_path: Path) -> None:
    page.desk.presets.save("wide", {})
    page.desk.presets.start_with("wide")
    (tmp_path / "presets" / "wide.json").write_text('{"width": 512, "height": null}')
    updates = page._spoken(page._load)("a-job", "")
    assert updates[page.tab.job] == "a-job"
    assert updates[page.tab.presets]["damaged"] == ["wide"]
    assert "width and height go together" in updates[page.tab.notice]["text"]
    assert updates[page.tab.memory]["values"] == {}


def test_a_reload_brings_the_tabs_form_back_and_a_new_tab_the_starred_preset_or_the_last_form(page: Page) -> None:
    mine, other = kept(steps=7, prompt="a ball"), kept(steps=8)
    said = opened(page, {"here": mine, "before": other})
    assert (said["values"]["steps"], said["values"]["prompt"], said["lock"], said["preserve"]) == (
        7,
        "a ball",
        True,
        "6",
    )
    assert opened(page, {"here": None, "before": other})["values"]["steps"] == 8
    page.desk.presets.save("short", {"steps": 5})
    page.desk.presets.start_with("short")
    assert opened(page, {"here": None, "before": other})["values"]["steps"] == 5
    assert opened(page, {"here": mine, "before": other})["values"]["steps"] == 7


@pytest.mark.parametrize("kept", [{}, [], None, {"here": 3}, {"here": {"values": 3}}, {"here": {"request": {}}}])
def test_what_is_no_form_is_left_out(page: Page, kept: object) -> None:
    assert opened(page, kept)["values"] == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", [1]), ("steps", True), ("prompt", 5), ("model", "gone"), ("image", 3), ("output.live", "yes"),
        ("frames", [{"image": "x"}]), ("frames", [{"image": 3, "second": 1, "strength": 1}]), ("loras", {"file": "x"}),
    ],
)  # fmt: skip
def test_a_field_that_another_version_kept_otherwise_takes_no_other_along(
    page: Page, field: str, value: object
) -> None:
    values = opened(page, {"here": kept(guidance=4) | {"values": {"guidance": 4, "unknown": 1, field: value}}})[
        "values"
    ]
    assert values == form.defaults() | {"guidance": 4}


def test_pictures_that_are_gone_are_left_out_of_a_kept_form(page: Page) -> None:
    gone = {"image": "gone.png", "end_frame": [{"image": "gone.png", "strength": 1.0}], "steps": 9}
    values = opened(page, {"here": kept(**gone)})["values"]
    assert (values["steps"], values["image"], values["end_frame"]) == (9, None, [])


def test_mistakes_are_kept_with_everything_else_and_told_at_their_fields(page: Page) -> None:
    typed = {"steps": 0, "seed": "abc", "window": "1e999", "prompt": "long and dear"}
    values = opened(page, {"here": kept(**typed)})["values"]
    assert values == form.defaults() | typed
    marks = page._check(*(values[field] for field in page.controls))[page.tab.marks]
    assert {(mark["id"], mark["tone"]) for mark in marks} == {
        ("c-seed", "wrong"),
        ("c-window", "wrong"),
        ("c-steps", "told"),
    }
