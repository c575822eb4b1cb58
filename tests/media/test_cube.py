"""Colour tables that are none: what is wrong with which file."""

from pathlib import Path

import pytest

from framepack.files.errors import MediaError
from framepack.media.cube import check_cube

ROWS = "".join(f"{red} {green} {blue}\n" for blue in (0, 1) for green in (0, 1) for red in (0, 1))
SIZE = "LUT_3D_SIZE 2\n"
GOOD = (
    SIZE + ROWS,
    f"LUT_3D_INPUT_RANGE 0.0 1.0\n{SIZE}{ROWS}",
    f"\ufeffTITLE 'a'\n{SIZE}{ROWS}",
    f'# 1 2\nTITLE "3D 2"\nLUT_3D_SIZE 2\n\nDOMAIN_MIN 0 0 0\nDOMAIN_MAX 1e0 2 1.5\n{ROWS}',
)
BAD = {
    "1d": ("LUT_1D_SIZE 2\n0 0 0\n1 1 1\n", "holds a 1D table"),
    "short": (SIZE + "0 0 0\n", "has 1 rows of the 8"),
    "long": (SIZE + ROWS + "0 0 0\n", "has 9 rows of the 8"),
    "empty": ("", "is empty"),
    "other": ("no table", "begins with LUT_3D_SIZE"),
    "large": ("LUT_3D_SIZE 65536\n", "does not say a LUT_3D_SIZE"),
    "large too": ("LUT_3D_SIZE 300\n", "a LUT_3D_SIZE of 300"),
    "digits": (f"LUT_3D_SIZE {'9' * 400}\n", "does not say a LUT_3D_SIZE"),
    "negative": ("LUT_3D_SIZE -1\n", "does not say a LUT_3D_SIZE"),
    "nan": (SIZE + ROWS.replace("0 0 1", "0 nan 1"), "row 5 of .* is no three finite numbers"),
    "infinite": (SIZE + ROWS.replace("0 0 1", "0 1e999 1"), "row 5 of .* is no three finite numbers"),
    "two": (SIZE + ROWS.replace("0 0 1", "0 1"), "row 5 of .* is no three finite numbers"),
    "domain": (f"{SIZE}DOMAIN_MAX 1 0 1\n{ROWS}", "is not above DOMAIN_MIN"),
    "range behind": (f"{SIZE}LUT_3D_INPUT_RANGE 0.0 1.0\n{ROWS}", "says LUT_3D_INPUT_RANGE behind LUT_3D_SIZE: move"),
    "range": (f"LUT_3D_INPUT_RANGE 0 4\n{SIZE}{ROWS}", "other than 0 to 1"),
    "indented": (f"  {SIZE}{ROWS}", "begins with LUT_3D_SIZE"),
    "byte order mark": (f"\ufeff{SIZE}{ROWS}", "begins with LUT_3D_SIZE"),
    "long line": (f"{SIZE}# {'1 ' * 600}\n{ROWS}", "a line of more than 500"),
    "old line ends": ((SIZE + ROWS).replace("\n", "\r"), "ends of lines of its own"),
    "size last": (ROWS + SIZE, "has 0 rows"),
    "underscore": (SIZE + ROWS.replace("0 0 1", "0 1_0 1"), "row 5 of .* is no three finite numbers"),
    "no domain": (f"{SIZE}DOMAIN_MIN 0 x 0\n{ROWS}", "no three finite numbers"),
}


@pytest.mark.parametrize("text", GOOD)
def test_a_table_is_fine(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.cube").write_text(text, encoding="utf-8")
    check_cube(tmp_path / "a.cube")


@pytest.mark.parametrize("name", BAD)
def test_what_is_none_is_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.cube"
    file.write_text(BAD[name][0], encoding="utf-8", newline="")
    with pytest.raises(MediaError, match=BAD[name][1]) as caught:
        check_cube(file)
    assert str(file) in str(caught.value)
