"""Asks for new tasks, given a few: both forms of Self-Instruct data (Peng et al. 2023, section 2).

``TASK_BLOCKS`` has the structure of Alpaca's prompt: requirements, three tasks in three numbered
parts each, and the heading of the next. ``TASK_LINES`` has that of Self-Instruct: a numbered list
of instructions alone. The wording is ours; both end where the model is to go on. What is written by
:func:`task_block` and :func:`task_line` is what replies are read by.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.forms.form import Form

NO_INPUT = "<noinput>"
"""What stands for the input of a task that has none."""

BLOCK_MARK = "###"
"""The line between two tasks in blocks."""

TASK_BLOCKS = Form(
    name="task_blocks",
    text=(
        "Write a numbered list of {number} tasks for a language model that reads and writes text "
        "and can do nothing else. They will be used to see how well such models follow "
        "instructions, so the list should be as varied as what people ask for.\n\n"
        "Keep to these rules:\n"
        "- Begin each instruction with another verb than those before it, as far as you can.\n"
        "- Mix the forms: some instructions are commands, others are questions or a short scene "
        "with a request.\n"
        "- Mix the kinds: writing, explaining, summing up, rewriting, sorting into classes, "
        "drawing conclusions, planning, calculating, editing, and others.\n"
        "- A model that has only text can do each of them. None asks to see, hear, make or send "
        "anything that is no text, to wait, to remind, or to act in the world.\n"
        "- Write everything in {language}; leave the three headings as they are.\n"
        "- An instruction is one or two sentences long.\n"
        "- An input is what the instruction is to be carried out on: a concrete, realistic piece "
        "of text of at most 100 words, never a mere placeholder. Many tasks need none; their "
        f"input is {NO_INPUT}.\n"
        "- An output is a complete and correct answer of at most 100 words.\n\n"
        "Here are the first tasks. Go on in exactly this form until the list is complete.\n\n"
        "{tasks}"
    ),
)
"""``tasks`` is written by :func:`begun_blocks`."""

TASK_LINES = Form(
    name="task_lines",
    text=(
        "Below is a list of tasks that people give to a language model that works with text alone. "
        "Go on with it in {language}: one task a line, numbered, each of a kind that is not in the "
        "list yet, understandable without the others.\n\n"
        "{tasks}"
    ),
)
"""``tasks`` is written by :func:`begun_lines`."""


def task_block(number: int, instruction: str, input: str, output: str) -> str:
    """A task in three numbered parts, under its mark.

    >>> print(task_block(2, "Say hello.", "", "Hello."))
    ###
    2. Instruction: Say hello.
    2. Input:
    <noinput>
    2. Output:
    Hello.
    """
    return (
        f"{BLOCK_MARK}\n{number}. Instruction: {instruction}\n"
        f"{number}. Input:\n{input or NO_INPUT}\n{number}. Output:\n{output}"
    )


def task_line(number: int, instruction: str) -> str:
    """An instruction on a line of its own, without the colon that some end with.

    >>> task_line(3, "Translate into French:")
    '3. Translate into French'
    """
    return f"{number}. {' '.join(instruction.split()).rstrip(':')}"


def begun_blocks(tasks: Sequence[tuple[str, str, str]]) -> str:
    """Tasks (instruction, input, output) from 1 on, and the heading of the one to be written."""
    blocks = [task_block(number, *task) for number, task in enumerate(tasks, start=1)]
    return "\n".join([*blocks, f"{BLOCK_MARK}\n{len(tasks) + 1}. Instruction:"])


def begun_lines(instructions: Sequence[str]) -> str:
    """Instructions from 1 on, and the number of the one to be written.

    >>> begun_lines(["Say hello.", "Count to ten."]).splitlines()
    ['1. Say hello.', '2. Count to ten.', '3.']
    """
    lines = [task_line(number, each) for number, each in enumerate(instructions, start=1)]
    return "\n".join([*lines, f"{len(instructions) + 1}."])
