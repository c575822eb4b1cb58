"""In a real browser: pictures are edited as generation will use them, and frames of a video become pictures."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from page_actions import choose, drop, unfold, wait_for_status
from PIL import Image

from framepack.media.edit import edited
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

pytestmark = pytest.mark.timeout(900)


def open_editor(page, name: str = "Edit image"):
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_selector(".fp-result img[data-of]")
    return page.locator(".fp-editor")


def shown(page, **edits) -> None:
    """Wait until the server's frame with these edits is there."""
    page.wait_for_function(
        """(wanted) => { const now = JSON.parse(document.querySelector('.fp-result img').dataset.of);
        const same = ([name, value]) => JSON.stringify(now[name]) === JSON.stringify(value);
        return Object.entries(wanted).every(same); }""",
        arg=edits,
    )


def size_shown(page) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", page.inner_text(".fp-result")))


def drag(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Between two points of the picture, as shares of its sides."""
    at = page.locator(".fp-crop canvas").bounding_box()
    (x, y), (u, v) = ((at["x"] + point[0] * at["width"], at["y"] + point[1] * at["height"]) for point in (start, end))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(u, v, steps=3)
    page.mouse.up()


def in_form(page, field: str):
    return page.evaluate("(field) => FP.form.values[field]", field)


def test_edits_of_the_start_picture_and_of_a_keyframe_reach_the_request(tab, site, sun) -> None:
    page = tab()
    drop(page, sun, "image/png")
    open_editor(page)
    page.get_by_role("button", name="Rotate right").click()
    drag(page, (0.2, 0.1), (0.8, 0.6))
    page.locator("#fp-edit-exposure").press("ArrowRight")
    page.get_by_role("button", name="Pad").click()
    shown(page, rotate=90, crop=[0.2, 0.1, 0.8, 0.6], exposure=0.05, fit="pad")
    assert size_shown(page) == ("144", "176")
    page.get_by_role("button", name="Done").click()
    page.wait_for_selector(".fp-chosen[data-edited]")
    page.get_by_role("button", name="Keyframes and timed prompts").click()
    choose(page, "Add images", sun)
    open_editor(page, "Edit image, Keyframes 1")
    page.get_by_role("button", name="Flip horizontally").click()
    drag(page, (0.25, 0.5), (0.25, 0.5))
    shown(page, flip="horizontal", focus=[0.25, 0.5])
    assert size_shown(page) == ("144", "176"), "the start picture decides"
    page.get_by_role("button", name="Done").click()
    page.wait_for_selector("#c-frames .fp-thumb[data-edited]")
    page.fill("#c-prompt textarea", "edited beforehand")
    page.fill("#c-steps .fp-head input", "2")
    page.keyboard.press("Control+Enter")
    wait_for_status(page, "done")
    (job,) = site[1].jobs(search="edited beforehand")
    start = Picture(file=job.request.image.file, rotate=90, crop=(0.2, 0.1, 0.8, 0.6), exposure=0.05, fit="pad")
    assert job.request.image == start
    keyframe = job.request.frames[0].image
    assert keyframe == Picture(file=keyframe.file, flip="horizontal", focus=(0.25, 0.5))


def test_an_edit_is_cancelled_undone_and_dropped_with_its_picture(tab, sun) -> None:
    page = tab()
    drop(page, sun, "image/png")
    page.wait_for_function("() => FP.form.values.image")
    plain = in_form(page, "image")
    open_editor(page)
    corner = page.get_by_role("button", name="Crop, top left corner")
    corner.press("ArrowRight")
    corner.press("Shift+ArrowDown")
    shown(page, crop=[0.01, 0.1, 1, 1])
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement.matches('.fp-edit')")
    assert in_form(page, "image") == plain
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Flip vertically").press("Enter")
    page.get_by_role("button", name="Done").press("Enter")
    page.wait_for_function("() => document.activeElement.matches('.fp-edit')")
    assert in_form(page, "image") == {"file": plain, "flip": "vertical"}
    page.keyboard.press("Control+z")
    page.wait_for_function("(plain) => FP.form.values.image === plain", arg=plain)
    page.locator(".fp-header button[aria-label=Redo]").click()
    page.wait_for_function("() => FP.form.values.image.flip === 'vertical'")
    choose(page, "Choose another image", sun)
    page.wait_for_function(
        "(plain) => typeof FP.form.values.image === 'string' && FP.form.values.image !== plain", arg=plain
    )


@pytest.mark.proof
def test_what_one_turns_and_flips_is_what_comes_out(tab, site, sun) -> None:
    page = tab()
    drop(page, sun, "image/png")
    open_editor(page)
    drag(page, (0, 0), (0.5, 0.25))
    with Image.open(sun) as image:
        pixels = wanted = np.asarray(image.convert("RGB"))
    wanted = wanted[wanted.shape[0] // 4 :, wanted.shape[1] // 2 :]
    ways = {
        "Rotate right": lambda x: np.rot90(x, -1),
        "Rotate left": np.rot90,
        "Flip horizontally": np.fliplr,
        "Flip vertically": np.flipud,
    }
    for name in (
        "Rotate right",
        "Flip horizontally",
        "Rotate right",
        "Flip vertically",
        "Rotate left",
        "Flip vertically",
    ):
        page.get_by_role("button", name=name).click()
        wanted = ways[name](wanted)
    shown(page, rotate=90, flip="vertical")
    made = json.loads(page.get_attribute(".fp-result img", "data-of"))
    assert np.array_equal(edited(pixels, Picture.model_validate(made)), wanted)
    page.get_by_role("button", name="Whole image").click()
    page.get_by_role("button", name="Reset", exact=True).click()
    page.get_by_role("button", name="Done").click()
    page.wait_for_selector(".fp-editor", state="detached")
    assert isinstance(in_form(page, "image"), str)


def at_frame(page, number: int) -> None:
    page.evaluate("() => document.querySelector('.fp-screen video').pause()")
    page.evaluate("(at) => { document.querySelector('.fp-screen video').currentTime = at; }", (number + 0.5) / 30)
    page.wait_for_function(
        "(at) => document.querySelector('.fp-where').innerText.startsWith(`Frame ${at} `)", arg=number
    )


def test_the_frame_on_screen_is_saved_and_becomes_a_picture(tab, site, sun) -> None:
    (job,) = site[1].submit([GenerationRequest(image=sun, prompt="full of frames", seconds=2.4, steps=2)])
    page = tab(f"?job={job.id}")
    wait_for_status(page, "done")
    page.wait_for_selector(".fp-frames:not([hidden])")
    at_frame(page, 40)
    page.get_by_role("button", name="Next frame").click()
    page.wait_for_function("() => document.querySelector('.fp-where').innerText.startsWith('Frame 41 ')")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    assert download.value.suggested_filename.endswith("-000041.png")
    with Image.open(Path(download.value.path())) as image:
        frame = np.asarray(image.convert("RGB"))
    page.get_by_role("button", name="As keyframe").click()
    page.wait_for_selector("#c-frames .fp-row")
    page.get_by_role("button", name="As end frame").click()
    page.wait_for_selector("#c-end-frame .fp-row")
    before = in_form(page, "image")
    page.get_by_role("button", name="As start image").click()
    page.wait_for_function("(before) => FP.form.values.image !== before", arg=before)
    (keyframe,), (end,) = in_form(page, "frames"), in_form(page, "end_frame")
    assert keyframe["second"] == pytest.approx(41 / 30, abs=0.01)
    for name in (keyframe["image"], end["image"], in_form(page, "image")):
        with Image.open(site[1].folders.uploads / name) as image:
            assert np.array_equal(np.asarray(image), frame)


@pytest.mark.proof
def test_an_edited_picture_comes_back_after_a_reload_and_with_the_settings_of_its_video(tab, site, sun) -> None:
    page = tab()
    drop(page, sun, "image/png")
    open_editor(page)
    page.get_by_role("button", name="Flip horizontally").click()
    page.get_by_role("button", name="Done").click()
    page.wait_for_selector(".fp-chosen[data-edited]")
    edited_one = in_form(page, "image")
    page.reload()
    page.wait_for_selector(".fp-chosen[data-edited]")
    assert in_form(page, "image") == edited_one
    page.fill("#c-prompt textarea", "flipped for good")
    page.fill("#c-steps .fp-head input", "2")
    page.keyboard.press("Control+Enter")
    wait_for_status(page, "done")
    page.get_by_role("button", name="Remove the image").click()
    page.wait_for_selector(".fp-invite")
    page.get_by_role("button", name="Reuse settings", exact=True).click()
    page.wait_for_selector(".fp-chosen[data-edited]")
    assert in_form(page, "image") == edited_one
    with page.expect_response("**/edited?**512**") as answer:
        page.fill("#c-width input", "320")
        page.fill("#c-height input", "256")
        page.press("#c-height input", "Tab")
    assert answer.value.headers["x-size"] == "320x256", "what is shown follows the video's size"


@pytest.mark.proof
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (1024, 640), (360, 740), (320, 568)])
def test_the_editor_fits_every_screen(tab, sun, width: int, height: int) -> None:
    page = tab(width=width, height=height)
    drop(page, sun, "image/png")
    unfold(page)
    dialog = open_editor(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    at = dialog.bounding_box()
    assert at["x"] >= 0
    assert at["y"] >= 0
    assert at["x"] + at["width"] <= width
    assert at["y"] + at["height"] <= height
    assert dialog.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    assert page.get_by_role("button", name="Done").bounding_box()["y"] < height - 30
