"""Pictures in, pictures out: any common image becomes upright sRGB, uint8 (H, W, 3).

Decides by content. Knows nothing of videos, tensors or the model; the crop is the public FramePack application's.
"""

import io
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from framepack.media.errors import MediaError
from framepack.media.source import Source, kind_of, name_of, open_source

ImageRGB = NDArray[np.uint8]
"""(H, W, 3), sRGB."""

MAX_PIXELS = 64_000_000
READABLE = "PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF"
DECODERS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""Pillow would try thirty formats more, among them EPS, which starts Ghostscript."""
WHITE = (255, 255, 255)
MAX_RESIZED_PIXELS = 4 * MAX_PIXELS


def load_image(source: Source, *, matte: tuple[int, int, int] = WHITE) -> ImageRGB:
    """The picture in `source`: (H, W, 3) uint8, upright, sRGB.

    Animated: the first frame. Palette, grey, 16-bit, CMYK: converted, through the embedded colour profile where there
    is one. EXIF-rotated: turned upright. Transparent: laid on `matte`; white unless told, as on a page.

    Raises MediaError: no such file, not an image, damaged, more than 64 megapixels (refused before decoding).
    """
    with open_source(source) as file:
        name = name_of(source)
        image = _open(file, name)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise MediaError(
                f"{name} is {width}x{height} = {width * height / 1e6:.1f} megapixels, "
                f"the limit is {MAX_PIXELS // 1_000_000}: make it smaller first"
            )
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
            return np.asarray(_to_rgb(upright, matte))
        except Exception as error:  # a decoder fed a damaged file may raise anything
            raise MediaError(f"{name} is damaged or cut off ({error}): copy or download it again") from error


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


def _open(file: BinaryIO, name: str) -> Image.Image:
    """The image's header; nothing is decoded yet."""
    kind = kind_of(file)
    if kind in ("mp4", "mkv", "avi"):
        raise MediaError(f"{name} is a video ({kind}), not an image: save one of its frames as PNG first")
    if kind == "heic":
        return _open_heic(file, name)
    try:
        return Image.open(file, formats=DECODERS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError(f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels: make it smaller first") from error
    except Image.UnidentifiedImageError as error:
        raise MediaError(f"{name} is not an image that can be read: use {READABLE}") from error
    except Exception as error:  # a damaged header
        raise MediaError(f"{name} is damaged ({error}): copy or download it again") from error


def _open_heic(file: BinaryIO, name: str) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile  # type: ignore[import-not-found]
    except ImportError as error:
        raise MediaError(f"{name} is a HEIC photo: run `pip install pillow-heif`, or save it as JPEG or PNG") from error
    try:
        return HeifImageFile(file)
    except Exception as error:  # a damaged header
        raise MediaError(f"{name} is damaged ({error}): copy or download it again") from error


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
    largest = float(values.max())
    white = next((bound for bound in WHITES[image.mode[0]] if largest <= bound), largest)
    grey = np.clip(values, 0, white) * (255 / white)
    result = Image.fromarray(np.rint(grey).astype(np.uint8))
    result.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return result


WHITES: dict[str, tuple[float, ...]] = {"I": (65535.0,), "F": (1.0, 255.0, 65535.0)}
"""The value that is white, by mode: the first that no pixel exceeds, or else the largest pixel."""


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
