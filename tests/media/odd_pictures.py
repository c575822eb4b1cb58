"""Pictures as they occur: of every depth, with broken comments, without an end, renamed. Each is made by code.

PLAIN are valid; SAME show just what a plain one shows, whatever is wrong beside; REFUSED are no whole pictures.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PLAIN: dict[str, bytes] = {}
SAME: dict[str, tuple[bytes, str]] = {}
REFUSED: dict[str, tuple[bytes, str]] = {}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def wrong(whole):
    """A chunk whose checksum is not right."""
    return whole[:-1] + bytes([whole[-1] ^ 1])


def rows(bits, width, height):
    return b"".join(
        b"\0" + bytes((7 * i + 11 * j) % 256 for i in range((width * bits + 7) // 8)) for j in range(height)
    )


def png(depth, colour, *extra, after=b"", end=True, interlace=0, size=(13, 7), split=1):
    bits, (width, height) = depth * CHANNELS[colour], size
    passes = [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in ADAM7]
    parts = passes if interlace else [size]
    pixels = zlib.compress(b"".join(rows(bits, *part) for part in parts if all(part)))
    step = max(len(pixels) // split, 1)
    data = b"".join(chunk(b"IDAT", pixels[i : i + step]) for i in range(0, len(pixels), step))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    return SIGNATURE + header + b"".join(extra) + data + after + (chunk(b"IEND", b"") if end else b"")


def palette(count):
    return chunk(b"PLTE", bytes(37 * i % 256 for i in range(3 * count)))


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


RAMP = np.add.outer(3 * np.arange(48), 2 * np.arange(64)) % 256
PHOTO = Image.fromarray(np.stack([RAMP, RAMP // 2, RAMP], -1).astype(np.uint8))
GLASS = PHOTO.copy()
GLASS.putalpha(Image.fromarray(RAMP.astype(np.uint8)))
MOVING = [Image.new("RGB", (20, 20), (40 * i, 0, 200)) for i in range(4)]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

for depth in (1, 2, 4, 8, 16):
    PLAIN[f"png grey {depth}"] = png(depth, 0)
    PLAIN[f"png grey {depth} transparent"] = png(depth, 0, chunk(b"tRNS", b"\0\1"))
    PLAIN[f"png grey {depth} interlaced"] = png(depth, 0, interlace=1)
for depth in (1, 2, 4, 8):
    PLAIN[f"png palette {depth}"] = png(depth, 3, palette(2**depth))
    PLAIN[f"png palette {depth} transparent"] = png(depth, 3, palette(2**depth), chunk(b"tRNS", b"\0\x80"))
    PLAIN[f"png palette {depth} interlaced"] = png(depth, 3, palette(2**depth), interlace=1)
for colour, name in ((2, "rgb"), (4, "grey alpha"), (6, "rgba")):
    for depth in (8, 16):
        PLAIN[f"png {name} {depth}"] = png(depth, colour)
        PLAIN[f"png {name} {depth} interlaced"] = png(depth, colour, interlace=1)
PLAIN["png rgb 8 transparent"] = png(8, 2, chunk(b"tRNS", struct.pack(">HHH", 7, 18, 29)))
PLAIN |= {f"png {w}x{h}": png(8, 0, size=(w, h)) for w, h in ((1, 1), (1, 3000), (3000, 1))}

BESIDE = {
    "gamma": chunk(b"gAMA", struct.pack(">I", 45455)),
    "profile": chunk(b"iCCP", b"x\0\0" + zlib.compress(PROFILE)),
    "profile without a name": chunk(b"iCCP", b""),
    "profile without an end of its name": chunk(b"iCCP", b"xxxx"),
    "profile of garbage": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"garbage" * 30)),
    "profile not compressed": chunk(b"iCCP", b"x\0\0garbage"),
    "profile compressed otherwise": chunk(b"iCCP", b"x\0\7" + zlib.compress(PROFILE)),
    "profile cut off": chunk(b"iCCP", b"x\0\0" + zlib.compress(PROFILE)[:200]),
    "profile that is huge": chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(3 << 20))),
    "comment with a wrong sum": wrong(chunk(b"tEXt", b"a\0b")),
    "gamma with a wrong sum": wrong(chunk(b"gAMA", struct.pack(">I", 45455))),
    "gamma cut off": chunk(b"gAMA", b"\0"),
    "primaries cut off": chunk(b"cHRM", b"\0\0"),
    "srgb cut off": chunk(b"sRGB", b""),
    "density cut off": chunk(b"pHYs", b"\0"),
    "transparency cut off": chunk(b"tRNS", b"\0"),
    "comment that is huge": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(5 << 20))),
    "comment not compressed": chunk(b"zTXt", b"a\0\0xx"),
    "comment compressed otherwise": chunk(b"zTXt", b"a\0\5xx"),
    "comments that are many": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20))) * 70,
    "comment in no encoding": chunk(b"iTXt", b"a\0\0\0en\0\0\xff\xff"),
    "chunk of one's own": chunk(b"prVt", b"abc"),
    "chunk with no name": chunk(b"\xff\xfe\0\1", b"x"),
    "exif of garbage": chunk(b"eXIf", b"garbage"),
    "exif that is empty": chunk(b"eXIf", b""),
    "background": chunk(b"bKGD", bytes(6)),
    "animation cut off": chunk(b"acTL", b"\0"),
    "animation of none": chunk(b"acTL", bytes(8)),
    "frame outside": chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", bytes(26)),
    "empty data": chunk(b"IDAT", b""),
    "palette": palette(256),
}
SAME |= {f"png with {name}": (png(8, 2, extra), "png rgb 8") for name, extra in BESIDE.items()}
SAME |= {
    "png without an end": (png(8, 2, end=False), "png rgb 8"),
    "png and garbage": (png(8, 2) + b"garbage" * 99, "png rgb 8"),
    "png with a garbled end": (png(8, 2, after=b"\xff" * 20), "png rgb 8"),
    "png in many pieces": (png(8, 2, split=20), "png rgb 8"),
}
REFUSED |= {
    "png half": (png(8, 2)[:70], "cut off"),
    "png with wrong pixels": (wrong(png(8, 2)[:-24]) + png(8, 2)[-24:], "damaged"),
    "png of nothing": (png(8, 2, size=(0, 0)), "damaged"),
    "png of a header": (png(8, 2)[:33], "damaged"),
    "png of 90 megapixels": (
        SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 9500, 9500, 8, 0, 0, 0, 0)) + chunk(b"IDAT", b""),
        "megapixels",
    ),
}

JPEG, SPARSE = saved(PHOTO, "JPEG"), saved(PHOTO, "JPEG", progressive=True)
PLAIN |= {"jpeg": JPEG, "jpeg progressive": SPARSE, "jpeg with restarts": saved(PHOTO, "JPEG", restart_marker_blocks=1)}
PLAIN |= {f"jpeg {mode}": saved(PHOTO.convert(mode), "JPEG") for mode in ("L", "CMYK")}
PLAIN["jpeg YCCK"] = PLAIN["jpeg CMYK"].replace(b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\2")
PLAIN["jpeg CMYK not by Adobe"] = PLAIN["jpeg CMYK"].replace(b"Adobe\0\x64\0\0\0\0\0", b"Other\0\x64\0\0\0\0\0")
PLAIN |= {f"jpeg sampled {way}": saved(PHOTO, "JPEG", subsampling=way) for way in (0, 1, 2)}
PLAIN["jpeg of two"] = saved(PHOTO, "MPO", save_all=True, append_images=[PHOTO])


def within(body, kind=1):
    """The JPEG with an application segment before everything else."""
    return JPEG[:2] + b"\xff" + bytes([0xE0 + kind]) + struct.pack(">H", len(body) + 2) + body + JPEG[2:]


def exif(turn, kind=3, entries=(), order=">"):
    """An Exif segment that says how the picture is turned."""
    rest = struct.pack(order + "HHIHH", 0x112, kind, 1, turn, 0) + b"".join(entries)
    head = b"MM" if order == ">" else b"II"
    return b"Exif\0\0" + head + struct.pack(order + "HIH", 42, 8, 1 + len(entries)) + rest + bytes(4)


TURNED = {f"jpeg turned {turn}": (within(exif(turn)), turn) for turn in range(1, 9)}
TURNED["jpeg turned, by Intel"] = (within(exif(6, order="<")), 6)
TURNED["jpeg turned, without an end"] = (within(exif(6))[:-2], 6)
TURNED["jpeg turned, a number below 0 beside"] = (within(exif(6, entries=[struct.pack(">HHIi", 0x100, 9, 1, -5)])), 6)
EXIFS = {
    "says 0": exif(0),
    "says 9": exif(9),
    "is text": exif(0x3600, 2),
    "is garbage": b"Exif\0\0garbage!!",
    "is empty": b"Exif\0\0",
    "is cut off": exif(6)[:20],
    "points nowhere": b"Exif\0\0MM\0*\xff\xff\xff\xff",
    "counts too much": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40),
    "points to itself": b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHIII", 1, 0x8769, 4, 1, 8, 8),
    "divides by zero": exif(1, entries=[struct.pack(">HHII", 0x11A, 5, 1, 38)]),
}
SAME |= {f"jpeg whose exif {name}": (within(body), "jpeg") for name, body in EXIFS.items()}
OTHERS = {
    "profile": (2, b"ICC_PROFILE\0\1\1" + PROFILE),
    "profile of garbage": (2, b"ICC_PROFILE\0\1\1garbage"),
    "profile in parts that are missing": (2, b"ICC_PROFILE\0\1\3" + PROFILE),
    "profile that is empty": (2, b"ICC_PROFILE\0"),
    "short word of Adobe": (14, b"Adobe"),
    "short JFIF": (0, b"JFIF\0"),
    "broken list of pictures": (2, b"MPF\0garbage"),
    "empty list of pictures": (2, b"MPF\0"),
    "resources of Photoshop": (13, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\5abc"),
}
SAME |= {f"jpeg with a {name}": (within(body, kind), "jpeg") for name, (kind, body) in OTHERS.items()}
SAME |= {
    "jpeg without an end": (JPEG[:-2], "jpeg"),
    "jpeg with half an end": (JPEG[:-1], "jpeg"),
    "jpeg progressive without an end": (SPARSE[:-2], "jpeg progressive"),
    "jpeg that ends in zeros": (JPEG[:-2] + bytes(50), "jpeg"),
    "jpeg and garbage": (JPEG + b"garbage" * 99, "jpeg"),
    "jpeg and an archive": (JPEG + b"PK\3\4" + bytes(99), "jpeg"),
    "jpeg with fill bytes": (JPEG[:2] + b"\xff" * 5 + JPEG[2:], "jpeg"),
}
REFUSED |= {f"jpeg less {n}": (JPEG[:-n], "cut off") for n in (4, 12, 100)}
REFUSED |= {"jpeg half": (JPEG[: len(JPEG) // 2], "cut off"), "jpeg progressive less 40": (SPARSE[:-40], "cut off")}
