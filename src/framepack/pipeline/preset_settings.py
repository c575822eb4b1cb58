"""What a preset may hold: a request's own fields, in the JSON a client sends, without what makes one video. Pure."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from framepack.pipeline.like import merge
from framepack.spec.parts import OF_ONE_FILE, OF_ONE_MACHINE, OF_ONE_VIDEO
from framepack.spec.request import GenerationRequest

PARTS = {"output": OF_ONE_FILE, "finish": OF_ONE_MACHINE}
"""Parts of a request of which some settings make one video."""
PRESET = "preset"
"""The key beside a request's fields that names the preset it begins with."""


def whole(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with nothing left out, so that they mean the same everywhere and to later versions.

    ValueError, a sentence, for what does not fit.
    """
    if named := unshared(settings):
        raise ValueError(f"a preset has no settings of a single video: leave out {', '.join(named)}")
    return _checked(settings, GenerationRequest.model_validate)


def stored_whole(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same of settings that this version, or one before, has kept."""
    return _checked(settings, GenerationRequest.stored)


def _checked(settings: Mapping[str, Any], make: Callable[[dict[str, Any]], GenerationRequest]) -> dict[str, Any]:
    request = make({**settings, "image": "-"})
    for lora in request.loras:
        if not is_bare(str(lora.file)):
            raise ValueError(f"a preset names a LoRA by its file's name alone, got {str(lora.file)[:60]!r}")
    return settings_of(request)


def settings_of(request: GenerationRequest) -> dict[str, Any]:
    """The settings a request shares with others; its LoRAs stay as they are named."""
    return shared(request.model_dump(mode="json"))


def shared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without what makes one video."""
    kept = {field: value for field, value in settings.items() if field not in OF_ONE_VIDEO}
    for part, left_out in PARTS.items():
        if isinstance(inside := kept.get(part), Mapping):
            kept[part] = {field: value for field, value in inside.items() if field not in left_out}
    return kept


def unshared(settings: Mapping[str, Any]) -> list[str]:
    """The names of those settings that make one video."""
    named = [name for name in OF_ONE_VIDEO if name in settings]
    for part, names in PARTS.items():
        inside = settings.get(part)
        named += [f"{part}.{name}" for name in names if isinstance(inside, Mapping) and name in inside]
    return named


def is_bare(name: str) -> bool:
    """Whether it is a file's name without a folder, on every system."""
    return name not in ("", ".", "..") and PurePosixPath(name).name == PureWindowsPath(name).name == name


def applied(settings: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A request's JSON of a preset's settings and of what the request says itself, which holds."""
    output = own.get("output")
    if output is None or isinstance(output, Mapping):
        return merge(settings, dict(own))
    return merge(settings, {**own, "output": {}}) | {"output": output}  # validation says what is wrong with it
