"""Reads replies: lists of tasks, yes or no, examples. What cannot be read is said, never guessed.

A reply may go on where the prompt ended, as a model that completes does, or begin with the heading
again, after a sentence or not, as one that chats does. Items are told by their numbers, each one
more than that before it, so a numbered list within an item stays in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from understudy.forms.selfinstruct_instances import LABEL
from understudy.prompts import has_input
from understudy.teacher.selfinstruct.filters import Instance

_BLOCK = re.compile(r"^[ \t#*]*(\d+)\s?[.)]\s*\**\s*Instruction\s*:\**", re.MULTILINE)
_LINE = re.compile(r"^[ \t]*(\d+)\s?[.)](?=\s)", re.MULTILINE)
_PART = r"^[ \t#*]*{number}\s?[.)]\s*\**\s*{name}\s*:\**"
_MARKS = re.compile(r"(\n\s*#+\s*)+$")
_YES_OR_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_EXAMPLE = re.compile(r"^[ \t#*]*Example\s*\d+\s*[.:)]?\**", re.MULTILINE)
_OUTPUT = re.compile(r"^[ \t*]*Output\s*\d*\s*:\**", re.MULTILINE)
_INPUT = re.compile(r"^[ \t*]*Input\s*\d*\s*:\**", re.MULTILINE)
_LABEL = re.compile(rf"^[ \t*]*{LABEL}\**", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task that a reply proposes.

    Attributes:
        instruction: What it asks for.
        instance: Its input and output, where the reply has one.
        fault: Why it is none, "" where nothing speaks against it.
    """

    instruction: str
    instance: Instance | None = None
    fault: str = ""


def read_blocks(text: str, first: int, *, stop: int, is_cut: bool) -> list[Candidate]:
    """The tasks of a reply in three parts each.

    Args:
        text: The reply.
        first: The number of the first task that was asked for.
        stop: The number at which the model was to stop.
        is_cut: The reply was cut by its length, so its last task is not whole.
    """
    found = [
        _beyond(_block(number, body), number, stop)
        for number, body in _numbered(_BLOCK, text, first)
    ]
    if is_cut and found:
        found[-1] = Candidate(found[-1].instruction, found[-1].instance, "cut_by_length")
    return found


def read_lines(text: str, first: int, *, stop: int, is_cut: bool) -> list[Candidate]:
    """The instructions of a reply, a line each; all of a reply that was cut are faulty.

    Arguments are those of :func:`read_blocks`.
    """
    found = [
        _beyond(Candidate(" ".join(body.split())), number, stop)
        for number, body in _numbered(_LINE, text, first)
    ]
    found = [each for each in found if each.instruction]
    return (
        [Candidate(each.instruction, fault="cut_by_length") for each in found] if is_cut else found
    )


def read_yes_or_no(text: str) -> bool | None:
    """What a reply begins with; null where it is neither yes nor no.

    >>> read_yes_or_no(" Yes."), read_yes_or_no("NO"), read_yes_or_no("Not sure")
    (True, False, None)
    """
    found = _YES_OR_NO.match(text)
    return None if found is None else found.group(1).lower() == "yes"


def read_examples(text: str, *, is_cut: bool) -> list[Instance | None]:
    """The examples of a task, input first; null for one without an output, or cut by its length."""
    if _EXAMPLE.search(text):
        chunks = [chunk for chunk in _EXAMPLE.split(text)[1:] if chunk.strip()]
    else:
        chunks = [text]
    return _without_cut([_pair(chunk) for chunk in chunks], is_cut=is_cut)


def read_labelled(text: str, *, is_cut: bool) -> list[Instance | None]:
    """The examples of a classification, label first; null for what has none, or is cut.

    A label stands on the line of its heading; where nothing does, the output is empty.
    """
    chunks = _LABEL.split(text)[1:]
    if not chunks:
        return [None]
    parts = [chunk.partition("\n") for chunk in chunks]
    return _without_cut(
        [Instance(_said(given), label.strip()) for label, _, given in parts], is_cut=is_cut
    )


def _without_cut(found: list[Instance | None], *, is_cut: bool) -> list[Instance | None]:
    return [*found[:-1], None] if is_cut else found


def _numbered(heading: re.Pattern[str], text: str, first: int) -> list[tuple[int, str]]:
    """Numbers and bodies: from the heading of item ``first`` on, else from the reply's beginning.

    Headings count as far as each has the number after that of the one before.
    """
    found = list(heading.finditer(text))
    begins_with_one = bool(found) and not text[: found[0].start()].strip()
    fitting = [each for each in found if int(each.group(1)) == first]
    start = fitting[0] if fitting else found[0] if begins_with_one else None
    number, begins = (first, 0) if start is None else (int(start.group(1)), start.end())
    items = []
    for each in found:
        if each.start() >= begins and int(each.group(1)) == number + 1:
            items.append((number, text[begins : each.start()]))
            number, begins = number + 1, each.end()
    return [*items, (number, text[begins:])] if text.strip() else []


def _block(number: int, body: str) -> Candidate:
    """The task of an item; one without its own two further headings has no instance."""
    given = re.search(_PART.format(number=number, name="Input"), body, re.MULTILINE)
    answer = re.search(_PART.format(number=number, name="Output"), body, re.MULTILINE)
    if given is None or answer is None or answer.start() < given.end():
        first = given or answer
        return Candidate(_whole(body[: first.start()] if first else body), fault="malformed")
    return Candidate(
        _whole(body[: given.start()]),
        Instance(_said(_whole(body[given.end() : answer.start()])), _whole(body[answer.end() :])),
    )


def _whole(text: str) -> str:
    """The text without white space around it and the mark of the next task."""
    return _MARKS.sub("", text.rstrip()).strip()


def _said(given: str) -> str:
    return given.strip() if has_input(given) else ""


def _beyond(candidate: Candidate, number: int, stop: int) -> Candidate:
    if number < stop:
        return candidate
    return Candidate(candidate.instruction, candidate.instance, "beyond_stop")


def _pair(text: str) -> Instance | None:
    found = _OUTPUT.search(text)
    if found is None:
        return None
    given = _INPUT.sub("", text[: found.start()], count=1)
    answer = _OUTPUT.split(text[found.end() :])[0]
    return Instance(_said(given), _INPUT.split(answer)[0].strip())
