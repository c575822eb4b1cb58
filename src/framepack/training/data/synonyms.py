"""Other words for the motions of `grammar`, with its own phrases beside them: the table that a model of few words gets.

What is in `synonyms.toml` is said there; `models.words` reads and applies the table.
"""

import tomllib
from pathlib import Path
from typing import Any

from framepack.training.data.grammar import ACTIONS, PHRASES, SUBJECTS

FILE = Path(__file__).with_suffix(".toml")


def table() -> dict[str, Any]:
    """All of it, as a checkpoint's file of words has it."""
    said = {motion: phrases[0] for motion, phrases in PHRASES.items()}
    done = {motion: f"the object {deeds[0]}" for motion, deeds in ACTIONS.items()}
    own = {"phrases": PHRASES, "deeds": ACTIONS, "subjects": SUBJECTS, "say": said | done}
    return own | tomllib.loads(FILE.read_text(encoding="utf-8"))
