"""Parses what a shell hands over: pictures, keyframes, timed prompts, LoRAs. ValueError says what was wrong."""

import re
from collections.abc import Callable
from pathlib import Path

from framepack.spec.parts import EndFrame, Keyframe, Lora, Reference, TimedPrompt
from framepack.spec.picture import Picture, typed

NUMBER = r"[+-]?\d*\.?\d+"
EDITS_LAST = re.compile(rf"(?P<file>.+?)(?P<rest>@{NUMBER}(:{NUMBER})?|:{NUMBER})(?P<edits>\[[^\[\]]*\])")


def picture(text: str) -> Picture:
    """FILE or FILE[EDITS], see `typed`. ValueError for an edit there is not, and for values that are none."""
    if not text.strip():
        raise ValueError("a picture has no name: give a file, or leave the option out")
    found = typed(text)
    return Picture.model_validate({"file": found} if isinstance(found, str) else found)


def keyframe(text: str) -> Keyframe:
    """FILE@SECONDS[:STRENGTH], for example `door.png@1.5:0.8`; the file's own name may contain @ and colons."""
    check_order(text)
    file, at, rest = text.rpartition("@")
    seconds, _, strength = rest.partition(":")
    if not file or not at:
        raise ValueError(f"--frame is FILE@SECONDS[:STRENGTH], such as door.png@1.5:0.8, got {text!r}")
    return Keyframe(
        image=picture(file), second=number(seconds, "--frame", text), strength=number(strength or "1", "--frame", text)
    )


def end_frame(text: str) -> EndFrame:
    """FILE[:STRENGTH]; a trailing number after a colon is the strength."""
    file, strength = with_strength(text)
    return EndFrame(image=file) if strength is None else EndFrame(image=file, strength=strength)


def reference(text: str) -> Reference:
    """FILE[:STRENGTH]; a trailing number after a colon is the strength."""
    file, strength = with_strength(text)
    return Reference(image=file) if strength is None else Reference(image=file, strength=strength)


def with_strength(text: str) -> tuple[Picture, float | None]:
    """The picture and the strength, if one is said, of FILE[:STRENGTH]."""
    check_order(text)
    file, colon, strength = text.rpartition(":")
    if colon and file and re.fullmatch(NUMBER, strength):
        return picture(file), float(strength)
    return picture(text), None


def check_order(text: str) -> None:
    """ValueError where the edits of a picture stand behind what else is said of it."""
    if (found := EDITS_LAST.fullmatch(text)) and not Path(text).exists():
        raise ValueError(f"edits follow the file's name: write {found['file']}{found['edits']}{found['rest']}")


def lora(text: str) -> Lora:
    """FILE[:STRENGTH]; a trailing number after a colon is the strength."""
    file, colon, strength = text.rpartition(":")
    if colon and file and re.fullmatch(NUMBER, strength):
        return Lora(file=Path(file), strength=float(strength))
    return Lora(file=Path(text))


def timed_prompt(text: str) -> TimedPrompt:
    """SECONDS:TEXT, for example `2.4:it starts to rain`."""
    seconds, colon, prompt = text.partition(":")
    if not colon:
        raise ValueError(f"--then is SECONDS:TEXT, such as '2.4:it starts to rain', got {text!r}")
    return TimedPrompt(second=number(seconds, "--then", text), text=prompt.strip())


def number(text: str, option: str, whole: str) -> float:
    """A number inside an option's value."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option}: {text!r} is not a number in {whole!r}") from None


PARSERS: dict[type, Callable[[str], object]] = {
    Picture: picture,
    Keyframe: keyframe,
    EndFrame: end_frame,
    Reference: reference,
    TimedPrompt: timed_prompt,
    Lora: lora,
}
"""How the parts of a request are read."""
