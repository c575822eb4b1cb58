"""The page in a real browser, from the first picture to the video that brings its settings back."""

import json
import re
import time
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

pytestmark = pytest.mark.timeout(900)


def stage(page, status: str):
    return page.wait_for_selector(f'.fp-stage[data-status="{status}"]')


def choose(page, button: str, *files: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).first.click()
    chooser.value.set_files([str(file) for file in files])


def drop(page, file: Path, kind: str) -> None:
    """Drop a file on the page as a file manager does."""
    transfer = page.evaluate_handle(
        """([bytes, name, type]) => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, { type })); return data; }""",
        [list(file.read_bytes()), file.name, kind],
    )
    page.dispatch_event(".fp-drop", "drop", {"dataTransfer": transfer})


def ask(page, picture: Path, prompt: str, **numbers: str) -> None:
    """Fill the form and press Ctrl+Enter."""
    drop(page, picture, "image/png")
    page.wait_for_selector(".fp-chosen")
    page.fill("#c-prompt textarea", prompt)
    for field, text in numbers.items():
        page.fill(f"#c-{field} input[type=number]", text)
        page.press(f"#c-{field} input[type=number]", "Tab")
    page.focus("#c-prompt textarea")
    page.keyboard.press("Control+Enter")


def shows_settings(page, wanted: dict[str, str]) -> None:
    """Wait until every control shows what is wanted."""
    until = time.monotonic() + 120
    while (now := settings(page)) != wanted:
        assert time.monotonic() < until, (now, wanted)
        time.sleep(0.2)


def settings(page) -> dict[str, str]:
    """What every control on the page shows."""
    return page.evaluate(
        """() => Object.fromEntries(
        [...document.querySelectorAll('[id^="c-"] :is(input, textarea, select)')].map((field) =>
        [field.closest('[id^="c-"]').id + ' ' + (field.getAttribute('aria-label') || field.type),
         field.type === 'checkbox' ? String(field.checked) : field.value]))"""
    )


def unfold(page) -> None:
    for fold in ("Pictures and sentences on the way", "Advanced", "Presets"):
        page.get_by_role("button", name=fold).click()
    page.wait_for_selector("#fp-presets .fp-save")


def test_a_picture_and_a_sentence_become_a_video_that_brings_its_settings_back(tab, site, sun) -> None:
    page = tab()
    assert "Drop a picture" in page.inner_text(".fp-drop")
    assert page.is_visible(".fp-welcome")
    unfold(page)
    page.fill("#c-seed :is(input, textarea)", "9007199254740993")
    page.fill("#c-guidance input[type=number]", "7.5")
    choose(page, "Add pictures", sun)
    page.wait_for_selector("#c-frames .fp-row")
    page.fill("#c-frames .fp-row input >> nth=0", "2.5")
    page.press("#c-frames .fp-row input >> nth=0", "Tab")
    page.get_by_role("button", name="Add a sentence").click()
    page.fill("#c-prompts .fp-text input", "then night falls")
    page.press("#c-prompts .fp-text input", "Tab")
    page.check("#fp-lock input")
    ask(page, sun, 'The sun <b>wanders</b> over "the hills" until evening.', steps="6")
    stage(page, "running")
    page.wait_for_selector(".fp-latent:not([hidden])")
    page.wait_for_selector(".fp-screen video")
    assert "Section" in page.inner_text(".fp-numbers")
    (site[1].folders.outputs / "evening").touch()
    stage(page, "done")
    page.wait_for_function(
        "() => { const v = document.querySelector('.fp-screen video'); return v && v.currentTime > 0; }"
    )
    assert page.inner_text(".fp-asked q") == 'The sun <b>wanders</b> over "the hills" until evening.'
    before = settings(page)
    assert before["c-seed text"] == "9007199254740993"

    assert re.search(r"job=\w+", page.url)
    with page.expect_download() as download:
        page.click(".fp-strong")
    file = Path(download.value.path())
    other = tab()
    unfold(other)
    drop(other, file, "video/mp4")
    other.wait_for_selector(".fp-notice")
    other.wait_for_selector("#c-frames .fp-row")
    other.wait_for_selector(".fp-chosen")
    shows_settings(other, before)


def test_a_reload_finds_the_job_and_another_tab_has_its_own(tab, sun) -> None:
    first = tab()
    ask(first, sun, "the first one, until forever", steps="6")
    stage(first, "running")
    second = tab()
    assert second.is_visible(".fp-welcome")
    ask(second, sun, "the second one", steps="3")
    stage(second, "queued")
    first.reload()
    stage(first, "running")
    assert "the first one" in first.inner_text(".fp-asked")
    first.wait_for_function("() => document.querySelectorAll('#fp-queue .fp-job').length === 2")
    second.get_by_role("button", name="Cancel: the first one, until forever").click()
    stage(first, "cancelled")
    stage(second, "done")
    assert "the second one" in second.inner_text(".fp-asked")
    second.fill("#fp-history input[type=search]", "the first")
    second.wait_for_function("() => document.querySelectorAll('#fp-history .fp-card').length === 1")


def test_what_cannot_work_is_said_at_the_field_and_by_the_button(tab, sun) -> None:
    page = tab()
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".fp-notice.fp-wrong")
    assert "Add a picture first" in page.inner_text("#fp-notice")
    page.fill("#c-width input", "100")
    page.press("#c-width input", "Tab")
    page.wait_for_selector("#c-width .fp-mark")
    assert "multiple of 16" in page.inner_text("#c-width .fp-mark")
    page.wait_for_selector("#c-resolution", state="hidden")
    page.fill("#c-width input", "")
    page.press("#c-width input", "Tab")
    page.wait_for_selector("#c-width .fp-mark", state="detached")
    drop(page, Path(__file__), "image/png")
    page.wait_for_selector("#c-image .fp-error:not(:empty)")


def test_a_failure_is_a_sentence_with_its_story_one_click_away(tab, sun) -> None:
    page = tab()
    ask(page, sun, "please explode", steps="2")
    stage(page, "failed")
    assert "the paint exploded" in page.inner_text(".fp-message")
    page.click(".fp-below summary")
    assert "RuntimeError" in page.inner_text(".fp-below pre")
    page.get_by_role("button", name="Reuse settings", exact=True).click()
    page.wait_for_function("() => document.querySelector('#c-prompt textarea').value === 'please explode'")


def test_a_preset_is_saved_loaded_starred_renamed_exported_and_deleted(tab) -> None:
    page = tab()
    page.get_by_role("button", name="Presets").click()
    page.fill("#c-guidance input[type=number]", "3.5")
    page.press("#c-guidance input[type=number]", "Tab")
    page.fill(".fp-save input", "soft light")
    page.click(".fp-save button")
    page.wait_for_selector(".fp-preset")
    page.get_by_role("button", name="Begin with soft light").click()
    page.wait_for_selector(".fp-preset .fp-on")
    page.once("dialog", lambda dialog: None)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export all").click()
    assert json.loads(Path(download.value.path()).read_text())["soft light"]["guidance"] == 3.5
    fresh = tab()
    fresh.wait_for_function("() => document.querySelector('#c-guidance input[type=number]').value === '3.5'")
    fresh.fill("#c-guidance input[type=number]", "9")
    fresh.press("#c-guidance input[type=number]", "Tab")
    fresh.get_by_role("button", name="Presets").click()
    fresh.click(".fp-preset .fp-name")
    fresh.wait_for_function("() => document.querySelector('#c-guidance input[type=number]').value === '3.5'")
    fresh.get_by_role("button", name="Delete soft light").click()
    fresh.wait_for_selector(".fp-preset", state="detached")


@pytest.mark.parametrize("width", [360, 768])
def test_a_small_screen_never_scrolls_sideways(tab, width) -> None:
    page = tab(width=width, height=740)
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_is_fetched_from_elsewhere(browser, site) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site[0])
    page.wait_for_selector(".fp-drop", timeout=60_000)
    page.wait_for_load_state("networkidle")
    page.close()
    assert [url for url in asked if not url.startswith((site[0], "data:", "blob:"))] == []
