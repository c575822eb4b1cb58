"""Patterns of words: where they fit in a text that is cut into words, and which words differ by one slip. Pure."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

GAP, GAP_TOKENS = "...", 4
"""In a pattern: up to so many words of the same clause."""
BEGINNING = "^"
"""In a pattern: nothing of the clause is before it."""
CLAUSE_ENDS = frozenset(",.;:!?()") | {"but", "while", "then"}

Span = tuple[int, int]


class Alternatives(NamedTuple):
    """Words, any of which fits, and how others may begin that fit too."""

    words: frozenset[str]
    beginnings: tuple[str, ...]

    @classmethod
    def of(cls, words: Iterable[str]) -> Self:
        """From words of which those with a * at the end are beginnings."""
        every = frozenset(words)
        begin = tuple(sorted(word[:-1] for word in every if word.endswith("*")))
        return cls(frozenset(word for word in every if not word.endswith("*")), begin)

    def include(self, token: str) -> bool:
        """Whether it is one of them."""
        return token in self.words or token.startswith(self.beginnings)


Pattern = tuple[Alternatives | str, ...]


def places(
    phrases: Mapping[str, Sequence[tuple[Sequence[str], str]]], tokens: Sequence[str]
) -> Iterator[tuple[Span, str]]:
    """Where phrases, which are sorted by their first words, stand word by word, and what they are called."""
    for start, token in enumerate(tokens):
        for phrase, name in phrases.get(token, ()):
            if list(tokens[start : start + len(phrase)]) == list(phrase):
                yield (start, start + len(phrase)), name


def fits(pattern: Pattern, tokens: Sequence[str], at: int) -> int | None:
    """The end of what fits from `at` on, the shortest way. The pattern may hold gaps and no beginning."""
    if not pattern:
        return at
    first, rest = pattern[0], pattern[1:]
    if isinstance(first, str):
        for end in range(at, min(at + GAP_TOKENS, len(tokens)) + 1):
            if end > at and tokens[end - 1] in CLAUSE_ENDS:
                return None
            if (found := fits(rest, tokens, end)) is not None:
                return found
        return None
    if at < len(tokens) and first.include(tokens[at]):
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


def is_run_on(word: str) -> bool:
    """Whether it is of a script that writes its words without spaces between them."""
    return any(unicodedata.name(letter, "").startswith(("CJK", "HIRAGANA", "KATAKANA")) for letter in word)


def one_slip(word: str, other: str) -> bool:
    """Whether a letter more, less, another one, or two neighbours swapped is the only difference."""
    if word == other or abs(len(word) - len(other)) > 1 or word[0] not in other[:2]:
        return False
    first = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    if len(word) == len(other):
        swapped = word[first : first + 2] == other[first : first + 2][::-1] and word[first + 2 :] == other[first + 2 :]
        return swapped or word[first + 1 :] == other[first + 1 :]
    longer, shorter = (word, other) if len(word) > len(other) else (other, word)
    return longer[first + 1 :] == shorter[first:]
