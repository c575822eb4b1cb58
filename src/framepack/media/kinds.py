"""What a file is that is neither a picture nor a video to be read, by its first bytes, for the sentence of refusal."""

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "a PDF document"),
    (0, b"\0\0\1\0", "an icon (ICO)"),
    (0, b"\0\0\2\0\1\0", "a mouse cursor (CUR)"),
    (0, b"icns", "an icon (ICNS)"),
    (0, b"8BPS", "a Photoshop file (PSD)"),
    (0, b"gimp xcf", "a GIMP file (XCF)"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"II*\0\x10\0\0\0CR", "a raw photo of a camera (CR2)"),
    (4, b"ftypcrx", "a raw photo of a camera (CR3)"),
    (0, b"FUJIFILMCCD-RAW", "a raw photo of a camera (RAF)"),
    (0, b"IIRO", "a raw photo of a camera (ORF)"),
    (0, b"v/1\1", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"qoif", "a QOI picture"),
    (0, b"%!PS", "a PostScript drawing"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript drawing"),
    (0, b"PK\3\4", "a ZIP archive or Office document"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"\x1f\x8b", "compressed by gzip"),
    (0, b"ID3", "a sound file (MP3)"),
    (4, b"ftypM4A", "a sound file (M4A)"),
    (8, b"WAVE", "a sound file (WAV)"),
    (0, b"fLaC", "a sound file (FLAC)"),
    (0, b"OggS", "an Ogg file"),
    (0, b"FLV", "a video (FLV)"),
    (0, b"\0\0\1\xba", "a video (MPEG)"),
    (0, b"\0\0\1\xb3", "a video (MPEG)"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video (WMV)"),
    (0, b"MZ", "a program"),
    (0, b"\x7fELF", "a program"),
    (0, b"bplist", "a property list of Apple's"),
    (0, b"version https://git-lfs", "the stand-in for a file in Git LFS (fetch it with `git lfs pull`)"),
)
MARKUP = {b"<svg": "an SVG drawing", b"<!doctype html": "a web page (HTML)", b"<html": "a web page (HTML)"}


def what_it_is(head: bytes) -> str | None:
    """Such as "a PDF document"; None where the first bytes are unknown."""
    if head[:1] == b"G" == head[188:189]:
        return "a video (MPEG-TS)"
    found = (what for place, mark, what in SIGNATURES if head[place : place + len(mark)] == mark)
    return next(found, None) or _text(head)


def _text(head: bytes) -> str | None:
    """What text is by how it begins; None where it is none."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text"
    if not head or b"\0" in head:
        return None
    words = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, what in MARKUP.items():
        if words.startswith(mark) or (words.startswith((b"<?xml", b"<!--")) and mark in words):
            return what
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not merely a letter that the end cuts
            return None
    return "an XML file" if words.startswith(b"<?xml") else "text"
