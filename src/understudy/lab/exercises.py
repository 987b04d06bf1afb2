"""Lab prompts: drawn for a split of the world, written as instructions in a language, read back.

Random streams belong to a family, and families take turns, so the first rows of a long list are the
rows of a shorter one. A family that has no new prompt left drops out and the others go on.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from understudy.lab.families import FAMILIES
from understudy.lab.family import Family, Words
from understudy.lab.lexicon import ENGLISH_BY_CHINESE, to_chinese
from understudy.lab.world import World
from understudy.records import InputError, Instruction, instruction_id

LANGUAGES = ("en", "zh")

_PATIENCE = 5000
"""Draws in a row without a new prompt after which a family counts as exhausted."""

_FOREIGN = "<foreign>"


@dataclass(frozen=True, slots=True)
class Exercise:
    """A lab prompt in English words: one instruction of a family, and an input."""

    family: Family
    instruction: str
    words: Words

    @property
    def input(self) -> str:
        """The input as text."""
        return " ".join(self.words)

    def to_prompt(self, lang: str, split: str) -> Instruction:
        """The prompt as a record, its id the hash of its content in that language."""
        instruction, input_text = self.instruction, self.input
        if lang == "zh":
            instruction, input_text = to_chinese(instruction), to_chinese(input_text)
        return Instruction(
            id=instruction_id(instruction, input_text),
            instruction=instruction,
            input=input_text,
            task=self.family.name,
            lang=lang,
            split=split,
        )

    def share(self, purpose: str) -> float:
        """A number in [0, 1) that looks random and depends on the prompt and the purpose alone."""
        text = f"{purpose}\x1f{self.instruction}\x1f{self.input}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


def read_words(text: str, lang: str) -> Words:
    """The English words of a lab text; words of another language become ``<foreign>``.

    Never fails, because a student may write anything; no right answer holds ``<foreign>``.

    >>> read_words("答 七 a", "zh")
    ('answer', '7', '<foreign>')
    """
    if lang == "zh":
        return tuple(ENGLISH_BY_CHINESE.get(word, _FOREIGN) for word in text.split())
    return tuple(text.split())


def exercise_of(prompt: Instruction, world: World) -> Exercise | None:
    """The lab prompt that a record holds, or None when it holds none of this world's symbols.

    Reads ``task`` and the texts only. A family of the lab that this world leaves out still counts,
    as long as the input is made of this world's symbols.
    """
    if prompt.task not in FAMILIES or prompt.lang not in LANGUAGES:
        return None
    family = FAMILIES[prompt.task]
    words = read_words(prompt.input, prompt.lang)
    if not family.fits(words, world.symbols):
        return None
    return Exercise(family, " ".join(read_words(prompt.instruction, prompt.lang)), words)


def check_language(lang: str) -> None:
    """Refuses a language that the lab does not speak.

    Raises:
        InputError: It is neither "en" nor "zh".
    """
    if lang not in LANGUAGES:
        raise InputError(f"the lab speaks no {lang!r}; set lang to one of {', '.join(LANGUAGES)}")


def train_exercises(world: World, num_rows: int, seed: int) -> list[Exercise]:
    """Distinct prompts of the training split, in paraphrases that training sees.

    Raises:
        InputError: The world has fewer.
    """
    streams = [
        _distinct(
            _draws(world, family, family.paraphrases, world.lengths, f"{seed} train"),
            lambda exercise: (exercise.instruction, exercise.words),
            lambda exercise: world.split_of(exercise.family.name, exercise.words) == "train",
        )
        for family in world.seen_families
    ]
    return _take(streams, num_rows, "rows for training", "num_rows")


@lru_cache(maxsize=4)
def train_prompts(
    world: World, num_rows: int, seed: int, lang: str
) -> Sequence[tuple[Exercise, Instruction]]:
    """The exercises of :func:`train_exercises`, each with its record.

    Drawn once for all teachers of a sweep, who answer the same prompts: drawing takes longer than
    answering.

    Raises:
        InputError: The world has fewer.
    """
    exercises = train_exercises(world, num_rows, seed)
    return tuple((exercise, exercise.to_prompt(lang, "train")) for exercise in exercises)


def held_out_exercises(
    world: World,
    families: Sequence[Family],
    *,
    split: str,
    lengths: Sequence[int],
    num_prompts: int,
) -> list[Exercise]:
    """Prompts of the ``test`` or ``dev`` split, no input of a family twice.

    Raises:
        InputError: The world has fewer.
    """
    streams = [
        _distinct(
            _draws(world, family, family.paraphrases, lengths, split),
            lambda exercise: exercise.words,
            lambda exercise: world.split_of(exercise.family.name, exercise.words) == split,
        )
        for family in families
    ]
    return _take(streams, num_prompts, f"{split} questions", "the number of questions")


def _draws(
    world: World, family: Family, paraphrases: Sequence[str], lengths: Sequence[int], stream: str
) -> Iterator[Exercise]:
    rng = random.Random(f"{world.seed} {stream} {family.name}")
    while True:
        words = family.draw(rng, world.symbols, rng.choice(lengths))
        yield Exercise(family, rng.choice(paraphrases), words)


def _distinct(
    draws: Iterator[Exercise],
    identity: Callable[[Exercise], Hashable],
    is_wanted: Callable[[Exercise], bool],
) -> Iterator[Exercise]:
    seen: set[Hashable] = set()
    num_misses = 0
    for exercise in draws:
        if identity(exercise) in seen or not is_wanted(exercise):
            num_misses += 1
            if num_misses == _PATIENCE:
                return
            continue
        num_misses = 0
        seen.add(identity(exercise))
        yield exercise


def _take(
    streams: list[Iterator[Exercise]], num_wanted: int, what: str, setting: str
) -> list[Exercise]:
    """The streams' prompts in turn, without those that have run dry."""
    taken: list[Exercise] = []
    while streams and len(taken) < num_wanted:
        turn = [next(stream, None) for stream in streams[: num_wanted - len(taken)]]
        taken += [exercise for exercise in turn if exercise is not None]
        dry = {number for number, exercise in enumerate(turn) if exercise is None}
        streams = [stream for number, stream in enumerate(streams) if number not in dry]
    if len(taken) < num_wanted:
        raise InputError(
            f"the lab's world has only {len(taken)} {what}, not {num_wanted}; "
            f"lower {setting} or add families, letters or numbers"
        )
    return taken
