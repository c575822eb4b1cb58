"""Text that people write, read or refused in one sentence."""

from pathlib import Path

import pytest

from framepack.files.text import TwiceSaid, json_of, text_of_file


def test_a_text_is_read_with_and_without_a_mark(tmp_path: Path) -> None:
    for mark in ("", "\ufeff"):
        (tmp_path / "a.txt").write_text(f"{mark}Straße", encoding="utf-8")
        assert text_of_file(tmp_path / "a.txt", 100) == "Straße"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Straße".encode("latin-1"), "is not text in UTF-8"),
        (b"x" * 101, "has 101 bytes, at most 100"),
        (None, "no file"),
    ],
)
def test_what_cannot_be_read_is_a_sentence_with_the_files_name(tmp_path: Path, content: bytes | None, says: str):
    file = tmp_path / "a.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=says) as caught:
        text_of_file(file, 100)
    assert str(file) in str(caught.value)


def test_json_says_each_name_once_at_every_depth() -> None:
    assert json_of('{"a": {"b": 1}, "b": [{"b": 2}]}') == {"a": {"b": 1}, "b": [{"b": 2}]}
    with pytest.raises(TwiceSaid, match="'b' is given twice"):
        json_of('{"a": [{"b": 1, "c": 2, "b": 1}]}')
    with pytest.raises(ValueError, match="too deep"):
        json_of("[" * 100_000)
