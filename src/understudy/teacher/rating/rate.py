"""Rates answers, one call each, and writes them as the released comparisons are.

Peng et al. 2023, section 3.2. The rater sees one instruction and one response, so scores are
absolute. Equal answers to a prompt are one request, asked once; all of them get its score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy.chat.requests import ChatRequest
from understudy.forms.rating import RATING
from understudy.prompts import ALPACA, has_input
from understudy.teacher.rating.ratings import Rating, ScoresOfPrompt, read_rating
from understudy.teacher.rating.responses import NEEDED, Response, Responses
from understudy.teacher.rows import Outcome, outcomes

if TYPE_CHECKING:
    from understudy.chat.asking.asker import Answers

RATED, PARSE_ERROR, FAILED = "rated", "parse_error", "failed"
"""What a row of ``ratings.jsonl`` says: there is a score, none could be read, nothing came."""

_MAX_EXAMPLES = 3
_MAX_SHOWN = 200


def rating_request(response: Response) -> ChatRequest:
    """What is asked of the rater for one answer."""
    prompt = response.prompt
    asked = prompt.instruction
    if has_input(prompt.input):
        asked = f"{asked}\n\n{prompt.input}"
    return ChatRequest.of_user(
        RATING.render(instruction=asked, response=response.text), id=prompt.id
    )


def distinct_requests(responses: Responses) -> Iterator[ChatRequest]:
    """The requests, equal answers to a prompt once."""
    for prompt in responses.prompts:
        for response in _distinct(prompt):
            yield rating_request(response)


def num_identical(responses: Responses) -> int:
    """How many answers say what another one to the same prompt says."""
    return sum(len(prompt) - len(_distinct(prompt)) for prompt in responses.prompts)


def _distinct(prompt: Sequence[Response]) -> Sequence[Response]:
    found: dict[str, Response] = {}
    for each in prompt:
        found.setdefault(each.text, each)
    return tuple(found.values())


@dataclass
class Ratings:
    """The scores, gathered while the rows are written.

    Attributes:
        scores: Of each prompt the score of each answer, null where there is none.
        counts: How many answers have each status, and how many problems of each kind there are.
        examples: The first replies of each kind of problem.
    """

    scores: list[list[float | None]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def rows(
        self, responses: Responses, answers: Answers, failed: list[Outcome[Response]]
    ) -> Iterator[dict[str, Any]]:
        """The rows of ``ratings.jsonl``, read from the ledger one by one.

        Args:
            responses: What was rated.
            answers: The rater's replies.
            failed: Gets what has no reply.
        """
        for prompt in responses.prompts:
            own: list[float | None] = []
            for each in outcomes(((r, rating_request(r)) for r in prompt), answers):
                if each.reply is None:
                    failed.append(each)
                row = self._row(each)
                own.append(row["score"])
                yield row
            self.scores.append(own)

    def _row(self, outcome: Outcome[Response]) -> dict[str, Any]:
        reply = outcome.reply
        rating = None if reply is None else read_rating(reply.text)
        status = _status(rating)
        problem = rating.problem if rating is not None else str(outcome.missing)
        self.counts[status] += 1
        if problem:
            self.counts[problem] += 1
        if rating is not None and rating.problem:
            shown = self.examples.setdefault(problem, [])
            if len(shown) < _MAX_EXAMPLES:
                shown.append(rating.explanation[:_MAX_SHOWN])
        response = outcome.row
        return {
            "id": response.prompt.id,
            "instruction": response.prompt.instruction,
            "input": response.prompt.input,
            "lang": response.prompt.lang,
            "source": response.source,
            "number": response.number,
            "response": response.text,
            "score": None if rating is None else rating.score,
            "status": status,
            "problem": problem,
            "explanation": None if rating is None else rating.explanation,
            "finish": None if reply is None else reply.finish_reason,
            "rater": None if reply is None else reply.model,
        }

    @property
    def num_comparisons(self) -> int:
        """How many prompts have two ratings or more."""
        return sum(_num_rated(scores) >= NEEDED for scores in self.scores)

    def by_prompt(self, responses: Responses) -> list[ScoresOfPrompt]:
        """The scores of each prompt by source."""
        gathered: list[ScoresOfPrompt] = []
        for prompt, scores in zip(responses.prompts, self.scores, strict=True):
            own: dict[str, list[float]] = {}
            for response, score in zip(prompt, scores, strict=True):
                if score is not None:
                    own.setdefault(response.source, []).append(score)
            gathered.append(own)
        return gathered


def comparison_rows(
    responses: Responses, scores: Iterable[Sequence[float | None]]
) -> Iterator[dict[str, Any]]:
    """The rows of the released comparisons: a whole Alpaca prompt, and its rated answers.

    A prompt with fewer than two ratings has no row.
    """
    for prompt, own in zip(responses.prompts, scores, strict=True):
        if _num_rated(own) < NEEDED:
            continue
        asked = prompt[0].prompt
        yield {
            "user_input": ALPACA.render(asked.instruction, asked.input),
            "responses_and_scores": [
                {"response": each.text, "source": each.source, "score": score}
                for each, score in zip(prompt, own, strict=True)
                if score is not None
            ],
        }


def examples_in_words(examples: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The first unreadable replies of each kind, for people."""
    return {f"e.g. {kind}": " | ".join(map(repr, texts)) for kind, texts in examples.items()}


def _status(rating: Rating | None) -> str:
    if rating is None:
        return FAILED
    return PARSE_ERROR if rating.problem else RATED


def _num_rated(scores: Sequence[float | None]) -> int:
    return sum(score is not None for score in scores)
