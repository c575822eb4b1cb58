"""Prompts as tokens: both tokenizers, the template that the model was trained with, and a small model's table of words.

Template and crop are HunyuanVideo's (arXiv 2412.03603).
"""

from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer as AnyTokenizer
from transformers import CLIPTokenizer

from framepack.files.words import Words
from framepack.models.checkpoint import FIX, CheckpointError

TEMPLATE_PREFIX = (
    "<|start_header_id|>system<|end_header_id|>\n\nDescribe the video by detailing the following aspects: "
    "1. The main content and theme of the video."
    "2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects."
    "3. Actions, events, behaviors temporal relationships, physical movement changes of the objects."
    "4. background environment, light, style and atmosphere."
    "5. camera angles, movements, and transitions used in the video:<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n"
)
"""What the model was trained to read before every prompt; its tokens are cropped from the features."""
TEMPLATE_SUFFIX = "<|eot_id|>"
PREFIX_TOKENS = 95
PROMPT_TOKENS = 256


def tokenize(tokenizer: Tokenizer, text: str, limit: int) -> tuple[list[int], int]:
    """(ids, tokens cut): at most `limit` ids, special ones (start, end) kept, and how many were cut."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    room = limit - tokenizer.num_special_tokens_to_add(is_pair=False)
    cut = max(len(encoding.ids) - room, 0)
    encoding.truncate(room)
    return tokenizer.post_process(encoding).ids, cut


def require_known(tokenizer: str, ids: list[int], vocabulary: int) -> None:
    """CheckpointError where a tokenizer makes a token its encoder has no row for: on a GPU that ends the process."""
    if max(ids, default=0) >= vocabulary:
        raise CheckpointError(
            f"{tokenizer} makes the token {max(ids)}, and its encoder knows {vocabulary}: they do not belong together; "
            f"{FIX}"
        )


def read_words(base: Path) -> Words | None:
    """The table beside the tokenizers, if there is one; CheckpointError where it is none."""
    try:
        return Words.read(base)
    except ValueError as error:
        raise CheckpointError(f"{error}; {FIX}") from error


def load_tokenizers(base: Path) -> tuple[Tokenizer, Tokenizer]:
    """Llama's and CLIP's tokenizers; CheckpointError unless the template's prefix is `PREFIX_TOKENS` tokens long."""
    tokenizer = load_tokenizer(base / "tokenizer")
    count = len(tokenizer.encode(TEMPLATE_PREFIX).ids)
    if count != PREFIX_TOKENS:
        raise CheckpointError(
            f"{base / 'tokenizer'} makes {count} tokens of the prompt template, must be {PREFIX_TOKENS}: "
            f"it is not the model's tokenizer; {FIX}"
        )
    return tokenizer, load_tokenizer(base / "tokenizer_2")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The folder's `tokenizer.json` exactly as it is, or, without one, the tokenizer its vocabulary describes.

    transformers' own classes rebuild the tokenizer and drop the file's pre-tokenizer, which eats spaces in silence.
    """
    path = folder / "tokenizer.json"
    try:
        if path.is_file():
            tokenizer = Tokenizer.from_file(str(path))
        elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True).backend_tokenizer
        elif folder.is_dir():
            tokenizer = AnyTokenizer.from_pretrained(str(folder), local_files_only=True).backend_tokenizer
        else:
            raise CheckpointError(f"{folder} is missing: the checkpoint is incomplete; {FIX}")
    except CheckpointError:
        raise
    except Exception as error:  # what tokenizers raises is a bare Exception
        raise CheckpointError(f"{folder} holds no readable tokenizer ({error}); {FIX}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
