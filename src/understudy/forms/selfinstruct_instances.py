"""Asks whether a task is a classification, and for examples of it: Self-Instruct's second half.

A classification's examples are written label first, so that all labels come up; any other task's
input first. Structure as in Self-Instruct (examples, then the task), the wording is ours.
"""

from __future__ import annotations

from understudy.forms.form import Form

LABEL = "Class label:"
"""What stands before the label of each example of a classification."""

_JUDGED = (
    ("Decide whether this product review is favourable or not.", True),
    ("Write a polite letter to a landlord about a broken heater.", False),
    ("Which of the four seasons does the poem below speak of?", True),
    ("Shorten the paragraph to one sentence.", False),
    ("Is the number a prime? Answer yes or no.", True),
    ("Explain to a child why the sky is blue.", False),
    ("Sort this support request into billing, delivery or returns.", True),
    ("Translate the menu into Spanish.", False),
    ("Tell which language the sentence is written in: Dutch, Danish or Swedish.", True),
    ("List three arguments for and three against working from home.", False),
    ("Mark the sentence as a fact or an opinion.", True),
    ("Calculate the area of a circle with the given radius.", False),
)

IS_CLASSIFICATION = Form(
    name="is_classification",
    text=(
        "A classification is a task whose answer is one of a few labels that are known beforehand. "
        "Say of the last task below whether it is one: Yes or No, and nothing else.\n\n"
        + "".join(
            f"Task: {task}\nIs it classification? {'Yes' if is_one else 'No'}\n\n"
            for task, is_one in _JUDGED
        )
        + "Task: {instruction}\nIs it classification?"
    ),
)

INPUT_FIRST = Form(
    name="input_first",
    text=(
        "Write up to {number} examples of the last task below: an input that it could be given, "
        "then the right output. Inputs are concrete and differ from each other. Where the task "
        "needs no input, write the output alone, once. Use the task's own language; leave the "
        "headings as they are.\n\n"
        "Task: Turn the sentence into a question.\n"
        "Example 1\nInput: The shop opens at nine.\nOutput: Does the shop open at nine?\n"
        "Example 2\nInput: She has read both books.\nOutput: Has she read both books?\n\n"
        "Task: Name a fruit that grows on trees and explain how to tell that it is ripe.\n"
        "Output: Pears grow on trees. A pear is ripe when the flesh next to the stem gives way "
        "under a gentle press of the thumb.\n\n"
        "Task: Work out how many minutes lie between the two times.\n"
        "Example 1\nInput: From 9:50 to 10:15\nOutput: 25 minutes\n"
        "Example 2\nInput: From 13:00 to 15:30\nOutput: 150 minutes\n"
        "Example 3\nInput: From 23:45 to 0:05\nOutput: 20 minutes\n\n"
        "Task: Correct the spelling of the text.\n"
        "Example 1\nInput: Ther are to many peple hear.\n"
        "Output: There are too many people here.\n\n"
        "Task: {instruction}\n"
    ),
)

OUTPUT_FIRST = Form(
    name="output_first",
    text=(
        "Write up to {number} examples of the last task below, which is a classification: first a "
        "label, then an input that has it. Let every label of the task come up. Where the task "
        "itself holds all that is needed, write the label alone. Use the task's own language; "
        "leave the headings as they are.\n\n"
        "Task: Decide whether this product review is favourable or not.\n"
        "Class label: favourable\nThe kettle boils in a minute and still looks new after a year.\n"
        "Class label: not favourable\nThe handle came off on the second day, and nobody answers "
        "my letters.\n\n"
        "Task: Sort this support request into billing, delivery or returns.\n"
        "Class label: delivery\nMy parcel was to be here on Monday and has not come.\n"
        "Class label: returns\nThe shoes are too small. Where do I send them?\n"
        "Class label: billing\nYou have charged me twice for the same order.\n\n"
        "Task: Is 91 a prime? Answer yes or no.\n"
        "Class label: no\n\n"
        "Task: {instruction}\n"
    ),
)
