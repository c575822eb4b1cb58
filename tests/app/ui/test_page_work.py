"""In a real browser: what someone typed or chose survives what the page does, and notices are not in the way."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_worker import paint
from page_actions import ask, choose, drop, unfold, value, wait_for_status
from PIL import Image

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

pytestmark = pytest.mark.timeout(900)

PROMPT = "#c-prompt textarea"
NOTICE = "#fp-notice .fp-notice"


@pytest.fixture(scope="session")
def moon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another picture, of other colours."""
    file = tmp_path_factory.mktemp("pictures") / "moon.png"
    Image.fromarray(255 - paint(0.8, (384, 256))).save(file)
    return file


def line_of(page) -> Callable[[int], None]:
    """Call it with the bytes a second that the page may send; -1 is as fast as it goes."""
    devtools = page.context.new_cdp_session(page)

    def speed(bytes_a_second: int) -> None:
        line = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_a_second}
        devtools.send("Network.emulateNetworkConditions", line)

    return speed


def picture_of(site, search: str) -> tuple[int, ...]:
    """A pixel of the picture that the one job with this prompt begins with."""
    (job,) = site[1].jobs(search=search)
    with Image.open(job.request.image.file) as image:
        return image.convert("RGB").getpixel((5, 5))  # type: ignore[return-value]


def pixel(file: Path) -> tuple[int, ...]:
    with Image.open(file) as image:
        return image.convert("RGB").getpixel((5, 5))  # type: ignore[return-value]


def has(page, text: str) -> None:
    page.wait_for_function(f"(text) => document.querySelector('{PROMPT}')?.value === text", arg=text)


def test_generate_waits_for_the_picture_that_is_on_its_way(tab, site, sun, moon) -> None:
    page = tab()
    drop(page, sun, "image/png")
    page.wait_for_function("() => FP.form.values.image")
    page.fill("#c-steps .fp-head input", "2")
    page.fill(PROMPT, "of the moon")
    speed = line_of(page)
    speed(1000)
    choose(page, "Choose another image", sun)
    choose(page, "Choose another image", moon)
    page.focus(PROMPT)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#fp-generate[data-wait]")
    page.fill(PROMPT, "of the next one")
    page.click("#fp-generate")
    page.wait_for_timeout(300)
    assert site[1].jobs(search="of the") == []
    speed(-1)
    wait_for_status(page, "done")
    assert site[1].jobs(search="of the next one") == []
    assert picture_of(site, "of the moon") == pixel(moon) != pixel(sun)
    assert page.get_by_role("button", name="Generate").is_enabled()


def test_a_number_is_taken_or_reported_at_its_field_and_an_empty_one_is_the_default(tab, site, sun) -> None:
    page = tab()
    steps = "#c-steps .fp-head input"
    for typed, error in (("0", "steps must be 1..200, got 0"), ("1e999", "whole number, got '1e999'"), ("abc", "abc")):
        page.fill(steps, typed)
        page.press(steps, "Tab")
        page.wait_for_function("([error]) => document.querySelector('#c-steps .fp-error')?.innerText.toLowerCase()"
                               ".includes(error)", arg=[error])  # fmt: skip
        assert page.input_value(steps) == typed
    ask(page, sun, "not with these steps, until seen")
    page.wait_for_selector(f"{NOTICE}.fp-notice-error")
    assert page.evaluate("document.activeElement.closest('#c-steps') !== null"), "the field is pointed at"
    page.fill(steps, "")
    page.press(steps, "Tab")
    assert value(page, "steps") == "2"
    page.wait_for_selector("#c-steps .fp-error", state="detached")
    page.fill("#c-guidance .fp-head input", "2,5")
    page.fill("#c-seconds .fp-head input", "0.5")
    page.press("#c-seconds .fp-head input", "Tab")
    page.wait_for_selector("#c-seconds .fp-field-message")
    page.fill(steps, "")
    page.keyboard.press("Control+Enter")
    wait_for_status(page, "running")
    (job,) = site[1].jobs(search="not with these steps, until seen")
    assert (job.request.steps, job.request.seconds, job.request.guidance) == (2, 0.5, 2.5)
    page.click(".fp-viewer button:has-text('Cancel')")


def test_what_replaces_the_form_can_be_undone_and_redone(tab, sun) -> None:
    page = tab()
    ask(page, sun, "the first draft", steps="2")
    wait_for_status(page, "done")
    page.fill(PROMPT, "the second draft")
    page.fill("#c-seed textarea, #c-seed input", "77")
    page.get_by_role("button", name="Reuse settings", exact=True).click()
    has(page, "the first draft")
    page.get_by_role("button", name="Night falls").click()
    has(page, "the first draft. Night falls.")
    page.get_by_role("button", name="Night falls").click()
    has(page, "the first draft.")
    page.keyboard.press("Control+z")
    has(page, "the first draft. Night falls.")
    page.get_by_role("button", name="Remove the image").click()
    page.wait_for_selector(".fp-invite")
    page.click(f"{NOTICE} >> text=Undo")
    page.wait_for_selector(".fp-chosen")
    page.locator(".fp-header button[aria-label=Undo]").click()
    has(page, "the second draft")
    assert page.input_value("#c-seed textarea, #c-seed input") == "77"
    page.reload()
    page.wait_for_selector(".fp-chosen")
    page.locator(".fp-header button[aria-label=Redo]").click()
    has(page, "the first draft. Night falls.")


def test_a_job_is_edited_on_a_copy_and_the_draft_comes_back(tab, site, sun) -> None:
    page = tab()
    ask(page, sun, "before it, until edited", steps="2")
    wait_for_status(page, "running")
    for again in ("that waits", "another draft"):
        page.fill(PROMPT, again)
        if again != "another draft":
            page.wait_for_timeout(900)
            page.click("#fp-generate")
    page.get_by_role("button", name="Edit: that waits").click()
    has(page, "that waits")
    page.fill(PROMPT, "that waits longer")
    page.wait_for_function("() => (sessionStorage.getItem('framepack.form') || '').includes('waits longer')")
    page.reload()
    has(page, "that waits longer")
    page.get_by_role("button", name="Save changes").click()
    has(page, "another draft")
    assert page.get_by_role("button", name="Stop editing").is_hidden()
    assert [job.request.prompt for job in site[1].jobs(status=["queued"])] == ["that waits longer"]
    page.get_by_role("button", name="Edit: that waits longer").click()
    has(page, "that waits longer")
    page.wait_for_selector("#fp-queue .fp-edited:has-text('that waits longer')")
    page.get_by_role("button", name="Stop editing").click()
    has(page, "another draft")
    page.get_by_role("button", name="Cancel: that waits longer").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    wait_for_status(page, "cancelled")


COVERED = """() => { const box = document.querySelector('#fp-notice .fp-notice').getBoundingClientRect();
return [...document.querySelectorAll('#fp-generate, .fp-viewer .fp-line > *')].filter((one) => {
const at = one.getBoundingClientRect();
return at.width && at.bottom > box.top && at.top < box.bottom && at.right > box.left && at.left < box.right; })
.map((one) => one.innerText); }"""


def never_covered(page) -> None:
    """Wherever one scrolls, a message lies beside the buttons."""
    text = "A sentence of the usual length, about what did not work. " * 2
    page.evaluate("(text) => FP.notify({ tone: 'error', text })", text)
    page.wait_for_selector(NOTICE)
    for y in range(0, page.evaluate("document.documentElement.scrollHeight"), 90):
        page.evaluate("(y) => new Promise((done) => { scrollTo(0, y); setTimeout(done, 60); })", y)
        until = time.monotonic() + 20  # the message moves once the page has been laid out, on a busy machine later
        while page.evaluate(COVERED) != []:
            assert time.monotonic() < until, (y, page.evaluate(COVERED))
            time.sleep(0.05)
        assert page.evaluate("(() => { const at = document.querySelector('#fp-notice').getBoundingClientRect();"
                             " return at.top >= 0 && at.bottom <= innerHeight; })()"), y  # fmt: skip
    page.evaluate("scrollTo(0, 0)")


def test_the_video_stays_in_sight_and_a_message_leaves_and_covers_no_button(tab, sun) -> None:
    page = tab(width=1280, height=800)
    ask(page, sun, "seen from everywhere", steps="2")
    wait_for_status(page, "done")
    page.clock.install()
    page.evaluate("scrollTo(0, 600)")
    at = page.locator("#fp-viewer").bounding_box()
    assert 0 <= at["y"] < 100, at
    assert page.locator(".fp-viewer .fp-primary").bounding_box()["y"] < 800 - 30
    never_covered(page)
    page.clock.fast_forward(60_000)
    assert page.is_visible(NOTICE), "an error stays"
    page.evaluate("FP.notify({ text: 'Queued.' })")
    assert "Queued." in page.inner_text(NOTICE)
    page.mouse.move(5, 5)
    page.clock.run_for(7_000)
    page.wait_for_selector(NOTICE, state="detached")


@pytest.mark.proof
def test_a_picture_that_does_not_arrive_begins_no_video_and_an_upload_can_be_stopped(tab, site, sun, moon) -> None:
    page = tab()
    drop(page, sun, "image/png")
    page.wait_for_function("() => FP.form.values.image")
    before = page.evaluate("FP.form.values.image")
    page.fill(PROMPT, "never begun")
    asked: list = []
    page.route("**/api/uploads", lambda route: asked.append(route))
    choose(page, "Choose another image", moon)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#fp-generate[data-wait]")
    asked[0].abort()
    page.wait_for_selector("#c-image .fp-error:not(:empty)")
    page.wait_for_selector(f"{NOTICE}.fp-notice-error:has-text('no video was started')")
    choose(page, "Choose another image", moon)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#fp-generate[data-wait]")
    page.get_by_role("button", name="Do not wait").click()
    page.get_by_role("button", name="Stop this upload").click()
    page.wait_for_function("() => FP.uploads.size === 0")
    assert page.evaluate("FP.form.values.image") == before
    assert site[1].jobs(search="never begun") == []


@pytest.mark.proof
def test_what_is_typed_while_the_server_is_away_is_there_when_it_is_back(tab, sun) -> None:
    page = tab()
    drop(page, sun, "image/png")
    page.wait_for_function("() => FP.form.values.image")
    page.context.set_offline(True)
    page.fill(PROMPT, "typed all alone")
    page.fill("#c-steps .fp-head input", "0")
    page.fill("#c-width textarea, #c-width input", "333")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(f"{NOTICE}.fp-notice-error")
    assert "does not answer" in page.inner_text(NOTICE)
    page.context.set_offline(False)
    page.reload()
    has(page, "typed all alone")
    page.wait_for_selector(".fp-chosen")
    assert value(page, "steps") == "0"
    assert page.input_value("#c-width textarea, #c-width input") == "333"
    page.wait_for_selector("#c-width .fp-error, #c-steps .fp-error")


@pytest.mark.proof
def test_a_file_in_the_wrong_place_is_reported_there_and_changes_nothing(tab, sun) -> None:
    page = tab()
    drop(page, sun, "image/png")
    page.wait_for_function("() => FP.form.values.image")
    unfold(page)
    before = page.evaluate("FP.form")
    lists = [f"#c-{name} .fp-rows" for name in ("frames", "end-frame", "prompts", "loras")]
    for place in ["#c-image .fp-drop", *lists]:
        drop(page, Path(__file__), "text/x-python", place)
        page.wait_for_selector(f"{place.split()[0]} .fp-error:not(:empty)")
    assert page.evaluate("FP.form") == before


@pytest.mark.proof
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768), (390, 844), (360, 640)])
def test_a_message_covers_no_button_at_any_size(tab, sun, width: int, height: int) -> None:
    page = tab(width=width, height=height)
    never_covered(page)
    ask(page, sun, "seen at every size", steps="2")
    wait_for_status(page, "done")
    page.wait_for_selector(".fp-primary")
    never_covered(page)
