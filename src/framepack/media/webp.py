"""The chunks of a WebP file: a comment put in, and a length given to an animation in which nothing moves."""

import io
import struct

from PIL import Image

EXIF_HEADER = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIII", 1, 0x8769, 4, 1, 26, 0) + struct.pack(">HHH", 1, 0x9286, 7)
"""A TIFF header, IFD 0 with the Exif pointer alone, and the Exif IFD up to the length of its one entry, UserComment."""
HAS_ALPHA, HAS_EXIF, HAS_ANIMATION = 0x10, 0x08, 0x02
"""Flags of the VP8X chunk (RFC 9649)."""


def webp_with_exif(content: bytes, data: bytes) -> bytes:
    """A WebP file with `data` as its EXIF UserComment."""
    comment = b"\0" * 8 + data  # eight zeros: an encoding of one's own, here UTF-8
    exif = EXIF_HEADER + struct.pack(">II", len(comment), 44) + b"\0\0\0\0" + comment
    chunk = b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    if content[12:16] != b"VP8X":  # a picture that stands still
        content = content[:12] + _extended(content) + content[12:]
    flags = bytes([content[20] | HAS_EXIF])
    return content[:4] + struct.pack("<I", len(content) - 8 + len(chunk)) + content[8:20] + flags + content[21:] + chunk


def _extended(content: bytes) -> bytes:
    """The VP8X chunk of a WebP file that has none."""
    with Image.open(io.BytesIO(content), formats=["WEBP"]) as picture:
        width, height = picture.size
        alpha = HAS_ALPHA if picture.mode == "RGBA" else 0
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X" + struct.pack("<I", 10) + bytes([alpha, 0, 0, 0]) + sizes


def webp_lasting(content: bytes, milliseconds: int) -> bytes:
    """A picture that stands still as an animation of one frame that lasts; an animation is left as it is.

    libwebp writes frames that are all equal as a still, which has no length.
    """
    if b"ANMF" in content[:64]:
        return content
    extended = content[12:30] if content[12:16] == b"VP8X" else _extended(content)
    picture = content[12 + len(extended) * content.startswith(extended, 12) :]
    size, flags = extended[12:18], bytes([extended[8] | HAS_ANIMATION])
    body = b"\0" * 6 + size + milliseconds.to_bytes(3, "little") + b"\0" + picture
    frame = b"ANMF" + struct.pack("<I", len(body)) + body
    chunks = extended[:8] + flags + extended[9:] + b"ANIM" + struct.pack("<IIH", 6, 0, 0) + frame
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
