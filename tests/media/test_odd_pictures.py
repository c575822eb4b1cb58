import numpy as np
import odd_others  # noqa: F401  # adds to the tables of odd_pictures
import pytest
from odd_pictures import JPEG, PLAIN, REFUSED, SAME, TURNED, chunk, exif, png, wrong
from PIL import Image

from framepack.files.errors import MediaError
from framepack.media.image import TURNS, load_image


def test_there_are_many_of_them():
    assert len(PLAIN) + len(SAME) + len(REFUSED) + len(TURNED) >= 200


@pytest.mark.parametrize("name", PLAIN)
def test_a_valid_picture_is_read(name):
    picture = load_image(PLAIN[name])
    assert picture.ndim == 3
    assert picture.shape[2] == 3


@pytest.mark.parametrize("name", SAME)
def test_what_says_nothing_of_the_pixels_changes_none(name):
    data, plain = SAME[name]
    assert np.array_equal(load_image(data), load_image(PLAIN[plain]))


@pytest.mark.parametrize("name", TURNED)
def test_a_turned_photo_is_put_upright(name):
    data, turn = TURNED[name]
    lying = Image.fromarray(load_image(JPEG))
    upright = lying if turn == 1 else lying.transpose(TURNS[turn])
    assert np.array_equal(load_image(data), np.asarray(upright))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_whole_picture_is_refused_in_a_sentence_that_says_what_it_is(name):
    data, words = REFUSED[name]
    with pytest.raises(MediaError, match=words) as caught:
        load_image(data)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) <= 300


@pytest.mark.parametrize(
    "name", ["no suffix", "wrong.gif", "two\nlines.png", "[brackets].png", "ü 絵 🎬.PNG", "%20#?.png"]
)
def test_the_name_decides_nothing(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(PLAIN["png rgb 8"])
    assert np.array_equal(load_image(file), load_image(PLAIN["png rgb 8"]))


def test_grey_of_few_bits_is_transparent_where_its_file_says_so():
    """Pillow makes greys of 8 bits of those of 2 and 4, and leaves the one that is transparent as it was."""
    for depth in (2, 4):
        clear = load_image(PLAIN[f"png grey {depth} transparent"])
        solid = load_image(PLAIN[f"png grey {depth}"])
        seen = solid == 255 // (2**depth - 1)
        assert seen.any()
        assert np.array_equal(clear, np.where(seen, 255, solid))


def test_grey_of_16_bits_is_transparent_where_its_file_says_so():
    grey = load_image(png(16, 0))
    clear = load_image(png(16, 0, chunk(b"tRNS", b"\0\x07")))  # the first pixel's
    assert (clear[0, 0] == 255).all()
    assert np.array_equal(clear[1:], grey[1:])


def test_a_gif_smaller_than_its_screen_is_transparent_around():
    data = bytearray(PLAIN["gif"])
    data[6:10] = b"\x28\0\x28\0"  # 40 x 40 around 20 x 20
    picture = load_image(bytes(data))
    assert picture.shape == (40, 40, 3)
    assert (picture[20:] == 255).all()
    assert np.array_equal(picture[:20, :20], load_image(PLAIN["gif"]))


def test_the_turn_of_a_png_is_kept_where_a_comment_is_broken():
    turned = chunk(b"eXIf", exif(6)[6:])
    plain = load_image(png(8, 2, turned))
    assert plain.shape == (13, 7, 3)
    assert np.array_equal(load_image(png(8, 2, turned, wrong(chunk(b"tEXt", b"a\0b")))), plain)
