"""The table of formats: every format heeds or refuses each setting, in one sentence with the way out."""

from typing import get_args

import pytest

from framepack.spec.formats import CODECS, FORMATS, PRESETS, Codec, Coding, Quality, check_coding, check_size, codec_of
from framepack.spec.ignored import ignored_settings
from framepack.spec.output import OutputSettings
from framepack.spec.request import GenerationRequest

EVERY = [(form, codec) for form, row in FORMATS.items() for codec in row.codecs]


def asked(form: str, codec: str | None, **settings: object) -> OutputSettings:
    named = codec if len(FORMATS[form].codecs) > 1 else None
    return OutputSettings.model_validate({"format": form, "codec": named, **settings})


@pytest.mark.parametrize(("form", "codec"), EVERY)
def test_each_codec_heeds_or_refuses_each_setting(form: str, codec: str) -> None:
    row = CODECS[codec]
    for quality in get_args(Quality):
        can = row.lossless != "never" if quality == "lossless" else row.crf
        if can:
            assert asked(form, codec, quality=quality).coding.crf == PRESETS.get(quality, 16)
            assert asked(form, codec, quality=quality).coding.lossless == (quality == "lossless")
        else:
            with pytest.raises(ValueError, match=f"{codec} .*: (leave it out|choose another quality)"):
                asked(form, codec, quality=quality)
    if row.bitrate:
        assert asked(form, codec, bitrate=2).coding.bitrate == 2
    else:
        with pytest.raises(ValueError, match=f"{codec} has no bitrate, got 2 Mbit/s: leave it out, or choose h264"):
            asked(form, codec, bitrate=2)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("codec", get_args(Codec))
def test_a_format_takes_its_own_codecs_and_refuses_all_others(form: str, codec: str) -> None:
    if codec in FORMATS[form].codecs:
        assert codec_of(form, codec) == OutputSettings.model_validate({"format": form, "codec": codec}).codec_name
    else:
        with pytest.raises(ValueError, match=rf"{form} (holds|has one codec).*got.* {codec}.*{codec} is in"):
            OutputSettings.model_validate({"format": form, "codec": codec})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quality": "high", "bitrate": 3}, "quality high and bitrate 3 are two sizes: leave one of them out"),
        (
            {"quality": "lossless"},
            "h264 is never lossless: .* one of h265, vp9, ffv1, ffv1-16, webp, apng, png or tiff",
        ),
        ({"path": "a.zip", "format": "mkv"}, "is one format and 'mkv' another"),
        ({"path": "a.mov", "codec": "h264"}, "mov holds prores or prores4444, got codec h264: .* h264 is in mp4"),
        ({"path": "a.xyz"}, r"use one of \.mp4, \.mkv, \.webm, \.mov, \.gif, \.webp, \.apng, \.zip"),
        ({"speed": 5}, r"speed must be 0\.25\.\.4, got 5"),
        ({"bitrate": 0}, r"bitrate must be 0\.01\.\.500, got 0"),
        ({"fps_mode": "smooth"}, "fps_mode"),
    ],
)
def test_what_cannot_be_is_one_sentence(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        OutputSettings.model_validate(settings)
    assert "\n" not in str(caught.value)


def test_a_zip_holds_png_unless_the_format_says_another() -> None:
    assert OutputSettings.model_validate({"path": "a.zip"}).format == "png"
    for form in ("png", "tiff", "exr"):
        assert OutputSettings.model_validate({"path": "a.zip", "format": form}).format == form


def test_sizes_that_a_codec_cannot_are_refused_before_the_work() -> None:
    small = {"image": "a.png", "width": 32, "height": 64, "output": {"codec": "h265"}}
    with pytest.raises(ValueError, match="h265 needs 64 pixels a side, got 32x64: make it larger, or use h264"):
        GenerationRequest.model_validate(small)
    assert GenerationRequest.model_validate({**small, "width": 64}).size == (64, 64)
    with pytest.raises(ValueError, match="prores needs an even width and height, got 47x33: use 48x34, or mkv"):
        check_size((47, 33), "prores")
    with pytest.raises(ValueError, match=r"1\.\.51, got 60"):
        check_coding("mp4", Coding(crf=60))


def test_what_is_stored_of_before_means_what_it_meant() -> None:
    before = {"image": "a.png", "schema": 2, "output": {"format": "webm", "crf": 20, "fps": 24.0}}
    now = GenerationRequest.stored(before)
    assert (now.output.coding, now.output.codec_name) == (Coding(crf=20), "vp9")
    assert (now.output.fps_mode, now.output.speed) == ("repeat", 1)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"crf": 20, "quality": "draft"}, "output.crf 20 has no effect: quality draft takes its place"),
        ({"crf": 20, "bitrate": 2}, "output.crf 20 has no effect: bitrate 2 takes its place"),
        ({"crf": 20, "format": "mov"}, "output.crf 20 has no effect: mov is not compressed by it"),
        ({"fps_mode": "motion"}, "output.fps_mode motion has no effect: the file has the model's own frames"),
        ({"fps_mode": "motion", "fps": 15, "speed": 0.5}, "output.fps_mode motion has no effect"),
    ],
)
def test_what_has_no_effect_is_named(output: dict[str, object], says: str) -> None:
    said = ignored_settings(GenerationRequest.model_validate({"image": "a.png", "output": output}))
    assert len([line for line in said if line.startswith(says)]) == 1


@pytest.mark.parametrize("speed", [0.25, 0.5, 1, 1.5, 4])
@pytest.mark.parametrize("fps", [12.0, 30.0, 60.0])
def test_a_file_lasts_what_was_made_divided_by_its_speed(speed: float, fps: float) -> None:
    output = {"fps": fps, "speed": speed}
    request = GenerationRequest.model_validate({"image": "a.png", "seconds": 2.4, "length": "exact", "output": output})
    assert abs(request.delivered_frames / fps - 2.4 / speed) <= 1 / min(fps, 30)


def test_speed_one_is_the_request_without_it() -> None:
    plain = GenerationRequest.model_validate({"image": "a.png"})
    said = GenerationRequest.model_validate({"image": "a.png", "output": {"speed": 1, "fps_mode": "repeat"}})
    assert plain == said
    assert plain.frame_count == said.frame_count
