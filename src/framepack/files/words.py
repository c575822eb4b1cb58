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
from typing import NamedTuple

from framepack.files.patterns import (
    BEGINNING,
    CLAUSE_ENDS,
    GAP,
    Alternatives,
    Pattern,
    Span,
    clause,
    fits,
    is_run_on,
    one_slip,
    places,
)
from framepack.files.text import json_of, text_of_file

FILE_MOST = 1_000_000
"""Bytes of a table."""
FILE = "words.json"
STILL = "still"
"""What is asked for by who only denies."""
ARTICLES = frozenset({"a", "an", "the"})
"""Go with what they stand before when a phrase takes its place."""
NEGATION_REACH = 4
"""Words before a phrase in which a negation still means it."""
TOKENS_MOST = 256
"""Words that are looked at; the encoders read fewer."""
SPELLED_FROM = 6
"""Letters a word must have for a slip of one to be seen; a swap of neighbours is one slip."""
STRETCHED = re.compile(r"([^\W\d])\1{2,}")
"""A letter three times or more, as in zoooom."""
PIECES = re.compile(r"\w+|[^\w\s]")


class Found(NamedTuple):
    """Where a prompt asks for something, or denies it, in the model's own words or in others."""

    span: Span
    asks: str
    own: bool
    denied: bool


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
        found = self._found(tokens)
        asked = tuple(dict.fromkeys(one.asks for one in found if not one.denied))
        if not found:
            return Heard(text=self.still if still else prompt, asked=())
        if not asked:
            return Heard(text=self.still if still else "", asked=(STILL,))
        if all(one.own and not one.denied for one in found):
            written = PIECES.findall(prompt.lower())[:TOKENS_MOST]
            return Heard(text=prompt if tokens == written else " ".join(tokens), asked=asked)
        return Heard(text=" ".join(self._reworded(tokens, found)), asked=asked)

    def notice(self, prompt: str) -> str | None:
        """One sentence where nothing in the prompt is known, which says what is."""
        if self.hear(prompt).asked:
            return None
        if not prompt.strip():
            return f"The prompt is empty, so the picture stands still: say what should move, such as '{self._example}'."
        known = "; ".join(", ".join(names) for names in self.kinds.values())
        return f"Nothing in the prompt is known to this small model, so the picture stands still. It knows: {known}."

    @property
    def _example(self) -> str:
        return next(iter(self.say.values()))

    # Inside

    def _found(self, tokens: Sequence[str]) -> list[Found]:
        """Everything that is asked for or denied, in order; the model's own phrases take their words first."""
        taken: list[Found] = []

        def take(span: Span, asks: str, *, own: bool) -> None:
            if not any(span[0] < one.span[1] and one.span[0] < span[1] for one in taken):
                taken.append(Found(span, asks, own, self._denied(tokens, span, own=own)))

        for span, asks in sorted(places(self._own, tokens), key=lambda found: found[0][0] - found[0][1]):
            take(span, asks, own=True)
        for patterns in (self._patterns, self._weak):
            if patterns is self._weak and taken:
                break
            for pattern, asks in patterns:
                for span in self._matches(pattern, tokens):
                    take(span, asks, own=False)
        return sorted(taken)

    def _reworded(self, tokens: Sequence[str], found: Sequence[Found]) -> list[str]:
        """The words with synonyms replaced, each thing asked for once, and what is denied left out."""
        words, at, said = list[str](), 0, set[str]()
        for (start, stop), asks, own, denied in found:
            before = list(tokens[at:start])
            while not own and before and (before[-1] in ARTICLES or before[-1] in self._paced):
                before.pop()
            words += before
            if not denied and asks not in said:
                words += tokens[start:stop] if own else self._said(asks, clause(tokens, (start, stop)))
                said.add(asks)
            at = stop
        return [*words, *tokens[at:]]

    @cached_property
    def _own(self) -> dict[str, list[tuple[list[str], str]]]:
        """The model's own phrases by their first words."""
        found = [(phrase.split(), name) for name, phrases in self.phrases.items() for phrase in phrases]
        for name, deeds in self.deeds.items():
            found += [(f"{one} {deed}".split(), name) for one in self.subjects for deed in deeds]
        first: dict[str, list[tuple[list[str], str]]] = {}
        for phrase, name in found:
            first.setdefault(phrase[0], []).append((phrase, name))
        return first

    @cached_property
    def _patterns(self) -> list[tuple[Pattern, str]]:
        return [(self._pattern(text), name) for text, name in self.patterns]

    @cached_property
    def _weak(self) -> list[tuple[Pattern, str]]:
        return [(self._pattern(text), name) for text, name in self.weak]

    @cached_property
    def _paced(self) -> frozenset[str]:
        """Words of a pace, which the phrase in their place has."""
        return frozenset().union(*self.paces.values())

    @cached_property
    def _skipped(self) -> frozenset[str]:
        """What may stand before the beginning."""
        return self._paced.union(self.fillers)

    def _pattern(self, text: str) -> Pattern:
        parts: list[Alternatives | str] = []
        for part in text.split():
            words = [self.classes.get(word, word) for word in part.split("|")]
            parts.append(part if part in (GAP, BEGINNING) else Alternatives.of("|".join(words).split("|")))
        return tuple(parts)

    @cached_property
    def _foreign(self) -> re.Pattern[str]:
        """Longest first. Where words are written apart only whole ones count."""
        longest = sorted(self.foreign, key=len, reverse=True)
        some = [re.escape(word) if is_run_on(word) else rf"(?<!\w){re.escape(word)}(?!\w)" for word in longest]
        return re.compile("|".join(some) or "(?!)")

    @cached_property
    def _known(self) -> frozenset[str]:
        """Words that are no misspelling of others."""
        own = {word for phrases in self._own.values() for phrase, _ in phrases for word in phrase}
        parts = [part for pattern, _ in (*self._patterns, *self._weak) for part in pattern]
        exact = {word for part in parts if isinstance(part, Alternatives) for word in part.words}
        return frozenset(own | exact | set(self.not_misspelt) | set(self.spelled))

    def _matches(self, pattern: Pattern, tokens: Sequence[str]) -> Iterator[Span]:
        """Where a pattern fits, from left to right, none over another."""
        begins = pattern[0] == BEGINNING
        start = 0
        while start < len(tokens):
            end = fits(pattern[begins:], tokens, start) if not begins or self._at_beginning(tokens, start) else None
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
        near = [word for word in self.spelled if one_slip(token, word)]
        return near[0] if len(near) == 1 else token

    def _denied(self, tokens: Sequence[str], span: Span, *, own: bool) -> bool:
        """Whether a negation stands before, or inside a synonym."""
        first = span[0]
        while first > max(span[0] - NEGATION_REACH, 0) and tokens[first - 1] not in CLAUSE_ENDS:
            first -= 1
        return any(token in self.negations for token in tokens[first : span[0] if own else span[1]])

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
