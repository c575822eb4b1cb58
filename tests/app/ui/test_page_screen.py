"""The page on small screens, and what it loads."""

import pytest
from page_actions import ask, unfold, wait_for_status

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

pytestmark = pytest.mark.timeout(900)


def test_on_a_phone_the_video_comes_first_once_there_is_one(tab, site, sun) -> None:
    page = tab(width=360, height=740)
    assert page.is_hidden(".fp-viewer"), "an empty page begins with the form"
    ask(page, sun, "seen on a phone until called", steps="2")
    wait_for_status(page, "running")
    page.wait_for_selector(".fp-preview:not([hidden])")
    page.wait_for_function("() => { const at = document.querySelector('.fp-screen').getBoundingClientRect();"
                           " return at.top >= 0 && at.bottom <= innerHeight; }")  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    (site[1].folders.outputs / "called").touch()
    wait_for_status(page, "done")
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
