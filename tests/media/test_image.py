import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from framepack.files.errors import MediaError
from framepack.media.image import bucket_crop, encode_image, load_image


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_to_the_bit(clip, kind):
    picture = clip(1)[0]
    assert np.array_equal(load_image(saved(Image.fromarray(picture), kind)), picture)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_come_back_nearly(clip, decibels, kind):
    picture = clip(1)[0]
    assert decibels(load_image(saved(Image.fromarray(picture), kind, quality=95)), picture) > 35


def test_the_content_decides_not_the_suffix(tmp_path, clip):
    path = tmp_path / "picture.jpg"
    path.write_bytes(saved(Image.fromarray(clip(1)[0])))
    assert np.array_equal(load_image(path), clip(1)[0])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(kind):
    colours = [(250, 10, 10), (10, 250, 10), (10, 10, 250)]
    first, *rest = [Image.new("RGB", (32, 32), colour) for colour in colours]
    picture = load_image(saved(first, kind, save_all=True, append_images=rest))
    assert np.abs(picture.astype(int) - colours[0]).max() < 8


def test_an_exif_rotated_photo_is_turned_upright():
    picture = Image.new("RGB", (40, 20), (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 40, 10))  # white above black
    exif = Image.Exif()
    exif[0x0112] = 6  # turn to the right by 90 degrees
    upright = load_image(saved(picture, exif=exif))
    assert upright.shape == (40, 20, 3)
    assert upright[:, -1].min() == 255
    assert upright[:, 0].max() == 0


def test_sixteen_bit_grey_keeps_its_brightness():
    values = np.array([[0, 257 * 100, 257 * 200, 65535]], np.uint16)
    picture = load_image(saved(Image.fromarray(values)))
    assert picture[0, :, 0].tolist() == [0, 100, 200, 255]
    assert (picture[..., 0] == picture[..., 2]).all()


def test_float_grey_is_read_as_nought_to_one_and_nan_as_black():
    values = np.array([[0.0, 0.5, 1.0, np.nan]], np.float32)
    assert load_image(saved(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 128, 255, 0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA"])
def test_grey_and_palette_become_rgb(mode):
    picture = load_image(saved(Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode)))
    assert picture.shape == (8, 8, 3)
    assert picture.min() == 255


def test_transparent_parts_are_laid_on_white_or_what_one_asks_for():
    picture = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    picture.putpixel((0, 0), (200, 0, 0, 255))
    data = saved(picture)
    assert load_image(data)[0, 0].tolist() == [200, 0, 0]
    assert load_image(data)[2, 2].tolist() == [255, 255, 255]
    assert load_image(data, matte=(0, 0, 9))[2, 2].tolist() == [0, 0, 9]


def test_a_palette_with_a_transparent_colour_is_matted_too():
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([10, 20, 30, 40, 50, 60])
    assert load_image(saved(picture, transparency=0))[0, 0].tolist() == [255, 255, 255]


def test_cmyk_without_a_profile_is_converted():
    picture = load_image(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))
    assert np.abs(picture.astype(int) - (255, 0, 0)).max() < 6


def test_a_wide_gamut_profile_changes_the_colours_and_srgb_does_not():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.new("RGB", (4, 4), (200, 100, 50))
    assert load_image(saved(picture, icc_profile=srgb))[0, 0].tolist() == [200, 100, 50]
    assert load_image(saved(picture, icc_profile=lab))[0, 0].tolist() == [200, 100, 50]  # unusable: as without
    assert load_image(saved(picture, icc_profile=linear_rgb()))[0, 0, 1] > 130


def linear_rgb():
    """The sRGB profile with its curves replaced by a straight line, under another name."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for index in range(struct.unpack(">I", data[128:132])[0]):
        tag, offset, size = struct.unpack(">4sII", data[132 + 12 * index : 144 + 12 * index])
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            data[offset : offset + size] = (b"curv" + bytes(8)).ljust(size, b"\0")
        if tag == b"desc":
            data[offset : offset + size] = data[offset : offset + size].replace(b"\0s\0R\0G\0B", b"\0l\0i\0n\0e")
    return bytes(data)


def bomb(width, height):
    """A PNG whose header promises width x height."""
    data = bytearray(saved(Image.new("L", (1, 1))))
    data[16:24] = struct.pack(">II", width, height)
    import zlib

    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize("size", [(8001, 8000), (60000, 60000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_more_than_64_megapixels_are_refused_before_decoding(size):
    with pytest.raises(MediaError, match="megapixels"):
        load_image(bomb(*size))


def test_what_is_not_there_or_not_a_file_is_named(tmp_path):
    empty = tmp_path / "empty.png"
    empty.touch()
    for source, words in ((tmp_path / "none.png", "no such file"), (tmp_path, "is a folder"), (empty, "is empty")):
        with pytest.raises(MediaError, match=words) as caught:
            load_image(source)
        assert str(source) in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"hello, this is text", "not an image"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC photo: run `pip install pillow-heif`|is damaged"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "is a video"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"", "is empty"),
    ],
)
def test_what_is_not_an_image_gets_one_sentence_with_the_way_out(data, words):
    with pytest.raises(MediaError, match=words) as caught:
        load_image(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_truncated_image_is_refused(clip, kind):
    data = saved(Image.fromarray(clip(1)[0]), kind)
    with pytest.raises(MediaError, match="damaged"):
        load_image(data[: len(data) // 2])


def test_the_crop_scales_to_cover_and_cuts_the_centre():
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 255
    assert bucket_crop(picture, 64, 64).min() > 240  # only the middle third is seen, and Lanczos rings at its edges
    assert bucket_crop(picture, 96, 32).shape == (32, 96, 3)


def test_the_crop_is_pillows_lanczos_with_the_box_rounded_half_to_even(clip):
    picture = clip(1, 120, 200)[0]  # scaled to 107 x 64, so the box starts at 5.5
    expected = np.asarray(Image.fromarray(picture).resize((107, 64), Image.Resampling.LANCZOS))[:, 6:102]
    assert np.array_equal(bucket_crop(picture, 96, 64), expected)


def test_a_picture_of_the_right_size_is_not_touched(clip):
    assert np.array_equal(bucket_crop(clip(1)[0], 96, 64), clip(1)[0])


def test_a_ribbon_is_cropped_without_being_scaled_whole():
    ribbon = np.zeros((2, 60000, 3), np.uint8)
    ribbon[:, 29990:30010] = 200
    assert bucket_crop(ribbon, 960, 416)[200, 480].tolist() == [200, 200, 200]


def test_pictures_are_encoded_for_pages_and_an_unknown_kind_is_refused(clip):
    assert np.array_equal(load_image(encode_image(clip(1)[0], "png")), clip(1)[0])
    assert len(encode_image(clip(1)[0], "jpeg", 50)) < len(encode_image(clip(1)[0], "jpeg", 95))
    with pytest.raises(ValueError, match="png, jpeg or webp, got 'svg'"):
        encode_image(clip(1)[0], "svg")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("low", "high"), [(-5.0, -1.0), (0.0, 100_000.0), (-3.0, 0.0)])
def test_floats_on_no_known_scale_are_stretched_over_their_own_range(tmp_path, low, high):
    values = np.linspace(low, high, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    pixels = load_image(tmp_path / "a.tiff")
    assert (pixels.min(), pixels.max()) == (0, 255)
