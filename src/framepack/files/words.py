"""What a model with a small vocabulary understands of free text: other words for what it knows, put into its own.

The table lies beside the model's tokenizers, so that every caller of its text encoder gets it; models that read free
text have none. Its own phrases are left as they are. Knows text; no tensors.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from framepack.files.text import json_of, text_of_file

FILE_MOST = 1_000_000
"""Bytes of a table."""
FILE = "words.json"
STILL = "still"
"""What is asked for by who only denies."""
GAP, GAP_TOKENS = "...", 4
"""In a pattern: up to so many words of the same clause."""
BEGINNING = "^"
"""In a pattern: nothing of the clause is before it."""
ARTICLES = frozenset({"a", "an", "the"})
"""Go with what they stand before when a phrase takes its place."""
CLAUSE_ENDS = frozenset(",.;:!?()") | {"but", "while", "then"}
NEGATION_REACH = 4
"""Words before a phrase in which a negation still means it."""
TOKENS_MOST = 400
"""Words that are looked at; the encoders read fewer."""
SPELLED_FROM = 6
"""Letters a word must have for a slip of one to be seen; a swap of neighbours is one slip."""
STRETCHED = re.compile(r"([^\W\d])\1{2,}")
"""A letter three times or more, as in zoooom."""
PIECES = re.compile(r"\w+|[^\w\s]")

Pattern = tuple[frozenset[str] | str, ...]
Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A prompt in the model's own words, and the names of what it asks for, in order; empty where nothing is known."""

    text: str
    asked: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Words:
    """The table. `phrases`: the model's own, by what they ask for. `say`: the one that takes a synonym's place.

    `subjects` and `deeds`: a deed needs a subject before it. `patterns`: synonyms, looked for in order; a | b are
    alternatives, * any ending, ... a few words, ^ the beginning of a clause, `fillers` aside; a name in capitals is one
    of `classes`. `weak` ones count where nothing else is asked for. `foreign`: words and what they are in English.
    `kinds`: what is asked for, grouped to be shown.
    """

    phrases: Mapping[str, Sequence[str]]
    deeds: Mapping[str, Sequence[str]]
    subjects: Sequence[str]
    say: Mapping[str, str]
    still: str
    patterns: Sequence[Sequence[str]]
    weak: Sequence[Sequence[str]]
    classes: Mapping[str, str]
    foreign: Mapping[str, str]
    negations: Sequence[str]
    fillers: Sequence[str]
    paces: Mapping[str, Sequence[str]]
    spelled: Sequence[str]
    not_misspelt: Sequence[str]
    kinds: Mapping[str, Sequence[str]]

    @staticmethod
    def read(folder: Path) -> "Words | None":
        """Of the folder that holds the tokenizers; None where it has no table. ValueError for one that is none."""
        file = folder / FILE
        return _read(file, file.stat().st_mtime_ns) if file.is_file() else None

    def hear(self, prompt: str, *, still: bool = True) -> Heard:
        """The prompt in the model's own words. What asks for nothing known, or denies it, stands still.

        still: without, what is not known is left as it is, and what is denied left out.
        """
        tokens = self._tokens(prompt)
        taken: list[tuple[Span, str, bool]] = []
        for phrase, asked in self._own:
            for span in _find(phrase, tokens):
                if not _overlaps(span, taken):
                    taken.append((span, asked, False))
        for patterns in (self._patterns, self._weak):
            if patterns is self._weak and taken:
                break
            for pattern, asked in patterns:
                for span in self._matches(pattern, tokens):
                    if not _overlaps(span, taken):
                        taken.append((span, asked, True))
        taken.sort()
        denied = [self._denied(tokens, span, other) for span, _, other in taken]
        asked = tuple(asked for (_, asked, _), no in zip(taken, denied, strict=True) if not no)
        if asked and not any(denied) and not any(other for _, _, other in taken):
            plain = tokens == PIECES.findall(prompt.lower())[:TOKENS_MOST]
            return Heard(text=prompt if plain else " ".join(tokens), asked=tuple(dict.fromkeys(asked)))
        if not taken and not still:
            return Heard(text=prompt, asked=())
        if not taken:
            text = f"{prompt.rstrip(' .,')}, {self.still}" if prompt.strip(" .,") else self.still
            return Heard(text=text, asked=())
        if not asked:
            return Heard(text=self.still if still else "", asked=(STILL,))
        pieces, at, said = list[str](), 0, set[str]()
        for ((start, stop), name, other), no in zip(taken, denied, strict=True):
            before = tokens[at:start]
            while other and before and before[-1] in ARTICLES:
                before = before[:-1]
            pieces += before
            if not no and name not in said:
                pieces += self._said(name, _clause(tokens, (start, stop))) if other else tokens[start:stop]
                said.add(name)
            at = stop
        return Heard(text=" ".join([*pieces, *tokens[at:]]), asked=tuple(dict.fromkeys(asked)))

    def notice(self, prompt: str) -> str | None:
        """One sentence where nothing in the prompt is known, which says what is."""
        if self.hear(prompt).asked:
            return None
        known = "; ".join(", ".join(names) for names in self.kinds.values())
        why = "Nothing in the prompt is known to this small model" if prompt.strip() else "The prompt is empty"
        return f"{why}, so the picture stands still. It knows: {known}."

    # Inside

    @cached_property
    def _own(self) -> list[tuple[list[str], str]]:
        """The model's own phrases, the longest first."""
        found = [(phrase.split(), name) for name, phrases in self.phrases.items() for phrase in phrases]
        for name, deeds in self.deeds.items():
            found += [(f"{one} {deed}".split(), name) for one in self.subjects for deed in deeds]
        return sorted(found, key=lambda entry: -len(entry[0]))

    @cached_property
    def _patterns(self) -> list[tuple[Pattern, str]]:
        return [(self._pattern(text), name) for text, name in self.patterns]

    @cached_property
    def _weak(self) -> list[tuple[Pattern, str]]:
        return [(self._pattern(text), name) for text, name in self.weak]

    @cached_property
    def _skipped(self) -> frozenset[str]:
        """What may stand before the beginning."""
        return frozenset(self.fillers).union(*self.paces.values())

    def _pattern(self, text: str) -> Pattern:
        parts: list[frozenset[str] | str] = []
        for part in text.split():
            words = [self.classes.get(word, word) for word in part.split("|")]
            parts.append(part if part in (GAP, BEGINNING) else frozenset("|".join(words).split("|")))
        return tuple(parts)

    @cached_property
    def _foreign(self) -> re.Pattern[str]:
        """Longest first. Where words are written apart only whole ones count."""
        longest = sorted(self.foreign, key=len, reverse=True)
        some = [re.escape(word) if _is_run_on(word) else rf"(?<!\w){re.escape(word)}(?!\w)" for word in longest]
        return re.compile("|".join(some) or "(?!)")

    @cached_property
    def _known(self) -> frozenset[str]:
        """Words that are no misspelling of others."""
        own = {word for phrase, _ in self._own for word in phrase}
        parts = [part for pattern, _ in (*self._patterns, *self._weak) for part in pattern]
        exact = {word for part in parts if isinstance(part, frozenset) for word in part}
        return frozenset(own | exact | set(self.not_misspelt) | set(self.spelled))

    def _matches(self, pattern: Pattern, tokens: Sequence[str]) -> Iterator[Span]:
        """Where a pattern fits, from left to right, none over another."""
        begins = pattern[0] == BEGINNING
        start = 0
        while start < len(tokens):
            end = _fits(pattern[begins:], tokens, start) if not begins or self._at_beginning(tokens, start) else None
            if end is None or end == start:
                start += 1
            else:
                yield start, end
                start = end

    def _at_beginning(self, tokens: Sequence[str], at: int) -> bool:
        """Whether nothing but fillers stands before it in its clause."""
        while at and tokens[at - 1] in self._skipped:
            at -= 1
        return at == 0 or tokens[at - 1] in CLAUSE_ENDS

    def _tokens(self, prompt: str) -> list[str]:
        text = unicodedata.normalize("NFKC", prompt).lower().replace("\u2019", "'")
        text = STRETCHED.sub(r"\1\1", text)
        text = self._foreign.sub(lambda found: f" {self.foreign[found[0]]} ", text)
        return [self._spelled_right(token) for token in PIECES.findall(text)[:TOKENS_MOST]]

    def _spelled_right(self, token: str) -> str:
        if len(token) < SPELLED_FROM or token in self._known or not token.isalpha():
            return token
        near = [word for word in self.spelled if _one_slip(token, word)]
        return near[0] if len(near) == 1 else token

    def _denied(self, tokens: Sequence[str], span: Span, other: bool) -> bool:
        """Whether a negation stands before, or inside a synonym."""
        first = span[0]
        while first > max(span[0] - NEGATION_REACH, 0) and tokens[first - 1] not in CLAUSE_ENDS:
            first -= 1
        return any(token in self.negations for token in tokens[first : span[1] if other else span[0]])

    def _said(self, name: str, clause: Sequence[str]) -> list[str]:
        """The model's own phrase, at the pace that its clause had."""
        said = self.say[name].split()
        return said + next(([pace] for pace, words in self.paces.items() if set(clause) & set(words)), [])


@lru_cache(maxsize=8)
def _read(file: Path, changed: int) -> Words:  # `changed` makes a table that was written anew another one
    try:
        words = Words(**json_of(text_of_file(file, FILE_MOST)))
        words.hear("the camera pans left")
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{file} is no table of words ({error})") from error
    return words


def _find(phrase: Sequence[str], tokens: Sequence[str]) -> Iterator[Span]:
    """Where a phrase stands word by word."""
    size = len(phrase)
    for start in range(len(tokens) - size + 1):
        if list(tokens[start : start + size]) == list(phrase):
            yield start, start + size


def _fits(pattern: Pattern, tokens: Sequence[str], at: int) -> int | None:
    """The end of what fits from `at` on, the shortest way."""
    if not pattern:
        return at
    first, rest = pattern[0], pattern[1:]
    if first == GAP:
        for end in range(at, min(at + GAP_TOKENS, len(tokens)) + 1):
            if end > at and tokens[end - 1] in CLAUSE_ENDS:
                return None
            if (found := _fits(rest, tokens, end)) is not None:
                return found
        return None
    if at < len(tokens) and _is_one_of(tokens[at], first):
        return _fits(rest, tokens, at + 1)
    return None


def _clause(tokens: Sequence[str], span: Span) -> Sequence[str]:
    """The clause around a span."""
    first, last = span
    while first and tokens[first - 1] not in CLAUSE_ENDS:
        first -= 1
    while last < len(tokens) and tokens[last] not in CLAUSE_ENDS:
        last += 1
    return tokens[first:last]


def _is_one_of(token: str, words: frozenset[str] | str) -> bool:
    return token in words or any(word.endswith("*") and token.startswith(word[:-1]) for word in words)


def _overlaps(span: Span, taken: Sequence[tuple[Span, str, bool]]) -> bool:
    return any(span[0] < stop and start < span[1] for (start, stop), _, _ in taken)


def _is_run_on(word: str) -> bool:
    """Whether it is of a script that writes its words without spaces between them."""
    return any(unicodedata.name(letter, "").startswith(("CJK", "HIRAGANA", "KATAKANA")) for letter in word)


def _one_slip(word: str, other: str) -> bool:
    """Whether a letter more, less, another one, or two neighbours swapped is all that tells them apart."""
    if word == other or abs(len(word) - len(other)) > 1 or word[0] not in other[:2]:
        return False
    first = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    if len(word) == len(other):
        swapped = word[first : first + 2] == other[first : first + 2][::-1] and word[first + 2 :] == other[first + 2 :]
        return swapped or word[first + 1 :] == other[first + 1 :]
    longer, shorter = (word, other) if len(word) > len(other) else (other, word)
    return longer[first + 1 :] == shorter[first:]
