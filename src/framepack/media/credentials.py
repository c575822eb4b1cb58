"""Content credentials (C2PA) in a finished file: a signed statement that AI made it, by c2pa-python (the extra `c2pa`).

The key is this user's own and made once, its certificate signed by itself: readers say that the statement is valid and
its signer not known to them. No address is asked for the time, no thumbnail is kept. Put another key and certificate
chain into the folder to sign with those.
"""

import io
import json
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from framepack.files.atomic import atomic_write
from framepack.files.errors import MediaError, reason
from framepack.media.marks import SOURCE_TYPE, is_made_by_ai
from framepack.media.parts import APPLICATION, boxes, gif_parts, png_chunks, webp_chunks
from framepack.media.signing_key import identity
from framepack.media.source import Source, kind_of, open_source

MAKER = {"name": "FramePack", "version": metadata.version("framepack")}
MIMES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".png": "image/png",
    ".apng": "image/png",
    ".jpg": "image/jpeg",
    ".tiff": "image/tiff",
}
"""Kinds of files that hold credentials, by suffix."""
SIDECAR = ".c2pa"
"""The ending of the file beside one that holds none, which C2PA's readers look for under its name."""
BESIDE = {".mkv": "video/x-matroska", ".webm": "video/webm", ".zip": "application/zip"}
"""Kinds of files that have them in a file beside them."""
BOX_ID = bytes.fromhex("D8FEC3D61B0E483C92975828877EC481")
GIF_ID = b"\x0bC2PA_GIF"
"""C2PA 2.2, appendix A: where credentials are in an mp4 or mov (a uuid box) and in a gif."""
SETTINGS = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"remote_manifest_fetch": False}}
"""A thumbnail would make a gif ten times as large; and a stranger's file may name an address for its credentials."""


def library() -> Any:
    """c2pa-python. ValueError where the extra is not installed."""
    try:
        import_module("cryptography")
        return import_module("c2pa")
    except ImportError:
        raise ValueError(
            "content credentials are written by c2pa-python, which is not installed: pip install 'framepack[c2pa]'"
        ) from None


def require_signing(path: Path | None) -> None:
    """ValueError where a file at `path` (None: a new name) could not be signed: before the work that makes it."""
    library()
    identity()
    if path is not None:
        require_sidecar(path)


def sign_file(file: Path | str, source: Path | str | None = None, *, folder: Path | None = None) -> Path:
    """Put credentials into `file`, or into NAME.c2pa beside it where it holds none (mkv, webm, zip).

    It is signed or stays as it was. source: the video it was made from, which the credentials name as its ingredient.
    folder: of key and certificate, by default `~/.config/framepack/credentials` or $FRAMEPACK_CREDENTIALS. Returns the
    file that has them. Raises ValueError for a kind of file that can have none, for one that is not marked as made by
    AI, and without the extra, MediaError for a damaged one.
    """
    file, c2pa = Path(file), library()
    mime, aside = mime_of(file), sidecar_of(file)
    if not is_made_by_ai(file):
        raise ValueError(f"{file.name} is not marked as made by AI, which is what credentials say: leave it unsigned")
    origin = None if source is None else require_origin(Path(source), file)
    certificate, sign = identity(folder)
    signer = c2pa.Signer.from_callback(sign, c2pa.C2paSigningAlg.ES256, certificate, None)
    place = aside or file
    try:
        with (
            c2pa.Context.from_dict(SETTINGS) as context,
            c2pa.Builder(statement(file, edited=origin is not None), context) as builder,
            atomic_write(place) as temporary,
        ):
            if origin is not None:
                add_ingredient(c2pa, builder, origin)
            with file.open("rb") as before:
                if aside is None:
                    with temporary.open("wb+") as after:
                        builder.sign(signer, mime, before, after)
                else:
                    builder.set_no_embed()
                    temporary.write_bytes(builder.sign(signer, mime, before, Discarded()))
    except c2pa.C2paError as error:
        raise MediaError(f"'{file}' cannot be signed ({reason(error)}): it may be damaged, so make it again") from error
    return place


def require_origin(source: Path, file: Path) -> Path:
    """What a file was made from. ValueError and MediaError for one that cannot be named so."""
    if source.exists() and file.exists() and source.samefile(file):
        raise ValueError(f"{file.name} cannot be its own source: name the video it was made from, or leave it out")
    mime_of(source)
    with open_source(source) as opened:
        if kind_of(opened) == "unknown":
            raise MediaError(f"'{source}' is no video or picture that can be read: name what {file.name} was made from")
    return source


class Discarded(io.RawIOBase):
    """Takes what is written and keeps none of it: of a file that is signed beside it, c2pa writes a copy too."""

    place = size = 0

    def write(self, data: Any) -> int:
        """Count it."""
        self.place += len(data)
        self.size = max(self.size, self.place)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go there."""
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def tell(self) -> int:
        """Where it is."""
        return self.place

    def read(self, size: int = -1) -> bytes:
        """Nothing: it is not kept."""
        return b""


def add_ingredient(c2pa: Any, builder: Any, origin: Path) -> None:
    """Name `origin`, with the credentials in it, as what the file was made from; c2pa takes none that lie beside."""
    builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    with origin.open("rb") as opened:
        builder.add_ingredient({"title": origin.name, "relationship": "parentOf"}, mime_of(origin), opened)


def carry_over(source: Path, file: Path, *, folder: Path | None = None) -> str | None:
    """Sign `file`, which was made from `source`, where that is signed, naming it as the ingredient.

    Returns a sentence where it is signed and `file` cannot be, which then has no credentials. folder: see `sign_file`.
    """
    if not has_credentials(source):
        return None
    try:
        sign_file(file, source, folder=folder)
    except ValueError as error:
        return lost(source, error)
    return None


def lost(source: Path, why: object) -> str:
    """That what was made of `source` has no credentials."""
    return f"the content credentials of {source.name} do not go along: {why}"


def has_credentials(file: Path) -> bool:
    """Whether credentials are in a file or beside it, valid or not. Needs no c2pa-python."""
    if file.suffix.lower() in BESIDE:
        return file.with_suffix(SIDECAR).is_file()
    return file.is_file() and holds_credentials(file)


def holds_credentials(file: Source) -> bool:
    """Whether credentials are in a file."""
    with open_source(file) as opened:
        kind = kind_of(opened)
        if kind == "mp4":
            return any(box == b"uuid" and opened.read(len(BOX_ID)) == BOX_ID for box, _ in boxes(opened))
        if kind in ("png", "apng"):
            return any(chunk == b"caBX" for chunk, _ in png_chunks(opened))
        if kind == "webp":
            return any(chunk == b"C2PA" for chunk, _ in webp_chunks(opened))
        if kind == "gif":
            parts = (part == APPLICATION and opened.read(len(GIF_ID)) == GIF_ID for part in gif_parts(opened))
            return any(parts)
    return False


def read_credentials(file: Path | str) -> dict[str, Any] | None:
    """What the credentials in a file, or beside it, say, as c2pa's reader has it, with `validation_state`.

    None where there are none. ValueError for a kind of file that can have none, MediaError for damaged ones.
    """
    file, c2pa = Path(file), library()
    mime, aside = mime_of(file), sidecar_of(file)
    if aside is not None and not aside.is_file():
        return None
    manifest = None if aside is None else aside.read_bytes()
    with open_source(file) as opened:
        try:
            with (
                c2pa.Context.from_dict(SETTINGS) as context,
                c2pa.Reader(mime, opened, manifest_data=manifest, context=context) as reader,
            ):
                return json.loads(reader.json())
        except c2pa.C2paError as error:
            if "ManifestNotFound" in f"{type(error).__name__} {error}":
                return None
            raise MediaError(f"the credentials of '{file}' cannot be read ({reason(error)})") from error


def mime_of(file: Path) -> str:
    """The kind of a file. ValueError for one that can have no credentials."""
    found = (MIMES | BESIDE).get(file.suffix.lower())
    if found is None or file.is_dir():
        raise ValueError(f"{file.name} cannot have content credentials: use one of {', '.join([*MIMES, *BESIDE])}")
    return found


def sidecar_of(file: Path) -> Path | None:
    """The file that has the credentials of one that holds none. ValueError where that may be another file's."""
    if file.suffix.lower() not in BESIDE:
        return None
    require_sidecar(file)
    return file.with_suffix(SIDECAR)


def require_sidecar(file: Path) -> None:
    """ValueError where the credentials of `file` would take the place of those of another file."""
    if file.suffix.lower() not in BESIDE or not file.with_suffix(SIDECAR).is_file():
        return
    others = (file.with_suffix(suffix) for suffix in BESIDE if suffix != file.suffix.lower())
    for other in filter(Path.is_file, others):
        raise ValueError(f"{file.stem}{SIDECAR} is of {file.name} or of {other.name}: rename one of the two")


def drop_sidecar(file: Path) -> None:
    """Remove the credentials beside a file that was just written: they are those of the one it took the place of."""
    others = (file.with_suffix(suffix) for suffix in BESIDE if suffix != file.suffix.lower())
    if file.suffix.lower() in BESIDE and not any(other.is_file() for other in others):
        file.with_suffix(SIDECAR).unlink(missing_ok=True)


def statement(file: Path, *, edited: bool) -> dict[str, Any]:
    """That AI made the file with this program, or that it was edited with it; what it was before, c2pa adds."""
    action: dict[str, Any] = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
    if edited:
        action["action"] = "c2pa.edited"
    actions = {"actions": [{**action, "softwareAgent": MAKER}]}
    return {
        "claim_generator_info": [MAKER],
        "title": file.name,
        "assertions": [{"label": "c2pa.actions", "data": actions}],
    }
