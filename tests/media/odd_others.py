"""Odd pictures, continued: GIF, WebP, AVIF, BMP, TIFF, and what is no picture at all."""

import struct

import numpy as np
from odd_pictures import GLASS, JPEG, MOVING, PHOTO, PLAIN, RAMP, REFUSED, SAME, saved
from PIL import Image

GIF = saved(MOVING[0], "GIF", save_all=True, append_images=MOVING[1:])
WEBP = saved(PHOTO, "WEBP")
MOVIE = saved(MOVING[0], "WEBP", save_all=True, append_images=MOVING[1:])
AVIF = saved(PHOTO, "AVIF")
PLAIN |= {
    "gif": GIF,
    "gif 1x1": saved(Image.new("P", (1, 1)), "GIF"),
    "gif transparent": saved(Image.new("P", (4, 4)), "GIF", transparency=0),
    "gif interlaced": saved(PHOTO, "GIF", interlace=1),
    "gif of 1987": saved(Image.new("L", (5, 5)), "GIF").replace(b"GIF89a", b"GIF87a"),
    "webp": WEBP,
    "webp lossless": saved(PHOTO, "WEBP", lossless=True),
    "webp transparent": saved(GLASS, "WEBP"),
    "webp moving": MOVIE,
    "avif": AVIF,
    "avif transparent": saved(GLASS, "AVIF"),
    "avif moving": saved(MOVING[0], "AVIF", save_all=True, append_images=MOVING[1:]),
}
SAME |= {
    "gif without an end": (GIF[:-1], "gif"),
    "gif and garbage": (GIF + b"garbage", "gif"),
    "gif cut off after its first frame": (GIF[: len(GIF) * 2 // 3], "gif"),
    "webp and garbage": (WEBP + b"garbage", "webp"),
    "webp that claims more": (WEBP[:4] + struct.pack("<I", len(WEBP) + 50) + WEBP[8:], "webp"),
    "webp with exif of garbage": (saved(PHOTO, "WEBP", exif=b"Exif\0\0garbage"), "webp"),
    "webp with a profile of garbage": (saved(PHOTO, "WEBP", icc_profile=b"garbage"), "webp"),
    "webp moving, its last frame cut off": (MOVIE[:-30], "webp moving"),
    "avif of a general brand": (AVIF[:8] + b"mif1" + AVIF[12:], "avif"),
    "avif of a general brand that moves": (AVIF[:8] + b"msf1" + AVIF[12:], "avif"),
}
REFUSED |= {
    "gif half": (saved(PHOTO, "GIF")[:-500], "cut off"),
    "webp half": (WEBP[: len(WEBP) // 2], "cut off"),
    "avif less 10": (AVIF[:-10], "cut off"),
    "avif half": (AVIF[: len(AVIF) // 2], "damaged or has features"),
}


def bmp(bits, *, upside=1, way=0, core=False, header=40, masks=(), data=None):
    """13 x 7 pixels; `way` is the compression. Source: BITMAPINFOHEADER in the Windows documentation."""
    stride = (13 * bits + 31) // 32 * 4
    data = data or bytes(5 * i % 256 for i in range(stride * 7))
    colours = 2**bits if bits <= 8 else 0
    table = b"".join(bytes([9 * i % 256, 5 * i % 256, i]) + (b"" if core else b"\0") for i in range(colours))
    words = struct.pack(f"<{len(masks)}I", *masks)
    head = struct.pack("<IiiHHIIiiII", header, 13, upside * 7, 1, bits, way, len(data), 2835, 2835, 0, 0)
    head += words.ljust(header - 40, b"\0")
    if core:
        head = struct.pack("<IHHHH", 12, 13, 7, 1, bits)
    begin = 14 + len(head) + len(table)
    return b"BM" + struct.pack("<IHHI", begin + len(data), 0, 0, begin) + head + table + data


PLAIN |= {f"bmp {bits}": bmp(bits) for bits in (1, 4, 8, 16, 24, 32)}
PLAIN |= {f"bmp {bits} from the top": bmp(bits, upside=-1) for bits in (1, 4, 8, 16, 24, 32)}
PLAIN |= {f"bmp {bits} of OS/2": bmp(bits, core=True) for bits in (1, 4, 8, 24)}
LINES = {8: b"".join(b"\x0d" + bytes([j]) + b"\0\0" for j in range(7)) + b"\0\1"}
LINES[4] = LINES[8].replace(b"\x06\0\0\0\1", b"\x66\0\0\0\1")
PLAIN |= {"bmp 8 packed": bmp(8, way=1, data=LINES[8]), "bmp 4 packed": bmp(4, way=2, data=LINES[4])}
BLUE_LAST, ALPHA = (0xFF0000, 0xFF00, 0xFF), 0xFF000000
PLAIN |= {
    "bmp 16 as 565": bmp(16, way=3, masks=(0xF800, 0x7E0, 0x1F)),
    "bmp 16 as 555": bmp(16, way=3, masks=(0x7C00, 0x3E0, 0x1F)),
    "bmp 32 with masks": bmp(32, way=3, masks=BLUE_LAST),
    "bmp 32 transparent": bmp(32, way=3, header=108, masks=(*BLUE_LAST, ALPHA)),
    "bmp 32 of version 5": bmp(32, way=3, header=124, masks=(*BLUE_LAST, ALPHA)),
}
REFUSED |= {
    "bmp 16 as 444": (bmp(16, way=3, masks=(0xF00, 0xF0, 0xF)), "is of a kind of BMP that cannot be read"),
    "bmp of a JPEG": (bmp(0, way=4, data=JPEG), "is of a kind of BMP that cannot be read"),
    "bmp cut off": (bmp(24)[:-30], "cut off"),
}

FLOATS = (RAMP / 255).astype(np.float32)
PLAIN |= {f"tiff {mode}": saved(PHOTO.convert(mode), "TIFF") for mode in ("1", "L", "P", "RGB", "CMYK", "LAB")}
PLAIN |= {f"tiff {way}": saved(PHOTO, "TIFF", compression=way) for way in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")}
PLAIN |= {
    "tiff of floats": saved(Image.fromarray(FLOATS), "TIFF"),
    "tiff of 16 bits": saved(Image.fromarray((FLOATS * 65535).astype(np.uint16)), "TIFF"),
    "tiff of 32 bits": saved(Image.fromarray((FLOATS * 65535).astype(np.int32)), "TIFF"),
    "tiff of a fax": saved(PHOTO.convert("1"), "TIFF", compression="group4"),
    "tiff transparent": saved(GLASS, "TIFF"),
    "tiff grey transparent": saved(GLASS.convert("LA"), "TIFF"),
    "tiff of two": saved(PHOTO, "TIFF", save_all=True, append_images=[PHOTO]),
    "jpeg 2000": saved(PHOTO, "JPEG2000"),
    "ppm": saved(PHOTO, "PPM"),
}
REFUSED |= {
    "tiff cut off": (saved(PHOTO, "TIFF")[:1000], "cut off"),
    "tiff of nothing": (b"II*\0" + bytes(60), "kind TIFF that is damaged or has features"),
}
ZEROS = bytes(60)
STRANGERS = {
    "icon": (saved(PHOTO, "ICO"), r"an icon \(ICO\)"),
    "pdf": (saved(PHOTO, "PDF"), "a PDF document"),
    "eps": (saved(PHOTO, "EPS"), "a PostScript drawing"),
    "dds": (saved(PHOTO, "DDS"), "a DDS texture"),
    "psd": (b"8BPS\0\1" + ZEROS, "Photoshop"),
    "jpeg xl": (b"\xff\x0a" + ZEROS, "JPEG XL"),
    "jpeg xl in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + ZEROS, "JPEG XL"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
    "svg with a preface": (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- drawn -->\n<svg/>", "an SVG drawing"),
    "html": (b"\n<!DOCTYPE html><html><body>404</body></html>", r"a web page \(HTML\)"),
    "text": (b"hello, world", "text"),
    "text with letters": (("Grüße " * 200).encode(), "text"),
    "text of Windows": ("hello".encode("utf-16"), "text"),
    "json": (b'{"error": "no such picture"}', "text"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "Git LFS"),
    "zip": (b"PK\3\4" + ZEROS, "a ZIP archive"),
    "rar": (b"Rar!\x1a\7\0" + ZEROS, "a RAR archive"),
    "mp3": (b"ID3\4" + ZEROS, r"a sound file \(MP3\)"),
    "m4a": (b"\0\0\0\x18ftypM4A " + ZEROS, "a sound file"),
    "wav": (b"RIFF\0\0\0\0WAVEfmt " + ZEROS, "a sound file"),
    "program": (b"MZ" + ZEROS, "a program"),
    "flv": (b"FLV\1" + ZEROS, "a video"),
    "mpeg-ts": ((b"G\x40\0\x10" + bytes(184)) * 5, "a video"),
    "wmv": (bytes.fromhex("3026b2758e66cf11a6d9") + ZEROS, "a video"),
    "mp4": (b"\0\0\0\x18ftypisom" + ZEROS, "a video"),
    "mkv": (b"\x1aE\xdf\xa3" + ZEROS, "a video"),
    "raw photo": (b"\0\0\0\x18ftypcrx " + ZEROS, "a raw photo"),
    "zeros": (bytes(1000), "not an image"),
    "ones": (b"\xff" * 1000, "not an image"),
}
REFUSED |= STRANGERS
