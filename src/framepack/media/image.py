"""Pictures in, pictures out: any common image becomes upright sRGB, uint8 (H, W, 3).

Decides by content. Knows nothing of videos, tensors or the model; the crop is the public FramePack application's.
"""

import io
import struct
import warnings
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from framepack.files.errors import MediaError
from framepack.media.kinds import what_it_is
from framepack.media.repair import repaired
from framepack.media.source import Source, head_of, kind_of, name_of, open_source

ImageRGB = NDArray[np.uint8]
"""(H, W, 3), sRGB."""

MAX_PIXELS = 64_000_000
READABLE = "PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF"
DECODERS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""Pillow would try thirty formats more, among them EPS, which starts Ghostscript."""
WHITE = (255, 255, 255)
MAX_RESIZED_PIXELS = 4 * MAX_PIXELS
LARGEST_REPAIRED = 256_000_000
"""Bytes of a file that is read whole to see what Pillow stumbles over."""
ORIENTATION = 0x0112
TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What puts a picture upright, by its EXIF orientation."""
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    EOFError,
    struct.error,
)
"""What Pillow raises on damaged files. Those without an end are OSErrors or EOFErrors."""


def load_image(source: Source, *, matte: tuple[int, int, int] = WHITE) -> ImageRGB:
    """The picture in `source`: (H, W, 3) uint8, upright, sRGB.

    Animated: the first frame. Palette, grey, 16-bit, CMYK: converted, through the embedded colour profile where there
    is one. EXIF-rotated: turned upright. Transparent: laid on `matte`; white by default, as on a page.

    Raises MediaError: no such file, not an image, damaged, more than 64 megapixels (refused before decoding).
    """
    with open_source(source) as file:
        name, kind = name_of(source), kind_of(file)
        if kind in ("mp4", "mkv", "avi") and not what_it_is(head_of(file)):
            raise MediaError(f"{name} is a video ({kind}), not an image: save one of its frames as PNG first")
        try:
            return _decoded(file, kind, name, matte)
        except MediaError:
            raise
        except Exception as error:  # a decoder fed a damaged file may raise anything
            if (pixels := _repaired(file, kind, name, matte)) is not None:
                return pixels
            raise MediaError(_trouble(file, kind, name, error)) from error


def _decoded(file: BinaryIO, kind: str, name: str, matte: tuple[int, int, int]) -> ImageRGB:
    """The pixels; MediaError where there are too many, and whatever a decoder raises."""
    file.seek(0)
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):  # our own limit follows
            image = _open_heic(file, name) if kind == "heic" else Image.open(file, formats=DECODERS)
    except Image.DecompressionBombError as error:
        raise MediaError(f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels: make it smaller first") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise MediaError(
            f"{name} is {width}x{height} = {width * height / 1e6:.1f} megapixels, "
            f"the limit is {MAX_PIXELS // 1_000_000}: make it smaller first"
        )
    image.load()
    turn = TURNS.get(_orientation(image))
    image = _whole_screen(_with_its_transparency(image, file))
    return np.asarray(_to_rgb(image.transpose(turn) if turn is not None else image, matte))


def _repaired(file: BinaryIO, kind: str, name: str, matte: tuple[int, int, int]) -> ImageRGB | None:
    """The pixels of a file that only Pillow stumbles over; None where they are not all there."""
    if file.seek(0, 2) > LARGEST_REPAIRED:
        return None
    file.seek(0)
    for versions in repaired(file.read(), kind):
        try:
            pictures = (_decoded(io.BytesIO(data), kind, name, matte) for data in versions)
            first = next(pictures)
            return first if all(np.array_equal(first, other) for other in pictures) else None
        except MediaError:
            raise
        except UNREADABLE:
            continue
    return None


def _trouble(file: BinaryIO, kind: str, name: str, error: Exception) -> str:
    """Why there is no picture, in one sentence: what the file is, or what is the matter with it."""
    found = what_it_is(head_of(file))
    if found:
        return f"{name} is {found}, not an image that can be read: use {READABLE}"
    known = {b"BM": "BMP", b"II": "TIFF", b"MM": "TIFF"}.get(head_of(file)[:2], kind.upper())
    if known == "UNKNOWN":
        return f"{name} is not an image that can be read: use {READABLE}"
    reason = "" if isinstance(error, Image.UnidentifiedImageError) else f" ({' '.join(str(error).split())[:80]})"
    if "nsupported" in reason:
        return (
            f"{name} is of a kind of {known} that cannot be read{reason}: save it as PNG with a program that shows it"
        )
    if "truncated" in reason.lower() or known in ("PNG", "JPEG", "GIF", "WEBP"):
        return f"{name} is damaged or cut off{reason}: copy or download it again"
    return (
        f"{name} is a file of the kind {known} that is damaged or has features that cannot be read{reason}: "
        "if a program shows it, save it from there as PNG"
    )


def bucket_crop(image: ImageRGB, width: int, height: int) -> ImageRGB:
    """`image` scaled to cover `width` x `height` (Lanczos), then cut out of the centre: (height, width, 3).

    Sizes are rounded as the public application does: the scaled size to whole pixels, the box by Pillow.
    """
    if width < 1 or height < 1:
        raise ValueError(f"width and height must be at least 1, got {width}x{height}")
    if image.shape[:2] == (height, width):
        return image
    picture = Image.fromarray(image)
    scale = max(width / picture.width, height / picture.height)
    scaled_width, scaled_height = round(picture.width * scale), round(picture.height * scale)
    box = (
        (scaled_width - width) / 2,
        (scaled_height - height) / 2,
        (scaled_width + width) / 2,
        (scaled_height + height) / 2,
    )
    if scaled_width * scaled_height > MAX_RESIZED_PIXELS:  # a ribbon: scale only the part that stays
        seen = box[0] / scale, box[1] / scale, box[2] / scale, box[3] / scale
        return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS, box=seen))
    scaled = picture.resize((scaled_width, scaled_height), Image.Resampling.LANCZOS)
    return np.asarray(scaled.crop(box))  # type: ignore[arg-type]  # Pillow rounds a float box, half to even


def encode_image(image: ImageRGB, kind: str = "png", quality: int = 85) -> bytes:
    """`image` as the bytes of a `png`, `jpeg` or `webp` file, for previews and thumbnails."""
    if kind not in ("png", "jpeg", "webp"):
        raise ValueError(f"image format must be png, jpeg or webp, got {kind!r}")
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **({} if kind == "png" else {"quality": quality}))
    return file.getvalue()


def _open_heic(file: BinaryIO, name: str) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile  # type: ignore[import-not-found]
    except ImportError as error:
        raise MediaError(f"{name} is a HEIC photo: run `pip install pillow-heif`, or save it as JPEG or PNG") from error
    return HeifImageFile(file)


def _orientation(image: Image.Image) -> object:
    """How EXIF says that the picture is stored; what cannot be read says nothing."""
    try:
        return image.getexif().get(ORIENTATION)
    except UNREADABLE:
        return None


def _with_its_transparency(image: Image.Image, file: BinaryIO) -> Image.Image:
    """The transparent grey of a PNG of 2 or 4 bits as a grey of 8, which Pillow makes of all others."""
    if image.format == "PNG" and image.mode == "L" and isinstance(image.info.get("transparency"), int):
        file.seek(24)
        depth = file.read(1)[0]
        if depth < 8:
            image.info["transparency"] *= 255 // (2**depth - 1)
    return image


def _whole_screen(image: Image.Image) -> Image.Image:
    """A GIF's first frame on its screen: what it does not cover is transparent, not the file's first colour."""
    if image.format != "GIF":
        return image
    covered = getattr(image, "dispose_extent", None) or (0, 0, *image.size)
    if covered == (0, 0, *image.size):
        return image
    screen = Image.new("RGBA", image.size)
    screen.paste(image.convert("RGBA").crop(covered), covered)
    return screen


def _to_rgb(image: Image.Image, matte: tuple[int, int, int]) -> Image.Image:
    image = _to_8_bit(image)
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        colours = _to_srgb(image.convert("RGB"), profile)
        return Image.composite(colours, Image.new("RGB", image.size, matte), alpha)
    if image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("RGB")
    return _to_srgb(image, profile)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey as 8-bit grey; other modes as they are."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    least, largest = float(values.min()), float(values.max())
    white = next((bound for bound in WHITES[image.mode[0]] if largest <= bound), None)
    if white is None or largest <= 0 > least:  # what no scale of levels explains is stretched over its own range
        values, white = values - least, max(largest - least, 1.0)
    grey = np.clip(values, 0, white) * (255 / white)
    result = Image.fromarray(np.rint(grey).astype(np.uint8))
    if isinstance(clear := image.info.get("transparency"), int):
        result = Image.merge("LA", (result, Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))))
    result.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return result


WHITES: dict[str, tuple[float, ...]] = {"I": (65535.0,), "F": (1.0, 255.0, 65535.0)}
"""The value that is white, by mode: the first that no pixel exceeds."""


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image` in sRGB; through `profile` where it is sound and says something other than sRGB."""
    if profile:
        try:
            described = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "srgb" not in ImageCms.getProfileDescription(described).lower():
                transform: Callable = ImageCms.profileToProfile
                return transform(image, described, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass  # an unreadable profile, or one for another mode: the plain conversion below is what viewers show
    return image.convert("RGB")
