import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from framepack.files.errors import MediaError
from framepack.media.image import encode_image, load_image
from framepack.media.join import join_segments
from framepack.media.metadata import MAX_BYTES, check_metadata, png_chunk, read_metadata, read_metadata_text
from framepack.media.read import probe, read_video
from framepack.media.sheet import save_png
from framepack.media.video import VideoWriter
from framepack.spec.formats import FORMATS

TRICKY = json.dumps(
    {
        "prompt": 'a "cat" <b>&amp;</b>\n\t\'; DROP TABLE — 猫 😀 \u202e; = # \\',
        "seed": 2**63 - 1,
        "nested": [{"x": None}, 0.1],
    },
    ensure_ascii=False,
)


def written(folder, clip, name, text):
    path = folder / f"clip{FORMATS[name].suffix}"
    with VideoWriter(path, size=(96, 64), metadata=text, format=name) as writer:
        writer.write(clip(2))
    return path


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_request_comes_back_exactly_from_every_format(tmp_path, clip, name):
    path = written(tmp_path, clip, name, TRICKY)
    assert read_metadata_text(path) == TRICKY
    assert read_metadata(path) == json.loads(TRICKY)
    assert probe(path).has_metadata
    assert len(list(read_video(path))) == 2  # the file still plays


@pytest.mark.parametrize("frames", [1, 3])
def test_a_webp_that_stands_still_is_whole(tmp_path, clip, frames):
    path = tmp_path / "clip.webp"
    with VideoWriter(path, size=(96, 64), metadata=TRICKY) as writer:
        writer.write(np.repeat(clip(1), frames, axis=0))
    assert read_metadata_text(path) == TRICKY
    with Image.open(path) as picture:
        assert picture.size == (96, 64)
        shown = np.asarray(picture.convert("RGB"), np.int16)
    assert np.abs(shown - clip(1)[0]).mean() < 8


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_megabyte_fits_and_more_is_refused(tmp_path, clip, name):
    text = json.dumps({"a": "ä" * ((MAX_BYTES - 9) // 2)}, ensure_ascii=False)
    assert MAX_BYTES - 2 <= len(text.encode()) <= MAX_BYTES
    path = written(tmp_path, clip, name, text)
    assert read_metadata_text(path) == text
    assert len(list(read_video(path))) == 2
    with pytest.raises(ValueError, match="at most 1000000 bytes, got"):
        written(tmp_path, clip, name, json.dumps({"a": "x" * MAX_BYTES}))


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_file_without_metadata_has_none(tmp_path, clip, name):
    path = written(tmp_path, clip, name, None)
    assert read_metadata(path) is None
    assert not probe(path).has_metadata


def test_a_still_carries_it_too_and_stays_a_picture(tmp_path, clip):
    save_png(tmp_path / "a.png", clip(1)[0], TRICKY)
    assert read_metadata_text(tmp_path / "a.png") == TRICKY
    assert Image.open(tmp_path / "a.png").info["framepack"] == TRICKY  # other programs see it
    assert np.array_equal(load_image(tmp_path / "a.png"), clip(1)[0])


@pytest.mark.parametrize("name", ["webp", "gif"])
def test_pillow_still_reads_what_was_inserted(tmp_path, clip, name):
    with Image.open(written(tmp_path, clip, name, '{"a": 1}')) as image:
        assert image.n_frames == 2
        if name == "gif":
            assert image.info["comment"] == b'{"a": 1}'
        else:
            assert image.getexif().get_ifd(0x8769)[0x9286] == b'\0\0\0\0\0\0\0\0{"a": 1}'


@given(text=st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))))
@settings(max_examples=30)
def test_any_text_survives_png(text):
    data = encode_image(np.zeros((1, 1, 3), np.uint8))
    assert read_metadata(data[:33] + png_chunk(json.dumps(text, ensure_ascii=False)) + data[33:]) == text


def test_it_survives_a_remux(tmp_path, clip):
    path = written(tmp_path, clip, "mp4", TRICKY)
    join_segments([path], tmp_path / "again.mp4", metadata=read_metadata_text(path))
    assert read_metadata_text(tmp_path / "again.mp4") == TRICKY


@pytest.mark.parametrize("comment", ["just a comment", "[1, 2]", '{"broken": ', "", "{" * 5000, '{"a":' * 5000])
def test_a_strangers_comment_is_not_metadata(comment):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("request.json", comment)
    assert read_metadata(file.getvalue()) is None


def test_a_bomb_of_metadata_is_refused_without_unpacking_it():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("request.json", b" " * 50_000_000)
    assert len(file.getvalue()) < 100_000
    with pytest.raises(MediaError, match="the limit is 1000000"):
        read_metadata(file.getvalue())


@pytest.mark.parametrize("text", ["1", "", "nonsense", '"a"', '{"a": "\ud800"}', "null"])
def test_only_a_json_object_is_stored(text):
    with pytest.raises(ValueError, match=r"JSON object|half a character|Expecting value"):
        check_metadata(text)


def test_what_is_not_media_is_refused_and_a_jpeg_has_none(tmp_path, clip):
    with pytest.raises(MediaError, match="neither a video nor an image"):
        read_metadata(b"MZ" + bytes(100))
    with pytest.raises(MediaError, match="no such file"):
        read_metadata(tmp_path / "none.mp4")
    assert read_metadata(encode_image(clip(1)[0], "jpeg")) is None
