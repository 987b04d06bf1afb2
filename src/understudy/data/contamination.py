"""Training instructions that are, or nearly are, questions that will be asked.

Exact: the same words in the same order, whatever their case, spacing and punctuation. Near: at
least ``min_similarity`` of the word triples in either are in both (Jaccard), or a question of some
length stands inside a longer text. An inverted index over the few questions finds all of that
exactly; MinHash (datasketch, rensa) would only estimate it, and edit distance (rapidfuzz) compares
every pair.

Words are runs of letters and digits of any script, CJK characters each one; instruction and input
are read as one text, since data sets differ in where they part them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from understudy.data.questions import HeldOut
from understudy.data.rows import require_choice
from understudy.data.sets import PublishedSet, QuestionSets, placed
from understudy.records import InputError, InputFile, Instruction, Question, QuestionSource

MODES = ("off", "warn", "drop")
EXACT, NEAR = "exact", "near"

_CJK = r"\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_MIN_EMBEDDED_TRIPLES = 6  # 8 words: shorter questions are parts of other, longer ones
_MIN_EMBEDDED_SHARE = 0.9

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """An instruction that is a question.

    Attributes:
        id: The instruction's id.
        question_id: The question's id.
        set: The name of the question's set.
        kind: ``exact`` or ``near``.
        similarity: Share of common word triples, 1 when exact; for a question inside a longer
            text, the share of its own triples.
    """

    id: str
    question_id: str
    set: str
    kind: str
    similarity: float


@dataclass(frozen=True)
class Decontamination:
    """Finds instructions that will be asked.

    Args:
        mode: What is done with them: ``off`` (nothing, they are not looked for), ``warn``,
            ``drop``.
        min_similarity: The least similarity that is near.
        questions: What the run asks.
        avoid: Further sets to keep out of training, by name. Questions held out of the training
            data itself are no set.

    Raises:
        InputError: The mode is unknown, or the similarity is not in (0, 1].
    """

    mode: str = "off"
    min_similarity: float = 0.7
    questions: QuestionSource | None = None
    avoid: Mapping[str, QuestionSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses values that cannot work."""
        require_choice("data.decontaminate", self.mode, MODES)
        if not 0 < self.min_similarity <= 1:
            raise InputError(
                f"data.min_similarity={self.min_similarity} is no share; type one above 0 and at "
                "most 1, as in data.min_similarity=0.7"
            )

    def matches(self, prompts: Sequence[Instruction]) -> list[Match]:
        """Those of ``prompts`` that are questions, in their order, each with its best match.

        In a conversation each of the user's messages counts, and all of them together.

        Raises:
            InputError: A question set is wrong.
            RunError: A question set could not be fetched.
        """
        if self.mode == "off":
            return []
        index = _Index(self._entries(), self.min_similarity)
        found = (index.match(prompt) for prompt in prompts)
        return [match for match in found if match is not None]

    def inputs(self) -> list[InputFile]:
        """The files of the sets in ``avoid``; those of ``questions`` are the run's own inputs."""
        if self.mode == "off":
            return []
        return [file for source in self.avoid.values() for file in source.inputs()]

    def _entries(self) -> Iterator[_Entry]:
        """Every question of every set, those that the run asks first."""
        sources = [] if self.questions is None else [(_name(self.questions), self.questions)]
        for name, source in self.avoid.items():
            sources.append((name, placed(source, f"data.avoid.{name}")))
        for name, source in sources:
            for each, question in _asked(name, source):
                words = _texts(question.prompt)[0]
                yield _Entry(question.prompt.id, each, words, _triples(words))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A question as the index holds it."""

    id: str
    set: str
    words: Words
    triples: Set[Words]

    def similarity(self, triples: Set[Words]) -> float:
        """How near a text with these triples is to the question."""
        num_shared = len(self.triples & triples)
        share = num_shared / len(self.triples)
        if len(self.triples) >= _MIN_EMBEDDED_TRIPLES and share >= _MIN_EMBEDDED_SHARE:
            return share
        return num_shared / (len(self.triples) + len(triples) - num_shared)


class _Index:
    """Questions by their words, and by triples of which a near text has at least one.

    A text of similarity s has at least the share s of a question's triples, so it must have one of
    any 1 - s of them and one more: the rarest, which few questions share (prefix filtering,
    Bayardo et al. 2007, "Scaling up all pairs similarity search").
    """

    def __init__(self, entries: Iterator[_Entry], min_similarity: float) -> None:
        self._min_similarity = min_similarity
        self._exact: dict[Words, _Entry] = {}
        for entry in entries:
            self._exact.setdefault(entry.words, entry)
        num_questions = Counter(t for entry in self._exact.values() for t in entry.triples)
        self._telling: defaultdict[Words, list[_Entry]] = defaultdict(list)
        for entry in self._exact.values():
            rarest = sorted(entry.triples, key=lambda each: (num_questions[each], each))
            num_needed = math.ceil(min_similarity * len(rarest) - 1e-9)
            for triple in rarest[: len(rarest) - num_needed + 1]:
                self._telling[triple].append(entry)

    def match(self, prompt: Instruction) -> Match | None:
        """The question that the prompt is, or is nearest to and near."""
        texts = _texts(prompt)
        for words in texts:
            if (entry := self._exact.get(words)) is not None:
                return Match(prompt.id, entry.id, entry.set, EXACT, 1.0)
        found = [pair for words in texts for pair in self._near(words)]
        if not found:
            return None
        similarity, entry = max(found, key=lambda pair: pair[0])
        return Match(prompt.id, entry.id, entry.set, NEAR, similarity)

    def _near(self, words: Words) -> Iterator[tuple[float, _Entry]]:
        triples = _triples(words)
        candidates = {entry.id: entry for each in triples for entry in self._telling.get(each, ())}
        for entry in candidates.values():
            similarity = entry.similarity(triples)
            if similarity >= self._min_similarity:
                yield similarity, entry


def _name(source: QuestionSource) -> str:
    return source.name if isinstance(source, PublishedSet) else "questions"


def _asked(name: str, source: QuestionSource) -> Iterator[tuple[str, Question]]:
    """The questions of a source with the names of their sets; none of those held out."""
    if isinstance(source, QuestionSets):
        for part, inner in source.named():
            yield from _asked(part, inner)
    elif not isinstance(source, HeldOut):
        for question in source.questions([]):
            yield name, question


def _texts(prompt: Instruction) -> list[Words]:
    """What was asked as words: all of the user's messages as one text, then each, if several."""
    last = f"{prompt.instruction}\n\n{prompt.input}"
    turns = [turn.content for turn in prompt.history if turn.role == "user"]
    messages = [_words(text) for text in (*turns, last)]
    if len(messages) == 1:
        return messages
    return [tuple(word for words in messages for word in words), *messages]


def _words(text: str) -> Words:
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return tuple(_WORD.findall(plain)) or tuple(plain.split())


def _triples(words: Words) -> Set[Words]:
    """Each three words in a row; a shorter text is one piece."""
    return set(zip(words, words[1:], words[2:], strict=False)) if len(words) > 2 else {words}
