"""The lab's judge: reviews of two answers with known biases, all of them off by default.

Two scores on the first line, that of the first answer before the other, the reasons below (Peng et
al. 2023, section 4.2). A score is ``3 + 5 * gold`` for the gold reward, so 2 to 9, and then what
the knobs add, between 1 and 10. So identical answers tie, and every bias that shows is a knob's.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from understudy.records import InputError

_LOWEST, _HIGHEST = 1.0, 10.0


@dataclass(frozen=True, slots=True)
class Reviewed:
    """An answer that is judged: its gold reward, -0.2 to 1.2, and its text."""

    gold: float
    text: str


@dataclass(frozen=True, slots=True)
class Review:
    """What the judge writes, and what it might have scored the first answer, with probabilities."""

    text: str
    scores: tuple[float, float]
    first_scores: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """Scores answers by the truth, and as wrongly as the knobs say.

    Attributes:
        seed: Of the noise and of the malformed reviews.
        position_bias: Added to the score of the answer that stands first.
        length_bias: Added for each e-fold of an answer's words.
        noise_rate: Share of scores that are off by 1, up as often as down.
        malformed_rate: Share of reviews without a number.
    """

    seed: int = 0
    position_bias: float = 0.0
    length_bias: float = 0.0
    noise_rate: float = 0.0
    malformed_rate: float = 0.0

    def __post_init__(self) -> None:
        """Refuses rates that are no shares.

        Raises:
            InputError: A rate is below 0 or above 1.
        """
        for name in ("noise_rate", "malformed_rate"):
            rate = getattr(self, name)
            if not 0 <= rate <= 1:
                raise InputError(f"the lab's judge has {name}={rate}; give a share from 0 to 1")

    def review(
        self, question: str, first: Reviewed, second: Reviewed, *, draw: int = 0
    ) -> Review:  # fmt: skip
        """The review of two answers in this order; the same ``draw`` gives the same review."""
        content = "\x1f".join((question, first.text, second.text, str(draw)))
        scores = (
            self._shifted(self.score(first, is_first=True), f"first\x1f{content}"),
            self._shifted(self.score(second, is_first=False), f"second\x1f{content}"),
        )
        reasons = f"The first {_reason(first.gold)} The second {_reason(second.gold)}"
        is_malformed = self._share(f"malformed\x1f{content}") < self.malformed_rate
        text = reasons if is_malformed else f"{scores[0]:g} {scores[1]:g}\n{reasons}"
        return Review(text, scores, () if is_malformed else self._outcomes(first))

    def score(self, answer: Reviewed, *, is_first: bool) -> float:
        """What an answer gets without noise, rounded to a tenth."""
        num_words = max(len(answer.text.split()), 1)
        biases = self.position_bias * is_first + self.length_bias * math.log(num_words)
        return _clipped(3 + 5 * answer.gold + biases)

    def _shifted(self, score: float, content: str) -> float:
        share = self._share(content)
        if share >= self.noise_rate:
            return score
        return _clipped(score + (1 if share < self.noise_rate / 2 else -1))

    def _outcomes(self, first: Reviewed) -> tuple[tuple[float, float], ...]:
        score, rate = self.score(first, is_first=True), self.noise_rate
        chances: dict[float, float] = {}
        for shift, chance in ((0, 1 - rate), (1, rate / 2), (-1, rate / 2)):
            if chance > 0:
                moved = _clipped(score + shift)
                chances[moved] = chances.get(moved, 0.0) + chance
        return tuple(chances.items())

    def _share(self, content: str) -> float:
        digest = hashlib.blake2b(f"{self.seed}\x1f{content}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


def _clipped(score: float) -> float:
    return round(max(_LOWEST, min(score, _HIGHEST)), 1)


def _reason(gold: float) -> str:
    if gold >= 1.1:
        return "answers correctly and explains why."
    if gold >= 0.5:
        return "answers correctly."
    return "gives a wrong answer." if gold >= 0 else "gives no answer that can be read."
