"""The lab's evaluation questions: four splits, each asking for another kind of generalisation.

A reference is the gold answer alone, without explanation and without ``answer :``, so
that a bucket of reference lengths is a set of families: one word (0-2), lists of 3 to 5 and of 6 to
10 words, sentences of 8 words and more. One-word references make ROUGE prefer a terse answer to an
explained one, as in the paper's bucket of 0-2 words (Peng et al. 2023, section 4.3): to rank
teachers in the lab, use the checker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from understudy.lab.exercises import Exercise, check_language, held_out_exercises
from understudy.lab.lexicon import to_chinese
from understudy.lab.world import World
from understudy.records import InputError, InputFile, Question

SPLITS = ("test", "unseen_paraphrase", "unseen_length", "unseen_family", "dev")


@dataclass(frozen=True)
class LabQuestions:
    """Questions of a world, each with its gold answer.

    No input occurs twice in a split, and none was ever in a training row of its family. ``test``
    has new inputs in known wording; ``unseen_paraphrase`` asks about the first inputs of ``test``
    in other words, so the two compare item by item; ``unseen_length`` has lists one item longer
    than any seen; ``unseen_family`` has the families held out, none in a world that holds out none;
    ``dev`` is like ``test``, for choices made along the way. Every language has the same questions.

    Attributes:
        world: The world that is asked about.
        splits: Which splits, in this order.
        num_test: Questions of a language in ``test`` and in ``dev``, from the families in turn.
        num_unseen: Questions of a language in each split of unseen things.
        langs: "en", "zh" or both: all of one language, then all of the next.
    """

    world: World
    splits: Sequence[str] = ("test", "unseen_paraphrase", "unseen_length", "unseen_family")
    num_test: int = 980
    num_unseen: int = 210
    langs: Sequence[str] = ("en",)

    def __post_init__(self) -> None:
        """Refuses an unknown split or language.

        Raises:
            InputError: A split or language is unknown, a language is there twice or none is, or a
                size is below 1.
        """
        _check_languages(self.langs)
        object.__setattr__(self, "langs", tuple(self.langs))
        object.__setattr__(self, "splits", tuple(self.splits))
        unknown = [split for split in self.splits if split not in SPLITS]
        if unknown:
            raise InputError(
                f"the lab has no split {unknown[0]!r}; choose from {', '.join(SPLITS)}"
            )
        if min(self.num_test, self.num_unseen) < 1:
            raise InputError("num_test and num_unseen of the lab's questions must be 1 or more")

    def questions(self, held_out: Sequence[Question] = ()) -> list[Question]:
        """All questions, a language and in it a split at a time; a data arm's own play no part.

        Raises:
            InputError: The world has fewer; names how many it has.
        """
        exercises = [
            (exercise, split) for split in self.splits for exercise in self._exercises(split)
        ]
        return [_question(*each, lang) for lang in self.langs for each in exercises]

    def inputs(self) -> Sequence[InputFile]:
        """No files: the lab's questions come from the world's values."""
        return ()

    def _exercises(self, split: str) -> list[Exercise]:
        if split == "unseen_paraphrase":
            return self._unseen_paraphrases()
        if split == "unseen_length":
            return self._unseen_lengths()
        if split == "unseen_family":
            return self._unseen_families()
        return held_out_exercises(
            self.world,
            self.world.seen_families,
            split=split,
            lengths=self.world.lengths,
            num_prompts=self.num_test,
        )

    def _unseen_paraphrases(self) -> list[Exercise]:
        exercises = held_out_exercises(
            self.world,
            self.world.seen_families,
            split="test",
            lengths=self.world.lengths,
            num_prompts=self.num_unseen,
        )
        return [
            replace(exercise, instruction=exercise.family.unseen_paraphrase)
            for exercise in exercises
        ]

    def _unseen_lengths(self) -> list[Exercise]:
        return held_out_exercises(
            self.world,
            [family for family in self.world.seen_families if family.has_list],
            split="test",
            lengths=(self.world.unseen_length,),
            num_prompts=self.num_unseen,
        )

    def _unseen_families(self) -> list[Exercise]:
        if not self.world.held_out:
            return []
        return held_out_exercises(
            self.world,
            self.world.unseen_families,
            split="test",
            lengths=self.world.lengths,
            num_prompts=self.num_unseen,
        )


def _question(exercise: Exercise, split: str, lang: str) -> Question:
    gold = " ".join(exercise.family.gold(exercise.words))
    reference = to_chinese(gold) if lang == "zh" else gold
    return Question(exercise.to_prompt(lang, split), {"gold": reference})


def _check_languages(langs: Sequence[str]) -> None:
    if not langs or len(set(langs)) < len(langs) or isinstance(langs, str):
        raise InputError(f"the lab's questions are in {langs!r}; give each language once: [en, zh]")
    for lang in langs:
        check_language(lang)
