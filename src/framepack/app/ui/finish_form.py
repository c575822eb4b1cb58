"""What can be done to a video that is there, as the page's form for it shows it: the fields of `FileWork` in groups.

Plain data. The form itself sends what was typed to `/api/finishings`, whose answers it shows.
"""

from pathlib import Path
from typing import Any, get_args

from framepack.app.service.finishings import FileWork
from framepack.app.ui.control_rows import ROWS
from framepack.app.ui.controls import label_of
from framepack.spec.fields import RequestField, fields_of
from framepack.spec.formats import CODECS, FORMATS, SUFFIXES, Codec, Format

GROUPS = {
    "File": ("format", "codec", "quality", "crf", "bitrate", "fps", "fps_mode", "speed"),
    "Cut and join": ("start", "end", "join", "fade", "audio"),
    "Image": (
        "deflicker", "denoise", "enlarge", "network", "sharpen",
        "exposure", "contrast", "saturation", "warmth", "lut", "grain",
    ),
}  # fmt: skip
"""In the page's order."""
SOURCE = "file"
"""The field that the form's own choice of a video is."""
LABELS = {
    "start": "Begin at second",
    "end": "End at second",
    "join": "Videos that follow",
    "fade": "Cross-fade seconds",
}
ACCEPTED = {
    "network": ".safetensors",
    "lut": ".cube",
    "audio": "audio/*,video/*,.mkv,.flac",
    "join": "video/*,.mkv,.gif,.webp,.apng,.zip",
}
"""What a file chooser offers for a field."""
CHOICES = {
    "format": {"": "as the video", **{name: f"{name}: {FORMATS[name].description}" for name in get_args(Format)}},
    "codec": {"": "the format's usual one", **{name: CODECS[name].title for name in get_args(Codec)}},
    "quality": {"": "as compression says"},
}
"""Labels of choices; those without one are called by their value. "" is none of them."""
ANY = 10_000
"""A bound from here on says nothing to people."""
FIELDS = {one.name: one for one in fields_of(FileWork)}
View = dict[str, Any]


def form() -> View:
    """The form: its fields in groups, the codecs of each format, and the format of each ending."""
    return {
        "groups": [
            {"title": title, "fields": [field(FIELDS[name]) for name in names]} for title, names in GROUPS.items()
        ],
        "codecs": {name: list(row.codecs) for name, row in FORMATS.items()},
        "suffixes": {suffix: names[0] for suffix, names in SUFFIXES.items()},
    }


def field(one: RequestField) -> View:
    """A field as the form shows it: label, help, and what can be chosen or typed."""
    row = next((ROWS[name] for name in (f"finish.{one.name}", f"output.{one.name}") if name in ROWS), None)
    view: View = {"name": one.name, "label": LABELS.get(one.name) or (row.label if row else label_of(one.name))}
    view["help"] = one.summary
    if one.choices:
        labels = CHOICES.get(one.name, {})
        wanted = [*([""] if "" in labels else []), *one.choices]
        return view | {"kind": "choice", "choices": [[name, labels.get(name, name)] for name in wanted]}
    if issubclass(one.kind, Path):
        return view | {"kind": "file", "many": one.many, "accept": ACCEPTED[one.name]}
    usual = "" if one.default is None else f"{one.default:g}"
    within = one.range if one.bounds.high < ANY else ""
    return view | {"kind": "number", "placeholder": f"{usual} ({within})" if usual and within else usual or within}
