import numpy as np
import pytest

from framepack.media.image import load_image
from framepack.media.sheet import GAP, LABEL_HEIGHT, contact_sheet, save_png, thumbnail


def test_the_sheet_is_filled_row_by_row():
    colours = [np.full((10, 20, 3), 50 * index, np.uint8) for index in range(1, 6)]
    sheet = contact_sheet(colours, 3, background=(0, 0, 0))
    assert sheet.shape == (2 * (10 + GAP) + GAP, 3 * (20 + GAP) + GAP, 3)
    for index in range(5):
        row, column = divmod(index, 3)
        assert (sheet[GAP + row * (10 + GAP) :, GAP + column * (20 + GAP) :][:10, :20] == 50 * (index + 1)).all()
    assert sheet[-GAP - 5, -GAP - 10].max() == 0  # the sixth cell is empty


def test_pictures_of_different_sizes_are_scaled_to_the_cell():
    pictures = [np.full(shape, 200, np.uint8) for shape in ((100, 200, 3), (300, 100, 3), (10, 10, 3))]
    assert contact_sheet(pictures, 3, width=50).shape == (150 + 2 * GAP, 3 * 50 + 4 * GAP, 3)


def test_labels_are_written_below_and_cut_to_the_cell():
    pictures = [np.zeros((20, 60, 3), np.uint8)] * 2
    sheet = contact_sheet(pictures, 2, labels=["seed 1", "a very long label " * 90], background=(0, 0, 0))
    assert sheet.shape[0] == 20 + LABEL_HEIGHT + 2 * GAP
    text = sheet[GAP + 20 :]
    assert text[:, GAP : GAP + 60].max() > 150
    assert text[:, GAP + 60 : 2 * GAP + 60].max() == 0  # the gap between the cells


def test_a_sheet_of_nothing_or_with_too_few_labels_is_refused():
    with pytest.raises(ValueError, match="got 0 and 2"):
        contact_sheet([], 2)
    with pytest.raises(ValueError, match="got 1 for 2"):
        contact_sheet([np.zeros((2, 2, 3), np.uint8)] * 2, 2, labels=["a"])


def test_a_thumbnail_keeps_the_shape_and_never_grows(clip):
    assert thumbnail(clip(1)[0], 48).shape == (32, 48, 3)
    assert np.array_equal(thumbnail(clip(1)[0], 200), clip(1)[0])
    with pytest.raises(ValueError, match="at least 1 pixel"):
        thumbnail(clip(1)[0], 0)


def test_a_png_is_saved_whole_into_a_new_folder(tmp_path, clip):
    save_png(tmp_path / "new" / "a.png", clip(1)[0])
    assert np.array_equal(load_image(tmp_path / "new" / "a.png"), clip(1)[0])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
