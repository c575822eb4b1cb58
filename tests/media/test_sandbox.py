import io
import sys
import time
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from framepack.files.child import start
from framepack.files.errors import MediaError
from framepack.files.landlock import version
from framepack.media import sandbox
from framepack.media.image import bucket_crop, encode_image, load_image
from framepack.media.inspection import inspect_file
from framepack.media.read import probe, read_video
from framepack.media.sandbox import (
    Limits,
    decode_untrusted_image,
    decode_untrusted_video,
    inspect_untrusted,
    probe_untrusted_video,
    read_untrusted_metadata,
)
from framepack.media.tail import read_tail
from framepack.media.video import VideoWriter
from framepack.spec.formats import FORMATS


@pytest.fixture
def mp4(tmp_path, clip):
    with VideoWriter(tmp_path / "clip.mp4", size=(96, 64), metadata='{"prompt": "猫"}') as writer:
        writer.write(clip(12))
    return tmp_path / "clip.mp4"


def child_that(monkeypatch, code):
    """Lets the child be another program: a decoder that a hostile file has taken over."""
    monkeypatch.setattr(sandbox, "start", lambda command, **rest: start([sys.executable, "-c", code], **rest))


def test_a_good_image_is_what_it_is_without_the_sandbox(tmp_path, clip):
    (tmp_path / "a").write_bytes(encode_image(clip(1)[0]))
    for source in (tmp_path / "a", encode_image(clip(1)[0])):
        assert np.array_equal(decode_untrusted_image(source), clip(1)[0])


def test_a_good_video_is_too(mp4):
    assert probe_untrusted_video(mp4) == probe(mp4)
    assert read_untrusted_metadata(mp4) == {"prompt": "猫"}
    tail = decode_untrusted_video(mp4, count=5, tail=True, size=(64, 64))
    assert np.array_equal(tail, np.stack([bucket_crop(frame, 64, 64) for frame in read_tail(mp4, 5)]))
    assert len(decode_untrusted_video(mp4, count=99, fps=15)) == 6


def test_a_bad_file_gets_the_same_sentence_as_without_the_sandbox(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(MediaError, match=r"a\.png' is text, not an image that can be read"):
        decode_untrusted_image(tmp_path / "a.png")
    with pytest.raises(MediaError, match="no such file"):
        decode_untrusted_image(tmp_path / "b.png")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_too_much_memory_is_refused():
    picture = encode_image(np.zeros((6000, 6000, 3), np.uint8), "jpeg")
    with pytest.raises(MediaError, match=r"too much memory|within the limits|damaged"):
        decode_untrusted_image(picture, Limits(memory_bytes=300 << 20))


def test_a_child_that_hangs_is_stopped_in_time(mp4, monkeypatch):
    child_that(monkeypatch, "import time; time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(MediaError, match="took more than 1 s"):
        probe_untrusted_video(mp4, Limits(seconds=1))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.abort()",
        "pass",
        "print('{\"shape\": [4, 4, 3]}')",
        "print('{\"shape\": [4, 4, 3]}'); print('x' * 99)",
        "import os\nwhile True: os.write(1, b'x' * 65536)",
    ],
)
def test_a_child_that_crashes_or_lies_is_refused(monkeypatch, code):
    child_that(monkeypatch, code)
    with pytest.raises(MediaError, match="could not be decoded"):
        decode_untrusted_image(b"anything", Limits(output_bytes=1_000_000))


def test_the_child_sees_no_secrets(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    child_that(monkeypatch, "import os; print('{\"error\": \"%s\"}' % ('SECRET_TOKEN' in os.environ))")
    with pytest.raises(MediaError, match="False"):
        decode_untrusted_image(b"anything")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "BMP"])
def test_pictures_of_every_kind_are_read_by_a_child_that_has_given_up_the_rest(clip, kind):
    file = io.BytesIO()
    Image.fromarray(clip(1)[0]).save(file, kind)
    assert np.array_equal(decode_untrusted_image(file.getvalue()), load_image(file))


@pytest.mark.parametrize("name", FORMATS)
def test_videos_of_every_kind_are_too(tmp_path, clip, name):
    file = tmp_path / f"clip{FORMATS[name].suffix}"
    with VideoWriter(file, size=(96, 64), format=name, fps=10, metadata='{"prompt": "猫"}') as writer:
        writer.write(clip(6))
    assert np.array_equal(decode_untrusted_video(file, count=99), np.stack(list(read_video(file))))
    assert read_untrusted_metadata(file) == {"prompt": "猫"}
    assert asdict(inspect_untrusted(file)) == asdict(inspect_file(file))


HOSTILE = """
import sys
from framepack.media import sandbox_child as child
def image(file):
    try:
        return {"error": open(SECRET).read()}, None
    except OSError:
        return {"error": "refused"}, None
child.TASKS["image"] = image
child.main()
"""


@pytest.mark.skipif(not version(), reason="this kernel has no Landlock, or it is switched off")
def test_a_decoder_that_was_taken_over_reads_no_other_file(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("secret")
    code = HOSTILE.replace("SECRET", repr(str(tmp_path / "secret")))
    monkeypatch.setattr(sandbox, "start", lambda them, **rest: start([sys.executable, "-c", code, them[-1]], **rest))
    with pytest.raises(MediaError, match="refused"):
        decode_untrusted_image(b"anything")
