"""Which of the instructions that all arms share an arm trains on.

Each choice looks at the instructions or at all arms' answers together, never at one arm's own, so
that arms of one choice keep the same instructions, as the paper's have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from understudy.data.contamination import Decontamination
from understudy.metrics.rouge import num_words
from understudy.records import Completion, InputError

MIXED = "mixed"

Rows = Mapping[str, Completion]
"""One source's rows by instruction id."""


@dataclass(frozen=True)
class Selection:
    """What an arm leaves out of training although every arm has it.

    Args:
        train_lang: Trains on the instructions of this language; ``mixed`` and null are all.
        max_length_ratio: Trains on the instructions whose longest answer, over all arms, has at
            most this many times the words of the shortest (Chinese: characters). So teachers are
            compared at equal length. Null takes all.
        decontamination: What is done with instructions that will be asked as questions.

    Raises:
        InputError: The ratio is below 1.
    """

    train_lang: str | None = None
    max_length_ratio: float | None = None
    decontamination: Decontamination = field(default_factory=Decontamination)

    def __post_init__(self) -> None:
        """Refuses a ratio that no two answers can have."""
        if self.max_length_ratio is not None and self.max_length_ratio < 1:
            raise InputError(
                f"data.max_length_ratio={self.max_length_ratio} is below 1, which no two answers "
                "can have; type data.max_length_ratio=1.25"
            )

    def chosen(self, ids: Sequence[str], sources: Sequence[Rows]) -> tuple[list[str], Counter[str]]:
        """Those of ``ids`` to train on, in their order, and why the others are not.

        Raises:
            InputError: Lengths are to be compared, but there is one arm; or nothing is left.
        """
        spoken = [each for each in ids if self._is_spoken(sources[0][each])]
        matched = self._of_equal_length(spoken, sources)
        dropped = Counter(
            other_language=len(ids) - len(spoken), length_mismatch=len(spoken) - len(matched)
        )
        if ids and not matched:
            raise InputError(self._why_nothing(ids, spoken, sources[0]))
        return matched, +dropped

    def _why_nothing(self, ids: Sequence[str], spoken: Sequence[str], rows: Rows) -> str:
        left = f"no instruction of {len(ids):,} is left to train on"
        if not spoken:
            langs = ", ".join(sorted({rows[each].prompt.lang for each in ids}))
            return f"{left}: none is in data.train_lang={self.train_lang}; they are in {langs}"
        return (
            f"{left}: the answers to all {len(spoken):,} differ by more than "
            f"data.max_length_ratio={self.max_length_ratio}; raise it"
        )

    def _is_spoken(self, row: Completion) -> bool:
        return self.train_lang in (None, MIXED, row.prompt.lang)

    def _of_equal_length(self, ids: list[str], sources: Sequence[Rows]) -> list[str]:
        ratio = self.max_length_ratio
        if ratio is None:
            return ids
        if len(sources) < 2:
            raise InputError(
                f"data.max_length_ratio={ratio:g} compares the arms' answers, and there is one "
                "arm; sweep over teachers with -m, or name the others in data.peers"
            )

        def is_matched(each: str) -> bool:
            answers = [rows[each] for rows in sources]
            lengths = [num_words(row.output, lang=row.prompt.lang) for row in answers]
            return max(lengths) <= ratio * min(lengths)

        return [each for each in ids if is_matched(each)]
