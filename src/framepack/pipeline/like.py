"""A request out of a file that was made with it: settings as they were, pictures and LoRAs found again by their names.

A video carries names of files and not their folders, and what was in them as a short hash: a picture of the same name
that is another one is refused, as the video would be another. Opens no picture and no model.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from framepack.jobs.paths import Kind, change_paths
from framepack.media.marks import request_in
from framepack.media.metadata import read_metadata
from framepack.spec.model import Model
from framepack.spec.output import PICTURE
from framepack.spec.picture import Picture
from framepack.spec.prompt_times import is_timed
from framepack.spec.request import GenerationRequest

CONTENTS = "contents"
"""Key in a video's metadata, beside its request: by each file's name, hashes of what it held."""
DIGITS = 16
"""Of a hash; enough to distinguish files of one name."""
END = 4 << 20
"""Bytes of a file's beginning and end that are looked at; few pictures have more."""
HERE = (".", ".framepack/uploads", ".framepack/loras", ".framepack/finishing")
"""Where files are looked for, from a video's folder: the others are the job service's."""
ALTERNATIVES = ({"width", "height"}, {"resolution"})
"""Settings of which a new one takes the place of the others."""
FOLLOWS = {"cache": {"cache_threshold"}, "model": {"length"}}
"""Settings that follow from another one where that changes, unless they are changed too."""


def fingerprints(request: GenerationRequest) -> dict[str, list[str]]:
    """What is in the pictures and LoRAs of a request, by their names; those that are missing are left out."""
    found: dict[str, set[str]] = {}

    def look(kind: Kind, path: str) -> str:
        if kind != "output" and Path(path).is_file():
            found.setdefault(Path(path).name, set()).add(fingerprint(Path(path)))
        return path

    change_paths(request.model_dump(mode="json"), look)
    return {name: sorted(hashes) for name, hashes in found.items()}


def fingerprint(path: Path) -> str:
    """A short hash of a file's size and of how it begins and ends, as LoRAs may have gigabytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        ends = file.read(END)
        file.seek(max(size - END, 0))
        return sha256(b"%d" % size + ends + file.read(END)).hexdigest()[:DIGITS]


def request_like(file: Path | str, *pictures: Path | str, **changes: Any) -> GenerationRequest:
    """The request that `file` was made with, but for `changes`, fields of a request by their names.

    `output` may hold a part of the output's settings; the video's name is not taken over. `pictures` (and LoRAs) are
    taken for those of their names; others are looked for beside `file`, in the job service's folders there, and in the
    current folder. `file` may be a single frame too. Raises MediaError for one that cannot be read, ValueError where
    there are no settings in it, or a picture is missing, another one, or one of two of a name.
    """
    file = Path(file)
    metadata = read_metadata(file) or {}
    request = request_in(metadata)
    if request is None:
        raise ValueError(f"{file} carries no FramePack settings: name a video that FramePack made")
    return found_again(request, file, metadata.get(CONTENTS), [Path(picture) for picture in pictures], changes)


def found_again(
    request: Mapping[str, Any], file: Path, contents: Any, pictures: Sequence[Path], changes: Mapping[str, Any]
) -> GenerationRequest:
    """The request that `file` has stored, with changes, its pictures and LoRAs being where `finder` finds them."""
    merged = merge(request, changes)
    find = finder(file, contents, pictures)
    taken = {key: value for key, value in merged.items() if key not in changes}
    return GenerationRequest.stored({**merged, **change_paths(taken, find), "output": merged.get("output")})


def merge(request: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the changes in their place; another start picture keeps the edits it says nothing of.

    Of a take they are those of the video it is a take of, as its sections are not in the file.
    """
    merged = {**{name: value for name, value in request.items() if name != "redo"}, **changes}
    for given, others in (ALTERNATIVES, ALTERNATIVES[::-1]):
        if any(changes.get(name) is not None for name in given):
            merged |= {name: None for name in others if name not in changes}
    for name, followers in FOLLOWS.items():
        if merged.get(name) != request.get(name):
            merged |= {follower: None for follower in followers if follower not in changes}
    if merged.get("model") != request.get("model"):
        before, after = (GenerationRequest.own(settings.get("model")) for settings in (request, merged))
        merged |= {
            name: after.get(name)
            for name, value in before.items()
            if request.get(name) == value and merged.get(name) == value and name not in changes
        }
    if is_timed(str(changes.get("prompt"))) and "prompts" not in changes:
        merged["prompts"] = []
    if {"finish"} <= request.keys() & changes.keys():
        merged["finish"] = {**settings_of(request["finish"]), **settings_of(changes["finish"])}
    before = request.get("output")
    output = {key: value for key, value in before.items() if key != "path"} if isinstance(before, dict) else {}
    wanted = dict(changes.get("output") or {})
    if wanted.get("path") and "format" not in wanted:
        output.pop("format", None)
    ending = Path(wanted["path"]).suffix.lower() if wanted.get("path") else PICTURE
    if request.get("still") is not None and (merged["still"] is None or ("still" not in changes and ending != PICTURE)):
        merged["still"] = None
        output.pop("format", None)
    image, new = request.get("image"), changes.get("image")
    if isinstance(new, Picture):
        new = {name: getattr(new, name) for name in new.model_fields_set}
    elif isinstance(new, str | Path):
        new = {"file": new}
    if isinstance(new, dict):
        merged["image"] = {**image, **new} if isinstance(image, dict) else new
    return {**merged, "output": output | wanted}


def settings_of(part: Any) -> dict[str, Any]:
    """What was said in a part of a request, which may be none."""
    return part.model_dump(exclude_unset=True) if isinstance(part, Model) else dict(part or {})


def finder(file: Path, contents: Any, given: Sequence[Path]) -> Callable[[Kind, str], str]:
    """Where a file of that kind and name is, for `change_paths`; raises ValueError where it is nowhere."""
    folders = [*(file.parent / place for place in HERE), Path()]
    hashes: Mapping[str, Any] = contents if isinstance(contents, Mapping) else {}

    def find(kind: Kind, path: str) -> str:
        name = Path(path).name  # a stranger's file may say anything
        if kind == "output":
            return path
        if named := [one for one in given if one.name == name]:
            return str(named[0])
        known = hashes.get(name)
        known = known if isinstance(known, list) else []
        if len(known) > 1:
            raise ValueError(f"{file} was made from {len(known)} files that are called {name}: give their paths")
        there = [folder / name for folder in folders if name and (folder / name).is_file()]
        same = [one for one in there if not known or fingerprint(one) in known]
        if there and not same:
            raise ValueError(f"{there[0]} is not the {kind} that {file.name} was made from: give the path of that one")
        if not same:
            raise ValueError(f"the {kind} {name} is not next to {file.name}: put it there, or give its path")
        return str(same[0])

    return find
