"""The page in a real browser, from the first picture to the video that brings its settings back."""

import re
from pathlib import Path

import numpy as np
import pytest
from page_actions import ask, choose, drop, settings, shows_settings, unfold, wait_for_status
from safetensors.numpy import save_file

from framepack.jobs.store import JobStore
from framepack.media.metadata import read_metadata
from framepack.media.read import probe

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

pytestmark = pytest.mark.timeout(900)


def test_a_picture_and_a_sentence_become_a_video_that_brings_its_settings_back(tab, site, sun) -> None:
    page = tab()
    assert "Drop an image" in page.inner_text(".fp-drop")
    assert page.is_visible(".fp-welcome")
    unfold(page)
    page.fill("#c-seed :is(input, textarea)", "9007199254740993")
    page.fill("#c-guidance .fp-head input", "7.5")
    choose(page, "Add images", sun)
    page.wait_for_selector("#c-frames .fp-row")
    page.fill("#c-frames .fp-row input >> nth=0", "1.5")
    page.press("#c-frames .fp-row input >> nth=0", "Tab")
    page.get_by_role("button", name="Add a prompt").click()
    page.fill("#c-prompts .fp-text input", "then night falls")
    page.press("#c-prompts .fp-text input", "Tab")
    page.check("#fp-lock input")
    ask(page, sun, 'The sun <b>wanders</b> over "the hills" until evening.', steps="6")
    wait_for_status(page, "running")
    page.wait_for_selector(".fp-preview:not([hidden])")
    page.wait_for_selector(".fp-screen video")
    assert "Section" in page.inner_text(".fp-numbers")
    (site[1].folders.outputs / "evening").touch()
    wait_for_status(page, "done")
    assert page.title() == "Done · FramePack"
    page.wait_for_function(
        "() => { const v = document.querySelector('.fp-screen video'); return v && v.currentTime > 0; }"
    )
    assert page.inner_text(".fp-request q") == 'The sun <b>wanders</b> over "the hills" until evening.'
    before = settings(page)
    assert before["c-seed text"] == "9007199254740993"

    assert re.search(r"job=\w+", page.url)
    with page.expect_download() as download:
        page.click(".fp-primary")
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
    wait_for_status(first, "running")
    second = tab()
    assert second.is_visible(".fp-welcome")
    ask(second, sun, "the second one", steps="3")
    wait_for_status(second, "queued")
    first.reload()
    wait_for_status(first, "running")
    assert "the first one" in first.inner_text(".fp-request")
    first.wait_for_function("() => document.querySelectorAll('#fp-queue .fp-job').length === 2")
    second.get_by_role("button", name="Cancel: the first one, until forever").click()
    wait_for_status(first, "cancelled")
    wait_for_status(second, "done")
    assert "the second one" in second.inner_text(".fp-request")
    second.fill("#fp-history input[type=search]", "the first one, until")
    second.wait_for_function("() => document.querySelectorAll('#fp-history .fp-card').length === 1")


def test_a_failure_is_a_sentence_with_its_story_one_click_away(tab, sun) -> None:
    page = tab()
    ask(page, sun, "please explode", steps="2")
    wait_for_status(page, "failed")
    assert "The paint exploded." in page.inner_text(".fp-message")
    page.click(".fp-below summary")
    assert "RuntimeError" in page.inner_text(".fp-below pre")
    page.get_by_role("button", name="Reuse settings", exact=True).click()
    page.wait_for_function("() => document.querySelector('#c-prompt textarea').value === 'please explode'")


def test_a_video_no_browser_plays_is_shown_and_other_formats_are_handed_out(tab, sun) -> None:
    page = tab()
    page.click("#c-output-format input")
    page.locator("li[role=option]", has_text="mkv").click()
    ask(page, sun, "for the cutting room", steps="2")
    wait_for_status(page, "done")
    page.wait_for_function(
        "() => { const v = document.querySelector('.fp-screen video'); return v && v.currentTime > 0; }"
    )
    with page.expect_download() as download:
        page.click(".fp-primary")
    assert read_metadata(Path(download.value.path()))["request"]["output"]["format"] == "mkv"
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as gif").click()
    assert download.value.suggested_filename.endswith(".gif")
    assert probe(Path(download.value.path())).format == "gif"


def test_a_job_deleted_on_the_command_line_leaves_the_page(tab, site, sun) -> None:
    page = tab()
    ask(page, sun, "soon forgotten", steps="2")
    wait_for_status(page, "done")
    (job,) = site[1].jobs(search="soon forgotten")
    page.wait_for_selector(f'#fp-history [data-job="{job.id}"]')
    other = JobStore(site[1].folders.queue)
    other.delete(job.id)
    other.close()
    page.wait_for_selector(f'#fp-history [data-job="{job.id}"]', state="detached")
    wait_for_status(page, "empty")


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
    wait_for_status(page, "done")
    (job,) = site[1].jobs(search="drawn in charcoal")
    assert [(lora.file.name, lora.strength) for lora in job.request.loras] == [("charcoal.safetensors", 0.5)]
