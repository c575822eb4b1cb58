"""A new page, without a browser."""

import json
from pathlib import Path

import pytest

pytest.importorskip("gradio")

from framepack.app.ui import form
from framepack.app.ui.controller import Controller
from framepack.app.ui.page import Page
from framepack.pipeline.presets import Presets


@pytest.fixture
def page(service, tmp_path: Path) -> Page:
    return Page(Controller(service, Presets(tmp_path / "presets")))


def saved_form(**more) -> dict:
    """A form as a browser saves it."""
    return {"values": form.defaults() | more, "lock": True, "preserve": "6", "editing": ""}


def opened(page: Page, saved: object) -> dict:
    updates = page._reporting_errors(page._load)("a-job", json.dumps(saved))
    assert updates[page.tab.job] == "a-job"
    assert updates[page.tab.form_update]["initial"]
    return updates[page.tab.form_update]


def test_a_starred_preset_that_cannot_be_loaded_is_said_and_takes_nothing_along(page: Page, tmp_path: Path) -> None:
    page.controller.presets.save("wide", {})
    page.controller.presets.start_with("wide")
    (tmp_path / "presets" / "wide.json").write_text('{"width": 512, "height": null}')
    updates = page._reporting_errors(page._load)("a-job", "")
    assert updates[page.tab.job] == "a-job"
    assert updates[page.tab.presets]["damaged"] == ["wide"]
    assert "width and height go together" in updates[page.tab.notice]["text"]
    assert updates[page.tab.form_update]["values"] == {}


def test_a_reload_brings_the_tabs_form_back_and_a_new_tab_the_starred_preset_or_the_last_form(page: Page) -> None:
    mine, other = saved_form(steps=7, prompt="a ball"), saved_form(steps=8)
    update = opened(page, {"here": mine, "before": other})
    assert (update["values"]["steps"], update["values"]["prompt"], update["lock"], update["preserve"]) == (
        7,
        "a ball",
        True,
        "6",
    )
    assert opened(page, {"here": None, "before": other})["values"]["steps"] == 8
    page.controller.presets.save("short", {"steps": 5})
    page.controller.presets.start_with("short")
    assert opened(page, {"here": None, "before": other})["values"]["steps"] == 5
    assert opened(page, {"here": mine, "before": other})["values"]["steps"] == 7


@pytest.mark.parametrize("saved", [{}, [], None, {"here": 3}, {"here": {"values": 3}}, {"here": {"request": {}}}])
def test_what_is_no_form_is_left_out(page: Page, saved: object) -> None:
    assert opened(page, saved)["values"] == {}


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
    values = opened(page, {"here": saved_form(guidance=4) | {"values": {"guidance": 4, "unknown": 1, field: value}}})[
        "values"
    ]
    assert values == form.defaults() | {"guidance": 4}


def test_pictures_that_are_gone_are_left_out_of_a_kept_form(page: Page) -> None:
    gone = {"image": "gone.png", "end_frame": [{"image": "gone.png", "strength": 1.0}], "steps": 9}
    values = opened(page, {"here": saved_form(**gone)})["values"]
    assert (values["steps"], values["image"], values["end_frame"]) == (9, None, [])


def test_mistakes_are_kept_with_everything_else_and_reported_at_their_fields(page: Page) -> None:
    typed = {"steps": 0, "seed": "abc", "window": "1e999", "prompt": "long and dear"}
    values = opened(page, {"here": saved_form(**typed)})["values"]
    assert values == form.defaults() | typed
    messages = page._validate(*(values[field] for field in page.controls))[page.tab.errors]
    assert {(message["id"], message["tone"]) for message in messages} == {
        ("c-seed", "error"),
        ("c-window", "error"),
        ("c-steps", "info"),
    }
