"""What Debian's exiftool (libimage-exiftool-perl) finds in a file: a legal duty is checked by a program of others."""

import json
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

PICTURES = (".png", ".tif", ".exr", ".xmp")
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def tags_of(file: Path) -> dict[str, str]:
    """Its tags by their names in small letters. Fails, and does not skip, where exiftool is missing."""
    assert shutil.which("exiftool"), "no exiftool: apt-get install libimage-exiftool-perl, or brew install exiftool"
    said = subprocess.run(["exiftool", "-j", file], capture_output=True, text=True, check=False)
    (found,) = json.loads(said.stdout)
    assert "Error" not in found, found
    assert "Warning" not in found, found
    return {name.lower(): str(value) for name, value in found.items()}


def says_made_by_ai(file: Path) -> bool:
    """Whether it does so for programs and in words; half of it is a failure. A zip says so in each of its pictures."""
    if file.suffix == ".zip":
        return pictures_say(file)
    found = tags_of(file)
    text = " ".join(found.values())
    programs, people = SOURCE_TYPE in (found.get("digitalsourcetype"), *text.split()), "Made by AI" in text
    assert programs == people, found
    return programs


def pictures_say(file: Path) -> bool:
    """Whether the pictures of a zip do, and its comment; some of them alone are a failure."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
        said = {says_made_by_ai(one) for one in Path(folder).iterdir() if one.suffix in PICTURES}
        said.add(SOURCE_TYPE in archive.comment.decode() and "Made by AI" in archive.comment.decode())
    assert len(said) == 1, file
    return said.pop()
