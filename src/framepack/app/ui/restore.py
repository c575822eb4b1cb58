"""Settings from elsewhere as values of the form: of jobs, files and presets, with what is missing here left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from framepack.app.service.paths import find_file, find_lora, for_client
from framepack.app.ui.form import IMAGES, MOVING, defaults, file_of, values_of
from framepack.jobs.folders import Folders
from framepack.spec.model import RequestError
from framepack.spec.request import GenerationRequest
from framepack.spec.stored import LATEST, SCHEMA
from framepack.spec.variants import VARIANTS

RESTORED = "The form now has these settings."
FROM_TIMELINE = "The form now has the length, keyframes and prompts of this timeline."
OF_A_STILL = "They made one frame: Look first makes it again, Generate makes a video with them."
OF_A_TAKE = "They are those of its first take: what was made anew since is not among them."
OF_MARKERS = {"image", "prompt", "prompts", "frames", "end_frame", "seconds"}
"""Settings that are in a timeline's markers and length; one that was exported here has all others too."""


def restore_values(
    request: Mapping[str, Any], folders: Folders, own: Sequence[Path] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The controls' values for a request from elsewhere, and a message for each file that is missing here.

    own: LoRA files of the job that is edited, see `from_client`. Raises ValueError for settings of no valid request.
    """
    messages: list[str] = []
    image = request.get("image")
    try:
        stored = GenerationRequest.stored(dict(request) | {"image": image or "-"})
    except RequestError as error:
        raise ValueError(f"These settings do not fit this FramePack: {error}") from error
    values = values_of(stored.model_dump(mode="json") | {"image": image})
    if stored.still:
        messages.append(OF_A_STILL)
        values["output.format"] = defaults()["output.format"]
    if stored.redo:
        messages.append(OF_A_TAKE)
    if stored.length == VARIANTS[stored.model].length:
        values["length"] = ""  # the model's own, which follows when another model is chosen
    if stored.resolution == VARIANTS[stored.model].bucket_base:
        values["resolution"] = ""
    for field in IMAGES:
        values[field] = existing_image(values[field], folders, messages) if values[field] else None
    for field in ("frames", "end_frame", "reference"):
        values[field] = [row for row in values[field] if existing_image(row["image"], folders, messages)]
    names = {file.name for file in own}
    loras = values["loras"]
    values["loras"] = [row for row in loras if row["file"] in names or lora_exists(row["file"], folders, messages)]
    return values, messages


def timeline_values(said: dict[str, Any], folders: Folders) -> tuple[dict[str, Any], list[str]]:
    """The same for what a timeline says, and what to tell the user first.

    One without the settings of a video says pictures, prompts and length; the form keeps the rest, and its prompt and
    image where there are none in it.
    """
    said = for_client(said)
    values, missing = restore_values({SCHEMA: LATEST, **said}, folders)
    if said.keys() - OF_MARKERS:
        return values, [RESTORED, *missing]
    said = {field: value for field, value in said.items() if value or field not in ("prompt", "image")}
    return {field: value for field, value in values.items() if field.partition(".")[0] in said}, [
        FROM_TIMELINE,
        *missing,
    ]


def lora_exists(name: str, folders: Folders, messages: list[str]) -> bool:
    """Whether it is among the service's LoRAs. Adds a message where it is not."""
    try:
        find_lora(name, folders)
    except ValueError:
        messages.append(f"The LoRA {name} is not among those of this service. Add it again.")
        return False
    return True


def existing_image(image: Any, folders: Folders, messages: list[str]) -> Any:
    """The image, an upload's id or an object with edits, where its file exists; else None, and a message is added."""
    name = file_of(image)
    try:
        find_file(name, (folders.uploads, folders.outputs))
    except ValueError:
        what = "video" if Path(name).suffix.lower() in MOVING else "image"
        messages.append(f"The {what} {name} is not on this machine. Add it again.")
        return None
    return image
