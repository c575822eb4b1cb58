"""What a preset may be called, so that its name is a file's on every system."""

import re
import unicodedata

from framepack.spec.rules import shortened

NAME = re.compile(r"\w[\w .,()+-]*")
NAME_MOST = 60
BYTES_OF_NAME = 230
"""What a file system takes, less what is put around a name."""
DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that mean devices on Windows; presets are exchanged."""


def checked_name(name: str) -> str:
    """The name with its accents composed; ValueError, a sentence, where it cannot be."""
    name = composed(name)
    if len(name) > NAME_MOST:
        raise ValueError(f"A preset's name may have {NAME_MOST} characters, {shortened(name)} has {len(name)}.")
    if (size := len(name.encode(errors="replace"))) > BYTES_OF_NAME:
        raise ValueError(f"A preset's name may have {BYTES_OF_NAME} bytes, {shortened(name)} has {size}.")
    if DEVICE.fullmatch(name):
        raise ValueError(f"Windows keeps the name {name!r} for itself: choose another.")
    if not NAME.fullmatch(name) or name.endswith((".", " ")):
        raise ValueError(
            "A preset's name begins with a letter or digit, and has letters, digits, spaces and _ . , ( ) + -, "
            f"no space or dot at its end, not {shortened(name)}."
        )
    return name


def is_name(name: str) -> bool:
    """Whether a preset can be called so."""
    try:
        checked_name(name)
    except ValueError:
        return False
    return True


def composed(name: str) -> str:
    """A name whose accents are part of their letters: some disks write them apart."""
    return unicodedata.normalize("NFC", name)


def plain(name: str) -> str:
    """A name as disks compare it that take no notice of case."""
    return composed(name).casefold()
