"""In a real browser: the finished video and a file of one's own, converted and finished with steps."""

import json
from pathlib import Path

import pytest
from page_actions import ask, choose, drop, wait_for_status

from framepack.media.read import probe, read_video

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

pytestmark = pytest.mark.timeout(600)
MAKE = ".fp-finish .fp-make"


def fetched(page, folder: Path) -> Path:
    """The newest result, downloaded."""
    page.wait_for_selector(".fp-finish .fp-list li:first-child[data-status=done]")
    with page.expect_download() as download:
        page.click(".fp-finish .fp-list li:first-child a")
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def test_a_file_of_one_s_own_is_finished_with_files_beside_it(tab, site, clip, tmp_path) -> None:
    page = tab()
    page.click(".fp-finish summary")
    page.click(MAKE)
    page.wait_for_selector(".fp-finish .fp-error >> text=Choose a video first")
    choose(page, "Choose a file", clip)
    page.wait_for_selector(".fp-finish-source >> text=walk.mkv")
    page.click(MAKE)
    page.wait_for_selector(".fp-finish .fp-error >> text=Choose a format or a step first")
    page.fill("#fp-finish-enlarge", "much")
    page.click(MAKE)
    page.wait_for_selector(".fp-finish .fp-error >> text=Enlarge must be a number.")
    page.fill("#fp-finish-enlarge", "9")
    page.click(MAKE)
    page.wait_for_selector(".fp-finish .fp-error >> text=1..4")
    page.fill("#fp-finish-crf", "99")
    page.fill("#fp-finish-enlarge", "1,5")
    page.press("#fp-finish-enlarge", "Enter")
    page.wait_for_selector(".fp-finish .fp-error >> text=Compression must be")
    page.fill("#fp-finish-crf", "")
    page.set_input_files("#fp-finish-lut", str(clip))
    page.get_by_role("button", name="Remove Colour table").click()
    assert page.evaluate("document.activeElement.id") == "fp-finish-lut"
    page.route("**/api/finishings", lambda route: None if route.request.method == "POST" else route.continue_())
    page.click(MAKE)
    page.get_by_role("button", name="Stop sending").click()
    page.wait_for_selector(".fp-finish .fp-error >> text=The upload was stopped.")
    page.unroute("**/api/finishings")
    page.set_input_files("#fp-finish-join", [str(clip), str(clip)])
    with page.expect_request("**/api/finishings") as sent:
        page.click(MAKE)
    assert sent.value.method == "POST"
    file = fetched(page, tmp_path)
    assert file.name == "walk-finished.mkv", "the file's own format stays where none is chosen"
    facts = probe(file)
    assert (facts.width, facts.height, len(list(read_video(file)))) == (96, 96, 27)
    (made,) = site[1].finishings.all()
    page.click(f'.fp-finish [aria-label="Delete {file.name}"]')
    page.wait_for_selector(".fp-finish li", state="detached")
    assert not (site[1].finishings.home / made.id).exists()


def test_the_video_that_is_shown_is_converted_and_the_form_is_kept(tab, site, sun, tmp_path) -> None:
    page = tab()
    ask(page, sun, "shown and finished", seconds="0.3")
    wait_for_status(page, "done")
    page.click(".fp-finish summary")
    page.wait_for_selector(".fp-finish-source >> text=shown and finished")
    page.select_option("#fp-finish-codec", "prores")
    page.select_option("#fp-finish-format", "webm")
    assert page.input_value("#fp-finish-codec") == "", "a codec that the format does not have goes"
    assert page.eval_on_selector("#fp-finish-codec option[value=prores]", "one => one.disabled")
    page.select_option("#fp-finish-quality", "draft")
    page.fill("#fp-finish-speed", "0.5")
    page.press("#fp-finish-speed", "Tab")
    page.click(MAKE)
    file = fetched(page, tmp_path)
    (job,) = site[1].jobs(search="shown and finished")
    before, after = probe(job.outputs[0]), probe(file)
    assert file.name == f"{job.outputs[0].stem}.webm"
    assert after.frames == 2 * before.frames
    page.reload()
    page.click(".fp-finish summary")
    assert (page.input_value("#fp-finish-format"), page.input_value("#fp-finish-speed")) == ("webm", "0.5")
    page.wait_for_selector(f".fp-finish li >> text={file.name}")
    page.click(f'.fp-finish [aria-label="Delete {file.name}"]')
    page.wait_for_selector(".fp-finish li", state="detached")
    assert json.loads(page.evaluate("fetch('/api/finishings').then((answer) => answer.text())")) == []


def test_a_timeline_goes_to_an_editor_and_comes_back_into_the_form(tab, site, sun, tmp_path) -> None:
    pytest.importorskip("opentimelineio")
    page = tab()
    ask(page, sun, "cut in an editor", seconds="0.3", steps="3")
    wait_for_status(page, "done")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download a timeline as otio", exact=True).click()
    assert download.value.suggested_filename.endswith(".otio")
    timeline = tmp_path / download.value.suggested_filename
    download.value.save_as(timeline)
    page.fill("#c-prompt textarea", "something else")
    page.fill("#c-steps .fp-head input", "9")
    page.press("#c-steps .fp-head input", "Tab")
    page.wait_for_function("() => FP.form.values.prompt === 'something else' && FP.form.values.steps === 9")
    drop(page, timeline, "application/json")
    page.wait_for_selector("#fp-notice >> text=The form now has")
    page.wait_for_function("() => FP.form.values.prompt === 'cut in an editor' && FP.form.values.steps === 3")
    assert page.evaluate("FP.form.values.image"), "the picture is still there"
    timeline.write_text("no timeline")
    drop(page, timeline, "application/json")
    page.wait_for_selector("#c-image .fp-error:not(:empty)")


def test_what_a_conversion_leaves_out_is_said_beside_it(tab, sun) -> None:
    page = tab()
    ask(page, sun, "converted with a note", seconds="0.3")
    wait_for_status(page, "done")
    made = {"url": "data:,", "name": "a.webm", "bytes": 1, "notes": ["the sound is left out"]}
    page.route("**/convert?format=webm", lambda route: route.fulfill(json=made))
    page.get_by_role("button", name="Download as webm").click()
    page.wait_for_selector(".fp-formats [role=status] >> text=The sound is left out.")
