"""The lab's seed tasks: each of its instructions with one example, in Self-Instruct's schema."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.lab.exercises import Exercise
from understudy.lab.families import FAMILIES
from understudy.lab.world import World

_CLASSIFICATIONS = ("member",)


@dataclass(frozen=True)
class LabSeeds:
    """Three tasks of each family that the world does not hold out, with the right answers.

    Families that the world leaves out are there, too: seven families would be few to begin with.
    The prompts are of the training split, so no test question becomes a seed.
    """

    world: World

    @property
    def name(self) -> str:
        """What manifests call them."""
        return "the lab's seed tasks"

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """One row a paraphrase, in the order of the families."""
        return [
            self._row(family, number, paraphrase)
            for family in FAMILIES
            if family not in self.world.held_out
            for number, paraphrase in enumerate(FAMILIES[family].paraphrases)
        ]

    def _row(self, name: str, number: int, paraphrase: str) -> dict[str, Any]:
        family = FAMILIES[name]
        rng = random.Random(f"{self.world.seed} seed task {name} {number}")
        words = family.draw(rng, self.world.symbols, self.world.min_length)
        while self.world.split_of(name, words) != "train":
            words = family.draw(rng, self.world.symbols, self.world.min_length)
        exercise = Exercise(family, paraphrase, words)
        answer = " ".join(family.gold(words))
        return {
            "id": f"lab_{name}_{number}",
            "name": name,
            "instruction": paraphrase,
            "instances": [{"input": exercise.input, "output": answer}],
            "is_classification": name in _CLASSIFICATIONS,
        }
