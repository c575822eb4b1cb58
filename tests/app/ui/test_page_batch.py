"""Several videos at once in a real browser: what makes them differ, how many they are, and the contact sheet."""

from pathlib import Path

import pytest
from fake_worker import paint
from page_actions import wait_for_status
from PIL import Image
from test_accessibility import AXE, PHONE, WIDE, check_axe

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{name}.png" for name in ("dawn", "noon")]
    for at, file in zip((0.1, 0.6), files, strict=True):
        Image.fromarray(paint(at, (384, 256))).save(file)
    return files


def drop(page, files: list[Path], place: str = ".fp-drop") -> None:
    transfer = page.evaluate_handle(
        """(files) => { const data = new DataTransfer();
        for (const [bytes, name] of files)
            data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
        return data; }""",
        [[list(file.read_bytes()), file.name] for file in files],
    )
    page.dispatch_event(place, "drop", {"dataTransfer": transfer})


def short(page) -> None:
    """Let videos be made in no time."""
    for field, text in (("steps", "1"), ("seconds", "1")):
        page.fill(f"#c-{field} .fp-head input", text)
        page.press(f"#c-{field} .fp-head input", "Tab")


def test_several_pictures_make_several_videos_and_a_contact_sheet(tab, pictures) -> None:
    page = tab()
    short(page)
    drop(page, pictures)
    page.wait_for_selector(".fp-images li:nth-child(2)")
    page.fill("#fp-batch-prompts", "The camera pans left.\n\nNight falls.")
    page.get_by_role("button", name="Make 4 videos").wait_for()
    page.select_option("#fp-batch-field", label="Seed")
    page.get_by_label("Values to go through").fill("4..1")
    page.wait_for_selector("#fp-batch-form .fp-error:not(:empty)")
    assert "range goes up" in page.inner_text("#fp-batch-form .fp-error")
    page.get_by_label("Values to go through").fill("7, 8")
    page.get_by_role("button", name="Make 8 videos").wait_for()
    page.fill("#fp-batch-prompts", "")
    page.get_by_role("button", name="Clear all").click()
    drop(page, pictures[:1], ".fp-batch-form")
    page.get_by_role("button", name="Make 2 videos").click()
    page.wait_for_selector(".fp-batch")
    assert "2 videos" in page.inner_text(".fp-batch strong")
    page.wait_for_selector(".fp-batch .fp-sheet img")
    with page.expect_download() as download:
        page.get_by_role("link", name="Contact sheet", exact=True).click()
    sheet = Image.open(download.value.path())
    assert sheet.width > 2 * 192


@pytest.mark.proof
def test_a_batch_is_cancelled_as_a_whole_and_a_mistake_makes_none(tab, site, pictures) -> None:
    page = tab()
    page.get_by_role("button", name="Several videos at once").click()
    page.fill("#fp-batch-prompts", "until called\nuntil called later")
    page.get_by_role("button", name="Make 2 videos").click()
    page.wait_for_selector(".fp-notice.fp-notice-error")
    assert "Add an image first" in page.inner_text("#fp-notice")
    drop(page, pictures[:1])
    page.wait_for_selector(".fp-chosen")
    page.wait_for_function("() => !FP.uploads.size")
    page.get_by_role("button", name="Make 2 videos").click()
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_role("button", name="Cancel all").wait_for(state="detached")
    wait_for_status(page, "cancelled")
    jobs = [job for job in site[1].jobs() if job.batch and "until" in job.request.prompt]
    assert [job.status for job in jobs] == ["cancelled"] * 2


@pytest.mark.proof
@pytest.mark.skipif(not AXE.is_file(), reason=f"there is no axe-core at {AXE}")
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_fits_and_axe_finds_nothing_serious(tab, pictures, size) -> None:
    page = tab(**size)
    short(page)
    drop(page, pictures)
    page.wait_for_selector(".fp-images li:nth-child(2)")
    page.fill("#fp-batch-prompts", "The camera pans left.\nNight falls.")
    page.get_by_role("button", name="Make 4 videos").wait_for()
    check_axe(page)
    page.get_by_role("button", name="Make 4 videos").click()
    page.locator(".fp-batch .fp-sheet").first.wait_for(state="attached")
    page.locator(".fp-batch").first.scroll_into_view_if_needed()  # a picture is loaded where it can be seen
    page.wait_for_selector(".fp-batch .fp-sheet img")
    check_axe(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
