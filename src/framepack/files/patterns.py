"""Patterns of words: where they fit in a text that is cut into words, and which words differ by one slip. Pure."""

import unicodedata
from collections.abc import Iterator, Sequence

GAP, GAP_TOKENS = "...", 4
"""In a pattern: up to so many words of the same clause."""
BEGINNING = "^"
"""In a pattern: nothing of the clause is before it."""
CLAUSE_ENDS = frozenset(",.;:!?()") | {"but", "while", "then"}

Pattern = tuple[frozenset[str] | str, ...]
Span = tuple[int, int]


def places(phrase: Sequence[str], tokens: Sequence[str]) -> Iterator[Span]:
    """Where a phrase stands word by word."""
    size = len(phrase)
    for start in range(len(tokens) - size + 1):
        if list(tokens[start : start + size]) == list(phrase):
            yield start, start + size


def fits(pattern: Pattern, tokens: Sequence[str], at: int) -> int | None:
    """The end of what fits from `at` on, the shortest way."""
    if not pattern:
        return at
    first, rest = pattern[0], pattern[1:]
    if first == GAP:
        for end in range(at, min(at + GAP_TOKENS, len(tokens)) + 1):
            if end > at and tokens[end - 1] in CLAUSE_ENDS:
                return None
            if (found := fits(rest, tokens, end)) is not None:
                return found
        return None
    if at < len(tokens) and is_one_of(tokens[at], first):
        return fits(rest, tokens, at + 1)
    return None


def clause(tokens: Sequence[str], span: Span) -> Sequence[str]:
    """The clause around a span."""
    first, last = span
    while first and tokens[first - 1] not in CLAUSE_ENDS:
        first -= 1
    while last < len(tokens) and tokens[last] not in CLAUSE_ENDS:
        last += 1
    return tokens[first:last]


def is_one_of(token: str, words: frozenset[str] | str) -> bool:
    return token in words or any(word.endswith("*") and token.startswith(word[:-1]) for word in words)


def is_run_on(word: str) -> bool:
    """Whether it is of a script that writes its words without spaces between them."""
    return any(unicodedata.name(letter, "").startswith(("CJK", "HIRAGANA", "KATAKANA")) for letter in word)


def one_slip(word: str, other: str) -> bool:
    """Whether a letter more, less, another one, or two neighbours swapped is all that tells them apart."""
    if word == other or abs(len(word) - len(other)) > 1 or word[0] not in other[:2]:
        return False
    first = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    if len(word) == len(other):
        swapped = word[first : first + 2] == other[first : first + 2][::-1] and word[first + 2 :] == other[first + 2 :]
        return swapped or word[first + 1 :] == other[first + 1 :]
    longer, shorter = (word, other) if len(word) > len(other) else (other, word)
    return longer[first + 1 :] == shorter[first:]
