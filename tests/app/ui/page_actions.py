"""What tests of the page do in a browser, and what they wait for."""

import time
from pathlib import Path


def wait_for_status(page, status: str):
    return page.wait_for_selector(f'.fp-viewer[data-status="{status}"]')


def choose(page, button: str, *files: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).first.click()
    chooser.value.set_files([str(file) for file in files])


def drop(page, file: Path, kind: str, place: str = ".fp-drop") -> None:
    """Drop a file on the page as a file manager does."""
    transfer = page.evaluate_handle(
        """([bytes, name, type]) => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, { type })); return data; }""",
        [list(file.read_bytes()), file.name, kind],
    )
    page.dispatch_event(place, "drop", {"dataTransfer": transfer})


def ask(page, picture: Path, prompt: str, **numbers: str) -> None:
    """Fill the form and press Ctrl+Enter."""
    drop(page, picture, "image/png")
    page.wait_for_selector(".fp-chosen")
    page.fill("#c-prompt textarea", prompt)
    for field, text in numbers.items():
        page.fill(f"#c-{field} .fp-head input", text)
        page.press(f"#c-{field} .fp-head input", "Tab")
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
    for fold in ("Look first", "Keyframes and timed prompts", "Advanced", "Presets"):
        page.get_by_role("button", name=fold).click()
    page.click(".fp-finish summary")
    page.wait_for_selector("#fp-presets .fp-save")


def value(page, field: str) -> str:
    return page.input_value(f"#c-{field} .fp-head input")
