"""From a request's body to a GenerationRequest: JSON with upload ids, or a form that brings the pictures along.

A body may name a preset beside the request's fields: its settings hold where the request says nothing itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from framepack.app.api.receive import Form, form_of, text_of
from framepack.app.service.kinds import with_usable_files
from framepack.app.service.paths import from_client
from framepack.app.service.uploads import Incoming, Upload
from framepack.files.text import TwiceSaid, json_of
from framepack.jobs.fields import merge
from framepack.jobs.folders import Folders
from framepack.jobs.paths import change_paths
from framepack.pipeline.presets import Presets
from framepack.spec.fields import kinds_of
from framepack.spec.model import Model
from framepack.spec.request import GenerationRequest
from framepack.spec.rules import shortened

PART = "part:"
"""How a request inside a form names one of the form's files."""


async def request_of(request: Request, folders: Folders, presets: Presets) -> GenerationRequest:
    """The request in a body of either kind; ValueError, RequestError or TooLarge for what is none."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        return await run_in_threadpool(read, await text_of(request), folders, presets)
    form = await form_of(request, lambda name: Incoming(folders, name))
    return await run_in_threadpool(read_form, form, folders, presets)


def read(text: bytes, folders: Folders, presets: Presets) -> GenerationRequest:
    """The request in a body of JSON."""
    return validated(presets.resolve(object_of(text)), folders)


def read_form(form: Form[Upload], folders: Folders, presets: Presets) -> GenerationRequest:
    """The request in a form; the files of one that is refused are deleted."""
    try:
        return validated(presets.resolve(filled(form)), folders)
    except ValueError:
        drop(form, folders)
        raise


def drop(form: Form[Upload], folders: Folders) -> None:
    """Delete what came with a form that is refused."""
    for _, upload in form.files:
        (folders.uploads / upload.id).unlink(missing_ok=True)


def validated(data: dict[str, Any], folders: Folders, own: Sequence[Path] = ()) -> GenerationRequest:
    """A client's request: its shape, its names, the kinds of its files. All must hold. own: see `from_client`."""
    return with_usable_files(shaped(data, folders, own), folders)


def shaped(data: dict[str, Any], folders: Folders, own: Sequence[Path] = ()) -> GenerationRequest:
    """A client's request: first its shape, then its names, whatever the files are."""
    require_numbers(GenerationRequest, data)
    GenerationRequest.model_validate(data)  # its bounds hold before any file is looked for
    return GenerationRequest.model_validate(from_client(data, folders, own))


def require_numbers(model: type[Model], data: Mapping[str, Any], at: str = "") -> None:
    """ValueError for a text where a number is meant; command lines and tables have only texts, JSON has both."""
    for name, value in data.items():
        if name not in model.model_fields:
            continue
        kinds = set(kinds_of(model.model_fields[name].annotation))
        if isinstance(value, str) and kinds & {int, float} and str not in kinds:
            raise ValueError(f"{at}{name} is a number: write it without quotes, got {shortened(value)}")
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Model)]
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict) and inner:
                require_numbers(inner[0], part, f"{at}{name}.")


def object_of(text: bytes) -> dict[str, Any]:
    """A JSON object; ValueError for anything else."""
    try:
        data = json_of(text_in(text))
    except TwiceSaid as error:
        raise ValueError(f"the body is JSON in which {error}") from error
    except ValueError as error:
        raise ValueError(f"the body is not JSON ({str(error)[:100]}); send the request as a JSON object") from error
    if not isinstance(data, dict):
        raise ValueError("the body is JSON but no object; send the request as a JSON object")
    return data


def text_in(body: bytes) -> str:
    """A body as text; ValueError where it is none in UTF-8."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("the body is not text in UTF-8: send it as UTF-8") from None


def filled(form: Form[Upload]) -> dict[str, Any]:
    """The form's `request` with `part:NAME` replaced by the upload of the field NAME; `image` needs no mention.

    ValueError for a field that would have no effect.
    """
    if others := sorted(form.texts.keys() - {"request"}):
        raise ValueError(f"the form's field {others[0][:80]!r} is not known; settings go into `request`, as JSON")
    data = object_of(form.texts.get("request", b"{}"))
    used: set[str] = set()
    uploads = {name: upload.id for name, upload in form.files}
    if len(uploads) < len(form.files):
        raise ValueError("the form has two files in one field: give each a field of its own")
    if "image" in uploads:
        data = merge({"image": f"{PART}image"}, data)

    def fill(_: str, value: str) -> str:
        if not value.startswith(PART):
            return value
        if value.removeprefix(PART) not in uploads:
            raise ValueError(f"the form has no file called {value.removeprefix(PART)[:80]!r}")
        used.add(value.removeprefix(PART))
        return uploads[value.removeprefix(PART)]

    changed = change_paths(data, fill)
    if unused := sorted(uploads.keys() - used):
        raise ValueError(f'the request does not use the file {unused[0][:80]!r}: write "{PART}{unused[0][:80]}" there')
    return changed
