"""The paths inside a request: how a client names them, where they really are.

A client on the network names files of the uploads and outputs folders by their bare names and can name nothing else.
Paths on this machine never leave it: a request is shown with names in their place.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from framepack.files.atomic import atomic_write
from framepack.files.text import JOINERS
from framepack.jobs.folders import Folders
from framepack.jobs.paths import Kind, change_paths
from framepack.media.clips import lasting, look
from framepack.media.cuts import cuts
from framepack.pipeline.output_file import require_place
from framepack.spec.formats import FORMATS
from framepack.spec.output import KNOWN, is_folder
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest

T = TypeVar("T")
SEPARATORS = frozenset("/\\")
OWN = (Path(__file__).parents[3], Path(sys.prefix), Path.home())
"""Folders of the program, of its Python and of who runs it, which stand in tracebacks and in names of weights."""
NAME_MOST = 255
"""Bytes of a file's name; no system has longer ones."""
ELSEWHERE = '/\\<>:"|?*' if os.name == "nt" else "/\\"
"""What leads out of a folder, and what Windows gives a meaning of its own."""


def is_name(name: str) -> bool:
    """Whether a client may call a file so: as the file system allows, but hidden files and what a line cannot show."""
    if not name or len(name.encode(errors="replace")) > NAME_MOST or name[0] in ". " or name[-1] in ". ":
        return False
    return all(can_be_named(character) for character in name)


def can_be_named(character: str) -> bool:
    """Whether the character may stand in a file's name."""
    return (character.isprintable() or character in JOINERS) and character not in ELSEWHERE


def may_be_named(file: Path) -> bool:
    """Whether a client can ask for this file of a folder of ours: it has such a name and is no link to elsewhere."""
    return is_name(file.name) and file.is_file() and not file.is_symlink()


def find_file(name: str, folders: tuple[Path, ...]) -> Path:
    """The file called `name` directly inside one of the folders; ValueError for anything else, wherever it points."""
    if not is_name(name):
        raise ValueError(f"{name[:80]!r} is not the name of an upload or output; upload the file and give its id")
    for folder in folders:
        file = folder / name
        if may_be_named(file) and file.resolve().parent == folder.resolve():
            return file
    raise ValueError(f"there is no upload or output called {name!r}; upload the file and give its id")


def lora_folder(folders: Folders) -> Path:
    """Where LoRA files must lie that a network client may name."""
    return folders.home / "loras"


def find_lora(name: str, folders: Folders) -> Path:
    """The LoRA file called `name` among those of the service; ValueError where there is none."""
    try:
        return find_file(name, (lora_folder(folders),))
    except ValueError:
        raise ValueError(f"there is no LoRA called {name[:80]!r} here; add its file to the LoRAs first") from None


def find_finishing(name: str, folders: Folders) -> Path:
    """The network, colour table or sound called `name` among those of the service; ValueError where there is none."""
    folder = folders.home / "finishing"
    try:
        return find_file(name, (folder,))
    except ValueError:
        raise ValueError(f"there is no file {name[:80]!r} for finishing here; it must lie in {folder.name}/") from None


def from_client(request: dict[str, Any], folders: Folders, own: Sequence[Path] = ()) -> dict[str, Any]:
    """The JSON of a request from the network with its names made paths; ValueError where one names nothing of ours.

    own: LoRA files that the job has already, which may lie anywhere and keep their place. Of several of one name none
    may be missing, as nobody could know which.
    """
    kept: dict[str, list[Path]] = {}
    for file in own:
        kept.setdefault(file.name, []).append(file)
    asked = [str(lora.get("file")) for lora in request.get("loras") or () if isinstance(lora, dict)]
    for name, files in kept.items():
        if name in asked and len(set(files)) > 1 and asked.count(name) != len(files):
            raise ValueError(f"this job has {len(files)} LoRAs called {name!r}: keep all of them or none")

    def locate(kind: Kind, name: str) -> str:
        if kind == "output":
            raise ValueError("output.path is chosen by the service; leave it out")
        if kind == "lora" and kept.get(name):
            return str(kept[name].pop(0) if len(kept[name]) > 1 else kept[name][0])
        if kind == "finishing file":
            return str(find_finishing(name, folders))
        found = find_lora(name, folders) if kind == "lora" else find_file(name, (folders.uploads, folders.outputs))
        return str(found)

    return change_paths(request, locate)


def for_client(request: dict[str, Any]) -> dict[str, Any]:
    """A request's JSON as the network may see it: bare names, which `from_client` understands, and no output path."""
    return change_paths(request, lambda kind, path: None if kind == "output" else Path(path).name)


def without_folders(said: T, folders: Folders, more: Iterable[Path] = ()) -> T:
    """A text, or all texts in JSON, as the network may see it: files of this machine by their bare names.

    more: files, such as those a request names, whose folders are known beside the service's own and the program's.
    """
    if isinstance(said, dict):
        return {key: without_folders(value, folders, more) for key, value in said.items()}  # type: ignore[return-value]
    if isinstance(said, (list, tuple)):
        return type(said)(without_folders(value, folders, more) for value in said)  # type: ignore[return-value]
    if not isinstance(said, str) or not SEPARATORS.intersection(said):
        return said
    known = {folders.outputs, folders.home, *folders.private, *OWN, *(file.absolute().parent for file in more)}
    for folder in sorted(known, key=lambda one: len(str(one)), reverse=True):
        if folder != folder.parent:
            inside = rf"{re.escape(str(folder))}(?:[/\\](?:[^/\\\s'\"]+[/\\])*|(?=[\s'\",.:;)]|$))"
            said = re.sub(inside, lambda found, name=folder.name: "" if found[0][-1] in SEPARATORS else name, said)
    return said


def adopt(request: GenerationRequest, folders: Folders) -> GenerationRequest:
    """A request from this machine, made independent of the current folder and of what becomes of its pictures.

    Pictures are copied to the uploads, once per content. ValueError where one is missing.
    """

    if request.redo:
        raise ValueError("a take is made of the sections of another one: use `jobs redo`, or leave redo out")

    def keep(kind: Kind, path: str) -> str:
        if kind == "output":
            return str(Path(path).absolute())
        file = there(kind, path)
        if kind in ("lora", "finishing file") or file.resolve().parent in (folders.uploads, folders.outputs):
            return str(file)
        return str(copy_once(file, folders.uploads))

    changed = change_paths(request.model_dump(mode="json"), keep)
    return GenerationRequest.model_validate(changed).resolved()


def check_files(request: GenerationRequest, looked: dict[Picture, tuple[int, int]]) -> list[str]:
    """ValueError where a picture or LoRA of a request from this machine is missing, or a picture cannot be used.

    looked: width and height of pictures that are known to be usable, which grow more. Returns a sentence for each of
    the request's that the video's shape cuts much off.
    """
    change_paths(
        request.model_dump(mode="json"), lambda kind, path: path if kind == "output" else str(there(kind, path))
    )
    for key, picture in request.files.items():
        if picture not in looked:
            height, width = look(request, key, picture).shape[:2]
            looked[picture] = width, height
    lasting(request)
    return cuts(request, {key: looked[picture] for key, picture in request.pictures.items()})


def check_output(request: GenerationRequest) -> None:
    """ValueError where a request's video is there already and may not be replaced."""
    if request.output.path:
        require_place(request.output.path, request, own=False)


def there(kind: Kind, path: str) -> Path:
    """A file of this machine by its whole name; ValueError where there is none."""
    file = Path(path).absolute()
    if not file.is_file():
        raise ValueError(f"there is no file {path}; check the {kind}'s name")
    return file


def copy_once(file: Path, folder: Path) -> Path:
    """A copy named after its content."""
    with file.open("rb") as data:
        digest = sha256()
        for block in iter(lambda: data.read(2**20), b""):
            digest.update(block)
    suffix = file.suffix.lower() if is_name(f"a{file.suffix}") else ""
    copy = folder / f"{digest.hexdigest()[:24]}{suffix}"
    if not copy.exists():
        with atomic_write(copy) as temporary:
            shutil.copyfile(file, temporary)
    return copy


def with_file(request: GenerationRequest, before: Mapping[str, Any]) -> GenerationRequest:
    """The request with the file of the output settings it had before, where it names none itself."""
    output = request.output
    if output.path or not before["path"]:
        return request
    file = Path(before["path"])
    if not is_folder(file, output.format) and output.format not in KNOWN.get(file.suffix.lower(), ()):
        file = file.with_suffix(FORMATS[output.format].suffix)
    kept = {"path": file, "overwrite": before.get("overwrite", False)}
    return request.model_copy(update={"output": output.model_copy(update=kept)})
