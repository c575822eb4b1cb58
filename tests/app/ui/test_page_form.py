"""The form in a real browser: what is wrong is said at its field, presets and modes move what one sees."""

import json
from pathlib import Path

import pytest
from page_actions import choose, drop, unfold, value

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

pytestmark = pytest.mark.timeout(900)


def test_what_cannot_work_is_said_at_the_field_and_by_the_button(tab, sun) -> None:
    page = tab()
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".fp-notice.fp-notice-error")
    assert "Add an image first" in page.inner_text("#fp-notice")
    page.get_by_role("button", name="Close this message").click()
    page.wait_for_selector(".fp-notice", state="detached")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("() => { const said = document.querySelector('.fp-notice.fp-notice-error');"
                           " if (!said) return false; const at = said.getBoundingClientRect();"
                           " return at.top >= 0 && at.bottom <= innerHeight; }")  # fmt: skip
    page.fill("#c-width input", "100")
    page.press("#c-width input", "Tab")
    page.wait_for_selector("#c-width .fp-field-message")
    assert "multiple of 16" in page.inner_text("#c-width .fp-field-message")
    page.wait_for_selector("#c-resolution", state="hidden")
    page.fill("#c-width input", "")
    page.press("#c-width input", "Tab")
    page.wait_for_selector("#c-width .fp-field-message", state="detached")
    drop(page, Path(__file__), "image/png")
    page.wait_for_selector("#c-image .fp-error:not(:empty)")


def test_a_preset_is_saved_loaded_starred_renamed_exported_and_deleted(tab) -> None:
    page = tab()
    page.get_by_role("button", name="Presets").click()
    page.fill("#c-guidance .fp-head input", "3.5")
    page.press("#c-guidance .fp-head input", "Tab")
    page.fill(".fp-save input", "soft light")
    page.click(".fp-save button")
    page.wait_for_selector(".fp-preset")
    page.get_by_role("button", name="Start with soft light").click()
    page.wait_for_selector(".fp-preset .fp-on")
    page.once("dialog", lambda dialog: None)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export all").click()
    assert json.loads(Path(download.value.path()).read_text())["soft light"]["guidance"] == 3.5
    fresh = tab()
    fresh.wait_for_function("() => document.querySelector('#c-guidance .fp-head input').value === '3.5'")
    fresh.fill("#c-guidance .fp-head input", "9")
    fresh.press("#c-guidance .fp-head input", "Tab")
    fresh.get_by_role("button", name="Presets").click()
    fresh.click(".fp-preset .fp-name")
    fresh.wait_for_function("() => document.querySelector('#c-guidance .fp-head input').value === '3.5'")
    fresh.get_by_role("button", name="Delete soft light").click()
    fresh.wait_for_selector(".fp-preset", state="detached")


def test_a_quality_mode_moves_controls_one_can_see_and_is_read_off_them(tab) -> None:
    page = tab()
    page.get_by_role("button", name="Advanced").click()
    assert page.is_checked("#fp-mode >> text=Balanced")
    assert page.locator("#fp-mode >> text=Fast").count() == 0, "two steps cannot be made fewer"
    page.check("#fp-mode >> text=Best")
    page.wait_for_function("() => document.querySelector('#c-steps .fp-head input').value === '3'")
    choose_model(page, "framepack: ")
    page.check("#fp-mode >> text=Fast")
    page.wait_for_function("() => document.querySelector('#c-steps .fp-head input').value === '15'")
    page.wait_for_selector("#c-cache-threshold:visible")
    page.fill("#c-steps .fp-head input", "33")
    page.press("#c-steps .fp-head input", "Tab")
    page.wait_for_function("() => document.querySelector('#fp-mode input:checked')?.value === 'custom'")


def choose_model(page, name: str) -> None:
    page.click("#c-model input")
    page.get_by_role("option", name=name).first.click()


def test_a_model_that_is_not_here_says_so_at_its_choice_with_its_size_and_the_way_out(tab) -> None:
    page = tab()
    assert page.is_hidden("#fp-advice")
    choose_model(page, "framepack-f1: ")
    page.wait_for_selector("#fp-advice .fp-advice")
    advice = page.inner_text("#fp-advice")
    assert "framepack-f1 is not downloaded" in advice
    assert "About 42.9 GB are missing" in advice
    assert page.inner_text("#fp-advice code") == "framepack models download framepack-f1"
    choose_model(page, "mini: ")
    page.wait_for_selector("#fp-advice", state="hidden")


def test_the_sentences_to_begin_with_are_what_the_model_can(tab) -> None:
    page = tab()
    page.get_by_role("button", name="The picture ripples.", exact=True).click()
    assert page.input_value("#c-prompt textarea") == "The picture ripples."
    assert page.get_by_role("button", name="The girl dances gracefully").count() == 0
    choose_model(page, "framepack: ")
    page.get_by_role("button", name="The girl dances gracefully").wait_for()
    assert page.get_by_role("button", name="The picture ripples").count() == 0


def test_the_length_follows_the_model_until_someone_chooses_one(tab) -> None:
    page = tab()
    assert (value(page, "seconds"), value(page, "steps")) == ("2.4", "2")
    choose_model(page, "framepack: ")
    page.wait_for_function("() => document.querySelector('#c-seconds .fp-head input').value === '5'")
    page.wait_for_function("() => document.querySelector('#c-steps .fp-head input').value === '25'")
    page.fill("#c-seconds .fp-head input", "7")
    page.press("#c-seconds .fp-head input", "Tab")
    choose_model(page, "mini-f1: ")
    page.wait_for_function("() => document.querySelector('#fp-model textarea').value === 'mini-f1'")
    assert value(page, "seconds") == "7"


def test_pictures_that_are_added_together_lie_a_second_apart(tab, sun) -> None:
    page = tab()
    unfold(page)
    choose(page, "Add images", sun, sun)
    page.wait_for_selector("#c-frames .fp-row >> nth=1")
    seconds = "() => [...document.querySelectorAll('#c-frames .fp-row')].map((row) => row.querySelector('input').value)"
    assert page.evaluate(seconds) == ["1", "2"]
    choose(page, "Add images", sun)
    page.wait_for_selector("#c-frames .fp-row >> nth=2")
    assert page.evaluate(seconds) == ["1", "2", "3"]


def test_keyframes_stay_in_sight_with_a_model_that_takes_none(tab, sun) -> None:
    page = tab()
    unfold(page)
    choose(page, "Add images", sun)
    page.wait_for_selector("#c-frames .fp-row")
    choose_model(page, "framepack-f1")
    page.wait_for_function("() => document.body.innerText.includes('no slot for a later frame')")
    assert page.is_visible("#c-frames .fp-row")
    page.get_by_role("button", name="Remove, Keyframes 1").click()
    page.wait_for_selector("#c-frames", state="hidden")


def test_a_reload_loses_nothing_that_was_typed(tab, sun) -> None:
    page = tab()
    drop(page, sun, "image/png")
    page.wait_for_function("() => FP.form.values.image && FP.uploads.size === 0")  # else the browser asks
    page.fill("#c-guidance .fp-head input", "3.5")
    page.press("#c-guidance .fp-head input", "Tab")
    page.locator("#fp-lock input").check()
    page.fill("#c-prompt textarea", "the sun sinks")  # and the field is not left
    page.wait_for_function("() => (sessionStorage.getItem('framepack.form') || '').includes('the sun sinks')")
    page.wait_for_function("() => JSON.parse(sessionStorage.getItem('framepack.form')).lock")
    page.reload()
    page.wait_for_selector(".fp-summary:not(:empty)")
    page.wait_for_function("() => document.querySelector('#c-prompt textarea').value === 'the sun sinks'")
    page.wait_for_selector("#c-image .fp-chosen")
    assert value(page, "guidance") == "3.5"
    assert page.locator("#fp-lock input").is_checked()
    fresh = tab()
    fresh.wait_for_function("() => document.querySelector('#c-prompt textarea').value === 'the sun sinks'")
