"""Axe over each state of the page: no finding that is serious or critical. axe-core is MPL-2.0, so it is not kept here.

`npm install --prefix . --no-save axe-core` puts it where this looks; AXE_CORE names another `axe.min.js`.
"""

import os
from pathlib import Path

import pytest
from page_actions import ask, drop, unfold, wait_for_status

AXE = Path(os.environ.get("AXE_CORE") or Path(__file__).parents[3] / "node_modules/axe-core/axe.min.js")

pytestmark = [
    pytest.mark.skipif(not AXE.is_file(), reason=f"there is no axe-core at {AXE}; AXE_CORE names its axe.min.js"),
    pytest.mark.timeout(900),
]


def check_axe(page) -> None:
    """By day and by night, with nothing in between."""
    if not page.evaluate("'axe' in window"):
        page.add_style_tag(content="* { transition: none !important; animation: none !important; }")
        page.evaluate(AXE.read_text("utf-8"))  # as a script in the page it would be against the page's own policy
    for dark in ("false", "true"):
        page.evaluate(f"FP.setDark({dark})")
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
        serious = [(v["id"], [node["target"] for node in v["nodes"]]) for v in found if v["impact"] in SERIOUS]
        assert serious == [], f"dark: {dark}"


SERIOUS = ("serious", "critical")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious_on_an_empty_page(tab, size) -> None:
    page = tab(**size)
    check_axe(page)
    unfold(page)
    check_axe(page)


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious_while_a_video_is_made_and_afterwards(tab, site, sun, size) -> None:
    page = tab(**size)
    ask(page, sun, f"seen by everyone until called{size['width']}", steps="2")
    wait_for_status(page, "running")
    page.wait_for_selector(".fp-preview:not([hidden])")
    check_axe(page)
    (site[1].folders.outputs / f"called{size['width']}").touch()
    wait_for_status(page, "done")
    page.wait_for_selector("#fp-history .fp-card")
    unfold(page)
    check_axe(page)
    ask(page, sun, "explode", steps="2")
    wait_for_status(page, "failed")
    page.click(".fp-below summary")
    check_axe(page)


@pytest.mark.proof
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious_in_the_editor_of_a_picture(tab, sun, size) -> None:
    page = tab(**size)
    drop(page, sun, "image/png")
    page.get_by_role("button", name="Edit image").click()
    page.wait_for_selector(".fp-result img[data-of]")
    check_axe(page)
    page.get_by_role("button", name="Blur").click()
    page.get_by_role("button", name="Crop, top left corner").press("Shift+ArrowRight")
    check_axe(page)


@pytest.mark.proof
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious_in_what_tasks_need_and_in_the_painting_of_a_mask(tab, sun, size) -> None:
    page = tab(**size)
    for task, shown in (("bridge", "#c-target .fp-drop"), ("restyle", "#c-strength input"), ("image", ".fp-drop")):
        page.select_option("#c-task select", task)
        page.wait_for_selector(shown)
        check_axe(page)
    drop(page, sun, "image/png")
    page.wait_for_function("() => FP.form.values.image")
    unfold(page)
    page.get_by_role("button", name="Paint a mask").click()
    page.wait_for_selector(".fp-mask .fp-primary:not([disabled])")
    check_axe(page)


@pytest.mark.proof
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious_in_takes_and_a_storyboard(real_tab, sun, size) -> None:
    page = real_tab(**size)
    drop(page, sun, "image/png")
    for field, text in (("width", "64"), ("height", "64")):
        page.fill(f"#c-{field} :is(input, textarea)", text)
    page.fill("#c-seconds .fp-head input", "1.2")
    page.press("#c-seconds .fp-head input", "Tab")
    page.wait_for_function("() => FP.form.values.image && FP.form.values.seconds === 1.2")
    page.get_by_role("button", name="Look first").click()
    page.get_by_role("button", name="Make a storyboard").click()
    page.wait_for_selector(".fp-panel img")
    page.click("#fp-generate")
    page.wait_for_selector(".fp-takes:not([hidden])")
    page.click(".fp-takes summary")
    page.wait_for_selector(".fp-tree li")
    check_axe(page)
