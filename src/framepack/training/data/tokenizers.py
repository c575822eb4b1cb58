"""Writes the mini model's tokenizers as `tokenizer.json` folders: one word, one token; anything else is `<unk>`.

Llama's prompt template must begin with exactly 95 tokens, as with HunyuanVideo's own tokenizer: here a double line
end is one token and so is the blank after a colon. Knows words, not models.
"""

import json
import re
from itertools import chain
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel

from framepack.training.data.grammar import FILLERS, JOINS, LATER_WORDS, PACES, PHRASES

LLAMA_SPECIAL = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<pad>", "<unk>")
CLIP_SPECIAL = ("<|startoftext|>", "<|endoftext|>", "<unk>")
PIECES = r"\w+|[^\w\s]|\n\n|\n|(?<=:) "
FIRST_TEXT = "sprite object shape ball thing falls drops bounces grows shrinks spins moves flies across"


def words(template: str) -> list[str]:
    """The vocabulary: the words of the first grammar, the fillers and the prompt template, sorted; then later ones.

    Token ids never change: a checkpoint of fewer words continues with more (see `state`).
    """
    phrases = chain.from_iterable((*PHRASES.values(), *PACES.values(), JOINS))
    text = " ".join(chain(phrases, FILLERS, [FIRST_TEXT, re.sub(r"<\|.*?\|>", " ", template.replace("{}", " "))]))
    first = sorted(set(re.findall(r"\w+|[^\w\s]", text.lower())) | {"\n", "\n\n", " "})
    return [*first, *(word for word in LATER_WORDS if word not in first)]


def write_llama(folder: Path, template: str) -> None:
    """A tokenizer for the template with `<|begin_of_text|>` in front of each text."""
    tokenizer = _tokenizer((*LLAMA_SPECIAL, *words(template)), LLAMA_SPECIAL, start=LLAMA_SPECIAL[:1], end=())
    _write(folder, tokenizer, bos=LLAMA_SPECIAL[0], eos="<|eot_id|>", pad="<pad>", limit=1_000_000)


def write_clip(folder: Path, template: str) -> None:
    """A tokenizer that puts every text between start and end, 77 tokens at most."""
    start, end, _ = CLIP_SPECIAL
    tokenizer = _tokenizer((*CLIP_SPECIAL, *words(template)), CLIP_SPECIAL, start=(start,), end=(end,))
    _write(folder, tokenizer, bos=start, eos=end, pad=end, limit=77)


def _tokenizer(
    vocabulary: tuple[str, ...], special: tuple[str, ...], start: tuple[str, ...], end: tuple[str, ...]
) -> Tokenizer:
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*start, "$A", *end],
        pair=[*start, "$A", *end, "$B:1"],
        special_tokens=[(token, ids[token]) for token in (*start, *end)],
    )
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def _write(folder: Path, tokenizer: Tokenizer, *, bos: str, eos: str, pad: str, limit: int) -> None:
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": bos,
        "eos_token": eos,
        "pad_token": pad,
        "unk_token": "<unk>",
        "padding_side": "right",
        "model_max_length": limit,
    }
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
