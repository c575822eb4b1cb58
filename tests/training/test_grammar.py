"""Prompts say what they mean in words the tokenizers know."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

import framepack
from framepack.models.hunyuan.tokenizers import PREFIX_TOKENS, TEMPLATE_PREFIX, TEMPLATE_SUFFIX, load_tokenizers
from framepack.training.data.clip_recipe import ClipRecipe
from framepack.training.data.clips import draw_motions, draw_prompts
from framepack.training.data.grammar import (
    FILLERS,
    PHRASES,
    SPRITE_PHRASES,
    UNKNOWN,
    PromptMotion,
    pad_words,
    prompt_words,
)
from framepack.training.data.motions import MOTIONS, SPRITE_MOTIONS
from framepack.training.transformer.export import write_tokenizers

SHIPPED = Path(framepack.__file__).parent / "assets" / "mini" / "hunyuanvideo-community" / "HunyuanVideo"


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    return load_tokenizers(write_tokenizers(tmp_path_factory.mktemp("model")))


def ids(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text).tokens


def test_the_template_prefix_is_as_long_as_hunyuan_videos(tokenizers):
    assert len(ids(tokenizers[0], TEMPLATE_PREFIX)) == PREFIX_TOKENS
    after = ids(tokenizers[0], TEMPLATE_PREFIX + "Pan left" + TEMPLATE_SUFFIX)[PREFIX_TOKENS:]
    assert after == ["pan", "left", "<|eot_id|>"]


def test_every_word_of_the_grammar_is_one_known_token(tokenizers):
    words = {
        word for phrases in (PHRASES | SPRITE_PHRASES).values() for phrase in phrases for word in phrase.split()
    } | set(FILLERS)
    for tokenizer in tokenizers:
        assert all(len(tokenizer.encode(word, add_special_tokens=False).ids) == 1 for word in words)
        assert "<unk>" not in ids(tokenizer, " ".join(sorted(words)))


def test_words_nobody_knows_become_one_unknown_token(tokenizers):
    assert ids(tokenizers[0], f"{UNKNOWN} Zanzibar")[1:] == ["<unk>", "<unk>"]


def test_every_motion_has_phrases_and_no_phrase_means_two_motions():
    assert PHRASES.keys() == MOTIONS.keys()
    assert SPRITE_PHRASES.keys() == SPRITE_MOTIONS.keys()
    phrases = [phrase for all_of_one in (PHRASES | SPRITE_PHRASES).values() for phrase in all_of_one]
    assert len(phrases) == len(set(phrases))


def test_the_motion_survives_free_text_around_it():
    random = np.random.default_rng(3)
    words = prompt_words(random, (PromptMotion(name="zoom in", pace="fast"), PromptMotion(name="darken")))
    assert " ".join(words) in " ".join(pad_words(random, words, 25))
    with pytest.raises(ValueError, match="does not fit"):
        pad_words(random, words, 1)


def test_prompts_of_a_batch_have_equal_length_in_tokens(tokenizers):
    random = np.random.default_rng(1)
    for _ in range(30):
        motions = [draw_motions(random, ClipRecipe()) for _ in range(6)]
        prompts = draw_prompts(random, motions, ClipRecipe())
        assert len({len(tokenizers[0].encode(prompt).ids) for prompt in prompts}) == 1


@pytest.mark.parametrize("folder", ["tokenizer", "tokenizer_2"])
def test_no_word_of_the_shipped_model_has_changed_its_number(folder, tmp_path):
    made = write_tokenizers(tmp_path) / folder / "tokenizer.json"
    now, shipped = (json.loads(file.read_text())["model"]["vocab"] for file in (made, SHIPPED / folder / made.name))
    assert shipped.items() <= now.items()


def test_a_cut_out_has_a_doer_a_deed_and_a_pace():
    random = np.random.default_rng(0)
    said = {" ".join(prompt_words(random, (PromptMotion(name="sprite bounces", pace="fast"),))) for _ in range(300)}
    assert {"the ball bounces quickly", "something bounces fast"} & said
    assert len(said) > 100
