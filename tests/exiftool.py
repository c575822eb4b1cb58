"""What Debian's exiftool (libimage-exiftool-perl) finds in a file: a legal duty is checked by a program of others."""

import json
import shutil
import subprocess
from pathlib import Path

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
    """Whether it does so for programs and in words; half of it is a failure."""
    found = tags_of(file)
    text = " ".join(found.values())
    programs, people = SOURCE_TYPE in (found.get("digitalsourcetype"), *text.split()), "Made by AI" in text
    if file.suffix == ".zip":  # exiftool tells a zip's comment
        programs = SOURCE_TYPE in text
    assert programs == people, found
    return programs
