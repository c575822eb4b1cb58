"""The page in a real browser, from the first picture to the video that brings its settings back."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from framepack.media.metadata import read_metadata
from framepack.media.read import probe

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
    page.fill("#c-frames .fp-row input >> nth=0", "1.5")
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
    assert page.title() == "Done · FramePack"
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
    page.get_by_role("button", name="Close this message").click()
    page.wait_for_selector(".fp-notice", state="detached")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("() => { const said = document.querySelector('.fp-notice.fp-wrong');"
                           " if (!said) return false; const at = said.getBoundingClientRect();"
                           " return at.top >= 0 && at.bottom <= innerHeight; }")  # fmt: skip
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


def value(page, field: str) -> str:
    return page.input_value(f"#c-{field} input[type=number]")


def test_a_quality_mode_moves_controls_one_can_see_and_is_read_off_them(tab) -> None:
    page = tab()
    page.get_by_role("button", name="Advanced").click()
    assert page.is_checked("#fp-mode >> text=Balanced")
    page.check("#fp-mode >> text=Fast")
    page.wait_for_function("() => document.querySelector('#c-steps input[type=number]').value === '15'")
    page.wait_for_selector("#c-cache-threshold:visible")
    page.fill("#c-steps input[type=number]", "33")
    page.press("#c-steps input[type=number]", "Tab")
    page.wait_for_function("() => document.querySelector('#fp-mode input:checked')?.value === 'own'")


def test_the_length_follows_the_model_until_someone_chooses_one(tab) -> None:
    page = tab()
    assert value(page, "seconds") == "2.4"

    def choose_model(name: str) -> None:
        page.click("#c-model input")
        page.get_by_role("option", name=name).first.click()

    choose_model("framepack: ")
    page.wait_for_function("() => document.querySelector('#c-seconds input[type=number]').value === '5'")
    page.fill("#c-seconds input[type=number]", "7")
    page.press("#c-seconds input[type=number]", "Tab")
    choose_model("mini-f1: ")
    page.wait_for_function("() => document.querySelector('#fp-model textarea').value === 'mini-f1'")
    assert value(page, "seconds") == "7"


def test_a_video_no_browser_plays_is_shown_and_other_formats_are_handed_out(tab, sun) -> None:
    page = tab()
    page.click("#c-output-format input")
    page.get_by_role("option", name="mkv").click()
    ask(page, sun, "for the cutting room", steps="2")
    stage(page, "done")
    page.wait_for_function(
        "() => { const v = document.querySelector('.fp-screen video'); return v && v.currentTime > 0; }"
    )
    with page.expect_download() as download:
        page.click(".fp-strong")
    assert read_metadata(Path(download.value.path()))["request"]["output"]["format"] == "mkv"
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as gif").click()
    assert download.value.suggested_filename.endswith(".gif")
    assert probe(Path(download.value.path())).format == "gif"


def test_a_lora_is_uploaded_chosen_and_used(tab, site, sun, tmp_path) -> None:
    file, broken = tmp_path / "charcoal.safetensors", tmp_path / "broken.safetensors"
    half = np.ones((2, 4), np.float32)
    save_file({"a.lora_A.weight": half, "a.lora_B.weight": half.T.copy()}, file)
    broken.write_bytes(b"\x80\x04" + bytes(100))
    page = tab()
    page.get_by_role("button", name="Advanced").click()
    choose(page, "Upload a LoRA file", broken)
    page.wait_for_selector("#c-loras .fp-error:not(:empty)")
    choose(page, "Upload a LoRA file", file)
    page.wait_for_selector("#c-loras .fp-row")
    assert page.input_value("#c-loras select") == "charcoal.safetensors"
    page.fill("#c-loras .fp-number input", "0.5")
    page.press("#c-loras .fp-number input", "Tab")
    ask(page, sun, "drawn in charcoal", steps="2")
    stage(page, "done")
    (job,) = site[1].jobs(search="drawn in charcoal")
    assert [(lora.file.name, lora.strength) for lora in job.request.loras] == [("charcoal.safetensors", 0.5)]


def test_on_a_phone_the_video_comes_first_once_there_is_one(tab, site, sun) -> None:
    page = tab(width=360, height=740)
    assert page.is_hidden(".fp-stage"), "an empty page begins with the form"
    ask(page, sun, "seen on a phone until called", steps="2")
    stage(page, "running")
    page.wait_for_selector(".fp-latent:not([hidden])")
    page.wait_for_function("() => { const at = document.querySelector('.fp-screen').getBoundingClientRect();"
                           " return at.top >= 0 && at.bottom <= innerHeight; }")  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    (site[1].folders.outputs / "called").touch()
    stage(page, "done")
    page.wait_for_selector("#fp-history .fp-card")
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


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
