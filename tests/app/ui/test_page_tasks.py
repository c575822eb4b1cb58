"""In a real browser: what is made of which sources, frames before the long run, and takes of what is finished.

Where a pipeline is needed, it is the real one on tiny random checkpoints.
"""

from pathlib import Path

import numpy as np
import pytest
from fake_worker import paint
from page_actions import choose, drop, settings, shows_settings, wait_for_status
from PIL import Image

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

pytestmark = pytest.mark.timeout(900)
NOTICE = "#fp-notice .fp-notice"
SMALL = {"width": "64", "height": "64"}


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "small.png"
    Image.fromarray(paint(0.2, (64, 64))).save(file)
    return file


def make(page, task: str) -> None:
    """Choose what is made, and wait until the server has answered to it."""
    page.select_option("#c-task select", task)
    page.wait_for_function("(task) => FP.form.values.task === task", arg=task)


def shrink(page, seconds: str) -> None:
    """As small and short as a video can be."""
    for field, text in SMALL.items():
        page.fill(f"#c-{field} :is(input, textarea)", text)
        page.press(f"#c-{field} :is(input, textarea)", "Tab")
    page.fill("#c-seconds .fp-head input", seconds)
    page.press("#c-seconds .fp-head input", "Tab")
    page.fill("#c-steps .fp-head input", "1")
    page.press("#c-steps .fp-head input", "Tab")
    page.wait_for_function("() => FP.form.values.height === '64' && FP.form.values.steps === 1")


def has_file(page, field: str) -> None:
    page.wait_for_function("(field) => FP.form.values[field]", arg=field)


def test_only_what_a_task_uses_is_shown_and_a_file_of_another_kind_is_refused(tab, sun, clip) -> None:
    page = tab()
    assert page.query_selector("#c-target .fp-drop") is None
    make(page, "extend")
    page.wait_for_selector(f"{NOTICE} >> text=The model is now mini-f1")
    assert page.inner_text("#c-image strong") == "Drop a video"
    drop(page, sun, "image/png")
    page.wait_for_selector("#c-image .fp-error >> text=a video is needed here")
    drop(page, clip, "video/x-matroska")
    page.wait_for_selector("#c-image .fp-badge")
    make(page, "restyle")
    page.wait_for_selector("#c-strength .fp-head input")
    make(page, "bridge")
    page.wait_for_selector("#c-target .fp-drop")
    page.wait_for_selector("#c-strength .fp-head input", state="detached")
    drop(page, sun, "image/png", "#c-target .fp-drop")
    has_file(page, "target")
    assert page.evaluate("FP.isVideo(FP.form.values.image)"), "what is dropped on the target is the target's alone"
    before = settings(page)
    page.reload()
    page.wait_for_selector("#c-target .fp-chosen")
    shows_settings(page, before)
    make(page, "image")
    page.wait_for_selector("#c-image .fp-field-message >> text=needs an image, and this is a video")
    page.wait_for_selector("#c-target .fp-drop", state="detached")


@pytest.mark.proof
@pytest.mark.parametrize("task", ["extend", "lead_in", "bridge", "loop", "restyle"])
def test_each_task_is_made_on_the_page_and_its_settings_open_again(real_tab, real_site, clip, small, task) -> None:
    page = real_tab()
    make(page, task)
    drop(page, *((small, "image/png") if task == "loop" else (clip, "video/x-matroska")))
    has_file(page, "image")
    if task == "bridge":
        choose(page, "Target: Drop a video or an image", small)
        has_file(page, "target")
    page.fill("#c-prompt textarea", f"made by {task}")
    shrink(page, "0.2")
    page.click("#fp-generate")
    wait_for_status(page, "done")
    (job,) = real_site[1].jobs(search=f"made by {task}")
    assert (job.request.task, job.status) == (task, "done")
    assert (job.request.target is not None) == (task == "bridge")
    before = page.evaluate("({ ...FP.form.values, seed: 0 })")
    make(page, "image" if task == "loop" else "extend" if task == "restyle" else "restyle")
    page.get_by_role("button", name="Reuse settings", exact=True).click()
    page.wait_for_selector(f"{NOTICE} >> text=The form now has these settings")
    page.wait_for_function("(task) => FP.form.values.task === task", arg=task)
    assert page.evaluate("({ ...FP.form.values, seed: 0 })") == before


@pytest.mark.proof
def test_one_frame_and_a_storyboard_come_before_the_video(real_tab, real_site, small) -> None:
    page = real_tab()
    drop(page, small, "image/png")
    has_file(page, "image")
    page.fill("#c-prompt textarea", "a storyboard first")
    shrink(page, "3.6")
    page.get_by_role("button", name="Look first").click()
    page.fill("#fp-look-at", "0.4")
    page.get_by_role("button", name="Make one frame").click()
    wait_for_status(page, "done")
    page.wait_for_selector('.fp-screen img[alt="Frame: a storyboard first"]')
    page.get_by_role("button", name="Make a storyboard").click()
    board = page.locator(".fp-batch").first  # the newest
    board.locator(".fp-panel:nth-child(3) img").wait_for()
    board.get_by_text("Contact sheet").wait_for()
    assert board.locator(".fp-panel").count() == 3
    board.get_by_role("button", name="Frame at 2.4 s as a keyframe").click()
    board.get_by_role("button", name="Use as keyframes").click()
    page.wait_for_function("() => FP.form.values.frames.length === 2")
    assert page.evaluate("FP.form.values.frames.map((row) => row.second)") == [1.2, 3.6]
    page.wait_for_selector("#c-frames .fp-row >> nth=1")
    right = page.evaluate("document.querySelector('.fp-board').getBoundingClientRect().right")
    assert right <= 1280, "what is below the video does not leave the page"


@pytest.mark.proof
def test_a_section_is_made_anew_on_the_page_and_what_is_kept_is_freed(real_tab, real_site, small) -> None:
    page, service = real_tab(), real_site[1]
    drop(page, small, "image/png")
    has_file(page, "image")
    page.fill("#c-prompt textarea", "the first take")
    shrink(page, "2.4")
    page.click("#fp-generate")
    wait_for_status(page, "done")
    first = page.evaluate("document.querySelector('.fp-viewer').dataset.job")
    page.locator(".fp-section").nth(1).click()
    page.wait_for_selector("#fp-redo-when >> text=1.20 to 2.40 s, of 2")
    page.fill("#fp-redo-section", "7")
    page.get_by_role("button", name="Make this section anew").click()
    page.wait_for_selector(".fp-takes .fp-error >> text=Section must be 1..2")
    page.fill("#fp-redo-section", "2")
    page.fill("#fp-redo-prompt", "it rains")
    page.fill("#fp-redo-seed", str(2**63 - 1))
    page.get_by_role("button", name="Make this section anew").click()
    page.wait_for_function("(first) => document.querySelector('.fp-viewer').dataset.job !== first", arg=first)
    wait_for_status(page, "done")
    page.wait_for_selector(f".fp-tree >> text=Take 2 · section 2, “it rains” · seed {2**63 - 1} · done")
    (node,) = (one for one in service.takes(first) if one.take == 2)
    assert node.redo
    assert (node.redo.seed, node.redo.only) == (2**63 - 1, True)
    page.get_by_role("button", name="Take 1 · the first one").click()
    page.wait_for_function("(first) => document.querySelector('.fp-viewer').dataset.job === first", arg=first)
    page.locator(".fp-takes >> text=Free less than 1 MB").click()
    page.wait_for_selector("text=The sections of this take are not kept any more")
    assert not service.folders.work(first).exists()
    assert service.folders.work(node.job.id).exists() if node.job else False


@pytest.mark.proof
def test_a_motion_mask_is_painted_over_the_start_image_by_pointer_and_by_keys(tab, site, sun) -> None:
    page = tab()
    page.get_by_role("button", name="Keyframes and timed prompts").click()
    page.get_by_role("button", name="Paint a mask").click()
    page.wait_for_selector("#c-motion-mask .fp-error >> text=Add the start image first")
    drop(page, sun, "image/png")
    has_file(page, "image")
    shrink(page, "1")  # sizes that were typed are numbers where the image is fetched
    page.get_by_role("button", name="Paint a mask").click()
    page.wait_for_selector(".fp-mask .fp-primary:not([disabled])")
    at = page.locator(".fp-mask canvas").bounding_box()
    page.mouse.move(at["x"] + 0.2 * at["width"], at["y"] + 0.25 * at["height"])
    page.mouse.down()
    page.mouse.move(at["x"] + 0.8 * at["width"], at["y"] + 0.25 * at["height"], steps=5)
    page.mouse.up()
    page.mouse.move(2, 2)
    page.locator(".fp-mask canvas").focus()
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Done").click()
    has_file(page, "motion_mask")
    with Image.open(site[1].folders.uploads / page.evaluate("FP.form.values.motion_mask")) as mask:
        levels = np.asarray(mask.convert("L"))
    height, width = levels.shape
    assert height == width, "the mask has the video's shape"
    assert levels[height // 4, width // 2] == 255, "where the pointer went"
    assert levels[height // 2 + height // 8, width // 2] == 255, "where the keys led"
    assert levels[height - 3, width // 2] == levels[height // 4, 3] == 0
    make(page, "bridge")
    page.wait_for_selector("#c-motion-mask .fp-drop", state="detached")
