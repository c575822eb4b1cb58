"""How a model of few words hears free text."""

import json
from itertools import chain, product
from pathlib import Path

import pytest

from framepack.files.assets import BUNDLED
from framepack.files.words import FILE, Words
from framepack.models.checkpoint import CheckpointError
from framepack.models.hunyuan.encoders import load_text_encoder
from framepack.models.hunyuan.tokenizers import read_words
from framepack.spec.request import GenerationRequest
from framepack.spec.unknown import unknown_in
from framepack.training.data.grammar import ACTIONS, JOINS, PACES, PHRASES, SPRITE_PHRASES
from framepack.training.data.synonyms import table
from framepack.training.evaluate.prompts import PARAPHRASES, UNKNOWN
from framepack.training.transformer.export import tokenizers_in

BASE = tokenizers_in(BUNDLED / "mini")
WORDS = Words.read(BASE)
assert WORDS is not None


def test_the_bundled_table_is_the_grammars() -> None:
    assert json.loads((BASE / FILE).read_text(encoding="utf-8")) == json.loads(json.dumps(table()))


OWN = [(motion, phrase) for motion, phrases in (PHRASES | SPRITE_PHRASES).items() for phrase in phrases]


def test_the_grammars_own_phrases_are_left_as_they_are() -> None:
    for motion, phrase in OWN:
        for text in (phrase, f"{phrase} slowly", f"quickly {phrase}", f"A photo. {phrase.capitalize()}, 4k"):
            assert WORDS.hear(text).text == text
            assert motion in WORDS.hear(text).asked


@pytest.mark.parametrize("join", JOINS)
def test_two_of_them_are_left_as_they_are(join: str) -> None:
    firsts = [phrases[0] for phrases in PHRASES.values()]
    for one, other in product(firsts, firsts):
        text = f"{one} {join} {other}"
        assert WORDS.hear(text).text == text


@pytest.mark.parametrize(("motion", "said"), [(m, said) for m, sentences in PARAPHRASES.items() for said in sentences])
def test_a_paraphrase_means_its_motion_and_is_said_in_the_grammars_words(motion: str, said: str) -> None:
    heard = WORDS.hear(said)
    assert heard.asked == (motion,)
    assert WORDS.hear(heard.text).text == heard.text
    assert any(phrase in heard.text for m, phrase in OWN if m == motion)


@pytest.mark.parametrize("said", UNKNOWN)
def test_what_asks_for_nothing_known_stands_still_and_is_reported(said: str) -> None:
    heard = WORDS.hear(said)
    assert heard.asked == ()
    assert heard.text == "nothing moves"
    assert WORDS.hear(said, still=False).text == said
    known = "the picture stands still. It knows: pan left, " if said.strip() else "The prompt is empty"
    assert known in (WORDS.notice(said) or "")


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("room", ()),
        ("the farmer", ()),
        ("he is planning a glowing future", ()),
        ("zoom call with friends", ()),
        ("camrea pans left", ("pan left",)),
        ("the camera paning left", ("pan left",)),
        ("rotate coutnerclockwise", ("roll counterclockwise",)),
        ("THE CAMERA PANS LEFT!!!", ("pan left",)),
        ("no zoom, the camera pans left", ("pan left",)),
        ("the camera does not pan left but zooms in", ("zoom in",)),
        ("do not pan right", ("still",)),
        ("never zoom out", ("still",)),
        ("the camera pulls back while dusk settles", ("zoom out", "darken")),
        ("a lighthouse at dawn; the camera cranes up", ("pan up",)),
        ("\uff5a\uff4f\uff4f\uff4d\u3000\uff49\uff4e", ("zoom in",)),
    ],
)
def test_slips_denials_and_scenery(said: str, asked: tuple[str, ...]) -> None:
    assert WORDS.hear(said).asked == asked


@pytest.mark.parametrize(
    ("pace", "said"),
    [("slowly", "gradually drift to the left"), ("quickly", "a swift retreat of the camera backwards")],
)
def test_a_synonym_keeps_its_pace(pace: str, said: str) -> None:
    assert WORDS.hear(said).text.endswith(pace)
    assert pace in chain.from_iterable(PACES.values())


def test_any_text_is_heard_quickly_and_no_text_breaks_it() -> None:
    for text in ("a " * 5000, "left " * 2000, "camera " * 1500, "\0\n\t", "🙂" * 3000, "not " * 3000, "x" * 10_000):
        assert WORDS.hear(text).text


def test_every_deed_has_a_canonical_phrase_of_its_own() -> None:
    assert set(WORDS.say) == {*PHRASES, *ACTIONS}
    assert all(WORDS.hear(phrase).text == phrase for phrase in WORDS.say.values())


def test_the_text_encoder_uses_the_table_and_reports_the_unknown() -> None:
    encoder = load_text_encoder(BASE)
    own, other = encoder.encode("the camera pans left"), encoder.encode("kamera schwenkt nach links")
    assert other.text.equal(own.text)
    assert other.pooled.equal(own.pooled)
    assert own.unknown is None
    still, literal = encoder.encode("she smiles", still=True), encoder.encode("she smiles")
    assert "It knows" in (still.unknown or "")
    assert literal.unknown is None
    assert still.text.equal(encoder.encode("nothing moves").text)
    assert encoder.encode("", still=True).text.equal(encoder.encode("nothing moves").text)


def test_models_that_read_free_text_have_none(tmp_path: Path) -> None:
    assert Words.read(tmp_path) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"phrases": {}}', json.dumps({**table(), "patterns": [1]}), "\0"])
def test_a_damaged_table_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(CheckpointError, match=r"words\.json is no table of words"):
        read_words(tmp_path)


def test_what_a_request_asks_in_vain_is_reported_before_the_work() -> None:
    def told(**fields: object) -> int:
        return len(unknown_in(GenerationRequest(image="a.png", **fields), None))

    assert told(prompt="she smiles") == told(prompt="") == 1
    assert told(prompt="a slow dolly in") == told(prompt="", model="framepack") == 0
    assert told(prompt="", end_frame={"image": "b.png"}) == 0
    assert told(prompt="pan left", prompts=[{"second": 1.2, "text": "she smiles"}]) == 1
