"""The mark of what AI has made: in every format and copy, found by exiftool and FFmpeg, and nothing else moves."""

import io
import json
import struct
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from exiftool import SOURCE_TYPE, says_made_by_ai, tags_of
from PIL import Image

from framepack.media.image import load_image
from framepack.media.join import join_segments
from framepack.media.marks import BOX_ID, XMP, embed_mark, is_marked, wanted
from framepack.media.metadata import read_metadata_text
from framepack.media.read import probe, read_video
from framepack.media.sheet import save_png
from framepack.media.video import VideoWriter
from framepack.spec.formats import CODECS, FORMATS, codec_of


def asked(mark: bool | None = None) -> str:
    return json.dumps({"request": {"prompt": "ä", "output": {} if mark is None else {"mark": mark}}})


def written(folder: Path, clip, name: str, text: str | None, frames: int = 3) -> Path:
    path = folder / f"clip{FORMATS[name].suffix}"
    with VideoWriter(path, size=(96, 64), metadata=text, format=name) as writer:
        writer.write(clip(frames))
    return path


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("frames", [1, 3])
def test_exiftool_finds_it_in_every_format(tmp_path, clip, name, frames):
    plain = written(tmp_path, clip, name, asked(False), frames)
    before = probe(plain)
    assert not says_made_by_ai(plain)
    assert not is_marked(plain)
    path = written(tmp_path, clip, name, asked(), frames)
    assert says_made_by_ai(path)
    assert is_marked(path)
    assert read_metadata_text(path) == asked()
    assert probe(path) == before
    assert len(list(read_video(path))) == frames


@pytest.mark.parametrize("name", ["mp4", "gif", "webp"])
@pytest.mark.parametrize("frames", [1, 3])
def test_what_is_marked_in_place_shows_the_same_pictures(tmp_path, clip, name, frames):
    path = written(tmp_path, clip, name, asked(False), frames)
    before, shown = probe(path), np.stack(list(read_video(path)))
    embed_mark(path, asked())
    assert says_made_by_ai(path)
    assert read_metadata_text(path) == asked(False)
    assert probe(path) == before
    assert np.array_equal(np.stack(list(read_video(path))), shown)


@pytest.mark.parametrize("name", ["mp4", "mkv", "webm"])
def test_ffmpeg_reads_the_words_and_in_matroska_the_type(tmp_path, clip, name):
    with av.open(str(written(tmp_path, clip, name, asked()))) as container:
        tags = {key.upper(): text for key, text in container.metadata.items()}
    assert tags["DESCRIPTION"] == f"Made by AI with FramePack ({SOURCE_TYPE})"
    assert tags.get("DIGITALSOURCETYPE") == (None if name == "mp4" else SOURCE_TYPE)
    assert tags["COMMENT"] == asked()


@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("name", list(FORMATS))
def test_joining_marks_by_the_metadata_and_not_by_the_parts(tmp_path, clip, name, draft):
    kept = FORMATS[name].suffix if CODECS[codec_of(name)].joins else ".mkv"
    part, whole = tmp_path / f"part{kept}", tmp_path / f"whole{FORMATS[name].suffix}"
    for before in (True, False):
        with VideoWriter(part, size=(96, 64), metadata=asked(before)) as writer:
            writer.write(clip(3))
        join_segments([part, part], whole, metadata=asked(not before), draft=draft, format=name)
        assert says_made_by_ai(whole) != before
        assert len(list(read_video(whole))) == 6


def test_each_picture_of_a_zip_is_marked_and_a_file_says_it(tmp_path, clip):
    with zipfile.ZipFile(written(tmp_path, clip, "png", asked())) as archive:
        archive.extractall(tmp_path)
    names = sorted(file.name for file in tmp_path.iterdir() if file.suffix != ".zip")
    assert names == ["frame_000000.png", "frame_000001.png", "frame_000002.png", "made-by-ai.xmp", "request.json"]
    for name in names[:-1]:
        assert says_made_by_ai(tmp_path / name)
    assert np.array_equal(load_image(tmp_path / names[0]), clip(1)[0])


def test_a_still_is_marked(tmp_path, clip):
    for text, there in ((asked(), True), ('{"mark": true}', True), (asked(False), False), (None, False)):
        save_png(tmp_path / "a.png", clip(1)[0], text)
        assert says_made_by_ai(tmp_path / "a.png") == is_marked(tmp_path / "a.png") == there
        assert np.array_equal(load_image(tmp_path / "a.png"), clip(1)[0])


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_pillow_reads_the_same_packet(tmp_path, clip, name):
    with Image.open(written(tmp_path, clip, name, asked())) as image:
        assert image.n_frames == 3
        image.seek(2)
        assert image.info.get("xmp", XMP) == XMP
        assert image.copy().getpixel((0, 0)) is not None


@pytest.mark.parametrize("name", list(FORMATS))
def test_it_says_nothing_of_when_or_where(tmp_path, clip, name):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = [written(tmp_path / folder, clip, name, asked()) for folder in "ab"]
    places = [file.read_bytes().find(SOURCE_TYPE.encode()) for file in files]
    assert places[0] == places[1] > 0


@pytest.mark.parametrize(
    ("metadata", "there"),
    [
        (None, False),
        ("{}", False),
        ('{"request": {}}', True),
        ('{"request": {"output": null}}', True),
        ('{"request": {"output": {"mark": false}}}', False),
        ('{"frame": {"number": 3, "request": {"output": {"mark": true}}}}', True),
        ('{"frame": {"number": 3}}', False),
        ('{"frame": {"number": 3}, "mark": true}', True),
        ('{"request": {"output": {"mark": true}}, "mark": false}', False),
        ('{"request": "a", "frame": []}', False),
    ],
)
def test_the_metadata_decides(metadata, there):
    assert wanted(metadata) == there


def test_what_others_mark_in_part_is_recognised(tmp_path, clip):
    path = written(tmp_path, clip, "mp4", None)
    other = XMP.replace(b"/trainedAlgorithmic", b"/compositeWithTrainedAlgorithmic")
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 24 + len(other), b"uuid") + BOX_ID + other)
    assert is_marked(path)
    assert "compositeWithTrainedAlgorithmicMedia" in tags_of(path)["digitalsourcetype"]


def test_what_a_program_leaves_that_copies_tags_alone_is_recognised(tmp_path, clip):
    path, remuxed = written(tmp_path, clip, "mp4", asked()), tmp_path / "remuxed.mp4"
    with av.open(str(path)) as source, av.open(str(remuxed), "w") as target:
        target.metadata.update({"description": source.metadata["description"]})
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    assert XMP not in remuxed.read_bytes()
    assert is_marked(remuxed)


def test_a_picture_without_any_says_nothing():
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG")
    assert not is_marked(file.getvalue())
