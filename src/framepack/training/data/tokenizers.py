"""The mini model's tokenizers: one word, one token; anything else is `<unk>`. Written as plain `tokenizer.json`
folders.

Llama's prompt template must begin with exactly 95 tokens, as with HunyuanVideo's own tokenizer: here a double line
end is one token and so is the blank after a colon. Knows words, not models.
"""

import json
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from framepack.training.data.grammar import FILLERS, JOINS, LATER_WORDS, PACES, PHRASES

LLAMA_SPECIAL = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<pad>", "<unk>")
CLIP_SPECIAL = ("<|startoftext|>", "<|endoftext|>", "<unk>")
PIECES = r"\w+|[^\w\s]|\n\n|\n|(?<=:) "
FIRST_WORDS = [
    "sprite",
    "object",
    "shape",
    "ball",
    "thing",
    "falls",
    "drops",
    "bounces",
    "grows",
    "shrinks",
    "spins",
    "moves",
    "flies",
    "across",
]


def words(template: str) -> list[str]:
    """The vocabulary: the words of the first grammar, the fillers and the prompt template, sorted; then later ones.

    Numbers never change: a checkpoint of fewer words goes on with more (see `state`).
    """
    phrases = chain.from_iterable((*PHRASES.values(), *PACES.values(), JOINS))
    text = " ".join(chain(phrases, FILLERS, FIRST_WORDS, [re.sub(r"<\|.*?\|>", " ", template.replace("{}", " "))]))
    first = sorted(set(re.findall(r"\w+|[^\w\s]", text.lower())) | {"\n", "\n\n", " "})
    return [*first, *(word for word in LATER_WORDS if word not in first)]


def write_llama(folder: Path, template: str) -> None:
    """A tokenizer for the template with `<|begin_of_text|>` in front of each text."""
    _write(
        folder,
        LLAMA_SPECIAL,
        words(template),
        start=LLAMA_SPECIAL[0],
        end=None,
        pad="<pad>",
        eos="<|eot_id|>",
        limit=1_000_000,
    )


def write_clip(folder: Path, template: str) -> None:
    """A tokenizer that puts every text between start and end, 77 tokens at most."""
    _write(
        folder,
        CLIP_SPECIAL,
        words(template),
        start=CLIP_SPECIAL[0],
        end=CLIP_SPECIAL[1],
        pad=CLIP_SPECIAL[1],
        eos=CLIP_SPECIAL[1],
        limit=77,
    )


def _write(
    folder: Path,
    special: tuple[str, ...],
    vocabulary: Iterable[str],
    *,
    start: str,
    end: str | None,
    pad: str,
    eos: str,
    limit: int,
) -> None:
    ids = {token: number for number, token in enumerate((*special, *vocabulary))}

    def piece(token: str) -> dict[str, object]:
        return {"SpecialToken": {"id": token, "type_id": 0}}

    single = [piece(start), {"Sequence": {"id": "A", "type_id": 0}}, *([piece(end)] if end else [])]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": ids[token],
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in special
        ],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": PIECES}, "behavior": "Removed", "invert": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (start, end) if token
            },
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "<unk>"},
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": start,
        "eos_token": eos,
        "pad_token": pad,
        "unk_token": "<unk>",
        "padding_side": "right",
        "model_max_length": limit,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
