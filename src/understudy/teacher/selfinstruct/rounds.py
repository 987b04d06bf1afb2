"""Asks for new tasks round by round until there are enough, or too few come.

A round is a fixed number of requests that do not see each other's replies. What it asks follows
from the seed, its number and what was accepted before; replies are read in the order of the
requests, whatever order they came in. So the same replies make the same tasks, and a run that
starts anew asks only what the ledger lacks.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from understudy.chat.asking.asker import Answers, Asker
from understudy.chat.asking.progress import Tally
from understudy.chat.requests import ChatRequest
from understudy.records import InputError
from understudy.teacher.rows import Outcome
from understudy.teacher.selfinstruct.journal import Journal
from understudy.teacher.selfinstruct.pool import InventionPool
from understudy.teacher.selfinstruct.recipes import Recipe
from understudy.teacher.selfinstruct.seeds import SeedTask

_FAILED_IN_A_ROW = 3
_AT_LEAST = 100  # requests before a share of failures says anything


@dataclass(frozen=True, slots=True)
class Patience:
    """When asking ends though there are not enough tasks.

    Attributes:
        min_acceptance: The least share of candidates that must be accepted.
        rounds: Over how many of the last rounds.
        max_rounds: How many rounds there are at most; null is no limit.
    """

    min_acceptance: float = 0.05
    rounds: int = 10
    max_rounds: int | None = None

    def __post_init__(self) -> None:
        """Refuses numbers that mean nothing.

        Raises:
            InputError: One is out of range.
        """
        if not 0 <= self.min_acceptance < 1:
            raise InputError(f"min_acceptance={self.min_acceptance} is no share; type 0.05")
        for name, value in (("patience", self.rounds), ("max_rounds", self.max_rounds)):
            if value is not None and value < 1:
                raise InputError(f"{name}={value} allows no round; type 10")


@dataclass
class Course:
    """How rounds went.

    Attributes:
        rounds: How many there were.
        requests: How many were asked, in this run or before.
        empty: Replies without text.
        failures: Requests that brought no text: those that failed and ``empty`` ones.
        tally: What asking has come to in this run.
        ended_early: Why there are not enough tasks; "" where there are.
    """

    rounds: int = 0
    requests: int = 0
    empty: int = 0
    failures: list[Outcome[int]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    ended_early: str = ""

    @property
    def failed(self) -> int:
        """How many requests were given up."""
        return sum(each.reply is None for each in self.failures)


class Rounds:
    """Makes a pool grow."""

    def __init__(
        self,
        recipe: Recipe,
        seeds: Sequence[SeedTask],
        asker: Asker,
        *,
        seed: int,
        patience: Patience,
    ) -> None:
        """``asker`` has the recipe's parameters; ``seed`` decides what prompts show."""
        self._recipe, self._seeds, self._asker = recipe, seeds, asker
        self._seed, self._patience = seed, patience
        self._num_asked: Counter[str] = Counter()
        self._latest: deque[tuple[int, int]] = deque(maxlen=patience.rounds)
        self._failed_in_a_row = 0

    def requests(self, accepted: Sequence[str], number: int) -> list[ChatRequest]:
        """What a round asks; a prompt that recurs has the next sample's number."""
        rng = random.Random(f"{self._seed} round {number}")
        asked = []
        for place in range(1, self._recipe.request_batch + 1):
            prompt = self._recipe.prompt(self._seeds, accepted, rng)
            name = f"round {number} request {place}"
            asked.append(ChatRequest.of_user(prompt, sample=self._num_asked[prompt], id=name))
            self._num_asked[prompt] += 1
        return asked

    def fill(
        self, pool: InventionPool, journal: Journal, course: Course, after: Callable[[], object]
    ) -> None:
        """Goes on until the pool is full, or ``course`` says why it is not.

        ``after`` is called after each round.

        Raises:
            RunError: The budget is spent, or nothing can be asked.
        """
        while not pool.is_full:
            course.ended_early = self._why_no_more(course)
            if course.ended_early:
                return
            number = course.rounds + 1
            requests = self.requests([each.instruction for each in pool.accepted], number)
            before = pool.num_candidates, len(pool.accepted)
            failed = self._ask(pool, journal, course, requests, number)
            course.rounds, course.requests = number, course.requests + len(requests)
            self._failed_in_a_row = self._failed_in_a_row + 1 if failed == len(requests) else 0
            self._latest.append((pool.num_candidates - before[0], len(pool.accepted) - before[1]))
            after()

    def _ask(
        self,
        pool: InventionPool,
        journal: Journal,
        course: Course,
        requests: Sequence[ChatRequest],
        number: int,
    ) -> int:
        """One round; returns how many of its requests failed."""
        keys = [self._asker.model.key_of(each) for each in requests]
        given_up = journal.given_up(number, keys) or frozenset()
        to_ask = [each for each, key in zip(requests, keys, strict=True) if key not in given_up]
        answers = self._asker.ask(
            to_ask,
            title=f"round {number}",
            total=len(to_ask),
            is_shown=False,
            tally=course.tally,
        )
        failed = []
        for request, key in zip(requests, keys, strict=True):
            if key in given_up or not self._read(pool, course, answers, request, number):
                failed.append(key)
                failure = answers.failure(request)
                course.failures.append(Outcome(number, request, failure=failure))
        answers.close()
        journal.close_round(number, keys, failed)
        return len(failed)

    def _read(
        self,
        pool: InventionPool,
        course: Course,
        answers: Answers,
        request: ChatRequest,
        number: int,
    ) -> bool:
        """Offers a reply's tasks to the pool; False where there is no reply."""
        reply = answers.reply(request)
        if reply is None:
            return False
        if not reply.text.strip():
            course.empty += 1
            course.failures.append(Outcome(number, request, reply))
        for candidate in self._recipe.candidates(reply):
            pool.offer(candidate, round=number)
        return True

    def _why_no_more(self, course: Course) -> str:
        """Why no further round is to be paid for; "" where one is."""
        patience = self._patience
        if self._failed_in_a_row >= _FAILED_IN_A_ROW:
            return f"every request of the last {_FAILED_IN_A_ROW} rounds failed"
        if (
            course.requests >= _AT_LEAST
            and course.failed > self._asker.max_failed * course.requests
        ):
            return (
                f"{course.failed:,} of {course.requests:,} requests failed, more than "
                f"max_failed={self._asker.max_failed:g}"
            )
        if patience.max_rounds is not None and course.rounds >= patience.max_rounds:
            return f"max_rounds={patience.max_rounds} are over"
        if len(self._latest) < patience.rounds:
            return ""
        came, stayed = (sum(each) for each in zip(*self._latest, strict=True))
        if came and stayed >= patience.min_acceptance * came:
            return ""
        share = f"{stayed:,} of {came:,} candidates" if came else "not one readable candidate"
        return (
            f"the last {patience.rounds} rounds brought {share} to accept, less than "
            f"min_acceptance={patience.min_acceptance:g}"
        )
