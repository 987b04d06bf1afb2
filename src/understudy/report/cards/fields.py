"""What the fields of saved rows mean, for the table of a data card."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.report.cards.text import table

_MEANINGS = {
    "id": "of the instruction: a hash of what was asked, the same for every teacher",
    "instruction": "what was asked",
    "input": 'what the instruction is about; "" where it needs nothing',
    "output": "the answer, as it came",
    "lang": "language of the instruction",
    "task": 'family or category, "" when unknown',
    "teacher": "who answered",
    "finish": '"stop", "length" (cut at the bound of tokens), or what the server said',
    "truncated": "whether the answer was cut at the bound of tokens",
    "refused": "whether the answer begins as refusals do",
    "wrong_language": "whether the answer to a Chinese instruction holds too little Chinese",
    "history": "the turns before the instruction",
    "source_id": "id of the instruction that was translated",
    "translator": "who translated",
    "user_input": "what was asked",
    "responses_and_scores": "the rated answers: response, source (who answered) and score",
    "is_classification": "whether the task has a small set of right answers",
    "round": "in which round it was invented",
    "most_similar": "the nearest earlier instruction, with its ROUGE-L",
    "author": "who answered",
    "decoding": "how the answer was chosen",
    "scores": "of the answer, by metric",
    "references": "answers that count as right, by author",
    "sample": "number of the answer among those to its question, from 0",
    "seed": "that the answer was drawn with",
    "num_tokens": "of the answer",
    "split": "part of the questions",
}


def fields_table(types: Mapping[str, str]) -> str:
    """Name, type and meaning of each field; a meaning that is not known is said to be so."""
    rows = [(f"`{n}`", kind, _MEANINGS.get(n, "unknown")) for n, kind in types.items()]
    return table(("field", "type", "what"), rows)
