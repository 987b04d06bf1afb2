"""The lab's inventor: new tasks and examples of them, with every fault that the filters look for.

What it plants is known: each item says which filter must drop it, so a run's counts can be checked
exactly. Tasks that are meant to pass are made of words that nobody else has, so none resembles
another; lab-like ones mix the lab's own words, so it depends on the others whether they are new.
It answers the forms of :mod:`understudy.forms.selfinstruct`; a reply depends on the prompt and the
draw alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from understudy.forms.selfinstruct import TASK_BLOCKS, TASK_LINES, task_block, task_line
from understudy.forms.selfinstruct_instances import INPUT_FIRST, IS_CLASSIFICATION, OUTPUT_FIRST
from understudy.lab.families import FAMILIES
from understudy.lab.invention.instances import Example, examples_of, is_label_task, write_examples
from understudy.lab.invention.nonsense import nonsense_chinese, nonsense_word
from understudy.lab.lexicon import CHINESE_BY_ENGLISH
from understudy.lab.world import World

LAST_BLOCK, LAST_LINE = 20, 16
"""The items at which the recipes stop: the inventor goes on beyond, what follows is never read."""

_FAULTS = (
    "too_similar", "too_similar", "too_short", "too_long", "blacklisted", "write_a_program",
    "starts_with_punctuation", "starts_non_ascii",
)  # fmt: skip
_BLOCK_FAULTS = ("malformed", "empty_output", "input_is_output", "ends_with_colon")
_FAULT_SHARE, _LAB_LIKE_SHARE, _RUNS_ON_SHARE, _HEADING_SHARE = 0.3, 0.15, 0.15, 0.5
_SHOWN_BLOCK = re.compile(r"^\d+\. Instruction: (.+)$", re.MULTILINE)
_SHOWN_LINE = re.compile(r"^\d+\. (.+)$", re.MULTILINE)
_BLACKLIST = ("graph", "Picture", "images", "file", "map", "plot")
_CHINESE_BLACKLIST = ("图片", "图表", "文件", "地图")
_MAX_WORDS = 150
_RUN_ON_WORDS = 6000
_OUTPUT_WORDS = 6


@dataclass(frozen=True, slots=True)
class Item:
    """A task of an invented list.

    Attributes:
        number: Its number in the list.
        instruction: What it asks for.
        input: What on; "" is nothing.
        output: Its answer, where the form asks for one.
        fault: The filter that must drop it; "" for one that must pass, null where that depends on
            the tasks before it.
    """

    number: int
    instruction: str
    input: str = ""
    output: str = ""
    fault: str | None = ""


@dataclass(frozen=True, slots=True)
class Invention:
    """A reply, before any stop sequence or bound of tokens.

    Attributes:
        text: What is written.
        items: The tasks in it, where it is a list of tasks.
        examples: The examples in it, where it is a list of examples.
        runs_on: It does not end by itself, and so is cut by any sensible bound.
    """

    text: str
    items: tuple[Item, ...] = ()
    examples: tuple[Example, ...] = ()
    runs_on: bool = False


def invent(prompt: str, world: World, *, draw: int = 0) -> Invention | None:
    """The inventor's reply to one of the forms; null where the prompt is none of them.

    Args:
        prompt: The whole message of the user.
        world: Whose symbols stand in the inputs.
        draw: Another number is another reply to the same prompt.
    """
    rng = random.Random(f"{world.seed} {draw} {prompt}")
    if (slots := TASK_BLOCKS.taken_apart(prompt)) is not None:
        return _blocks(rng, world, slots["tasks"], _lang(slots["language"]))
    if (slots := TASK_LINES.taken_apart(prompt)) is not None:
        return _lines(rng, slots["tasks"], _lang(slots["language"]))
    if (slots := IS_CLASSIFICATION.taken_apart(prompt)) is not None:
        return Invention(" Yes" if is_label_task(slots["instruction"]) else "No.")
    for form in (INPUT_FIRST, OUTPUT_FIRST):
        if (slots := form.taken_apart(prompt)) is not None:
            examples, runs_on = examples_of(slots["instruction"], world, draw)
            text = write_examples(examples, labels_first=form is OUTPUT_FIRST, runs_on=runs_on)
            return Invention(text, examples=examples, runs_on=runs_on)
    return None


def _lang(language: str) -> str:
    return "zh" if language == "Chinese" else "en"


def _blocks(rng: random.Random, world: World, tasks: str, lang: str) -> Invention:
    """Tasks in three parts; where it runs on, the last output does not end."""
    shown = _SHOWN_BLOCK.findall(tasks)
    first = len(shown) + 1
    runs_on = rng.random() < _RUNS_ON_SHARE
    last = rng.randint(first + 8, LAST_BLOCK - 2) if runs_on else LAST_BLOCK
    faults = (*_FAULTS, *_BLOCK_FAULTS)
    items = [
        _answered(rng, world, _item(rng, number, shown, faults, lang), lang)
        for number in range(first, last + 1)
    ]
    text = "\n".join(_as_block(item) for item in items)
    if runs_on:
        ended = items[-1]
        more = _many(rng, _RUN_ON_WORDS)
        items[-1] = Item(ended.number, ended.instruction, ended.input, fault="cut_by_length")
        text = "\n".join([*map(_as_block, items[:-1]), _as_block(items[-1]) + more])
    # As a model that completes does it, or one that chats.
    heading = f"###\n{first}. Instruction:"
    text = text.removeprefix(heading) if rng.random() >= _HEADING_SHARE else text
    return Invention(text, tuple(items), runs_on=runs_on)


def _lines(rng: random.Random, tasks: str, lang: str) -> Invention:
    """Instructions alone; where it runs on, one of them does not end."""
    shown = _SHOWN_LINE.findall(tasks)
    first = len(shown) + 1
    runs_on = rng.random() < _RUNS_ON_SHARE
    last = rng.randint(first + 2, LAST_LINE - 2) if runs_on else LAST_LINE + 1
    items = [_item(rng, number, shown, _FAULTS, lang) for number in range(first, last + 1)]
    lines = [task_line(item.number, item.instruction) for item in items]
    if runs_on:
        items = [Item(each.number, each.instruction, fault="cut_by_length") for each in items]
        lines[-1] += " " + _many(rng, _RUN_ON_WORDS)
    text = "\n".join(lines)
    text = text.removeprefix(f"{first}.") if rng.random() >= _HEADING_SHARE else text
    return Invention(text, tuple(items), runs_on=runs_on)


def _item(
    rng: random.Random, number: int, shown: list[str], faults: tuple[str, ...], lang: str
) -> Item:
    place = rng.random()
    if place < _FAULT_SHARE:
        fault = rng.choice(faults)
        if lang != "en" and fault == "starts_non_ascii":
            fault = "too_similar"  # no fault of a Chinese task
        return Item(number, _faulty(rng, fault, shown, lang), fault=fault)
    if place < _FAULT_SHARE + _LAB_LIKE_SHARE:
        return Item(number, _lab_like(rng, lang), fault=None)
    return Item(number, _novel(rng, lang))


def _answered(rng: random.Random, world: World, item: Item, lang: str) -> Item:
    """The item with an input, every other time, and an output; faulty where that is its fault."""
    symbols = " ".join(rng.choices(world.symbols.letters, k=5))
    given = symbols if rng.random() < 0.5 else ""
    words = list(_some(rng, _OUTPUT_WORDS, lang))
    output = ("" if lang == "zh" else " ").join(words)
    if item.fault == "empty_output":
        output = ""
    elif item.fault == "input_is_output":
        given = output = symbols
    elif item.fault == "ends_with_colon":
        output += ":"
    return Item(item.number, item.instruction, given, output, item.fault)


def _as_block(item: Item) -> str:
    block = task_block(item.number, item.instruction, item.input, item.output)
    if item.fault != "malformed":
        return block
    return block.replace(f"{item.number}. Output:\n", "")


def _faulty(rng: random.Random, fault: str, shown: list[str], lang: str) -> str:
    """An instruction with one fault; with a fault of the instance, one that has none."""
    if fault == "too_similar":
        copied = rng.choice(shown)
        is_long_enough = not copied.isascii() or len(copied.split()) > 3
        return copied if is_long_enough and rng.random() < 0.5 else _nearly(rng, copied, lang)
    task = _novel(rng, lang)
    return _faulty_chinese(rng, fault, task) if lang == "zh" else _faulty_english(rng, fault, task)


def _faulty_english(rng: random.Random, fault: str, task: str) -> str:
    return {
        "too_short": f"Blend {nonsense_word(rng)} {nonsense_word(rng)}",
        "too_long": " ".join([task, *_some(rng, _MAX_WORDS)]),
        "blacklisted": f"{task} in a {rng.choice(_BLACKLIST)}",
        "write_a_program": f"Write a program that will {task.lower()}",
        "starts_with_punctuation": f"- {task}",
        "starts_non_ascii": f"Égal: {task}",
    }.get(fault, task)


def _faulty_chinese(rng: random.Random, fault: str, task: str) -> str:
    return {
        "too_short": task[:3],
        "too_long": "".join([task, *_some(rng, _MAX_WORDS, "zh")]),
        "blacklisted": task + rng.choice(_CHINESE_BLACKLIST),
        "write_a_program": f"写一个程序{task}",
        "starts_with_punctuation": f"- {task}",
    }.get(fault, task)


def _nearly(rng: random.Random, instruction: str, lang: str) -> str:
    """One word more at the end: F = 2m / (2m + 1), above .7 from two words on."""
    if lang == "zh":
        return instruction + nonsense_chinese(rng)
    return f"{instruction} {nonsense_word(rng)}"


def _novel(rng: random.Random, lang: str) -> str:
    """A task that shares three small words, and perhaps its verb, with any other."""
    if lang == "zh":
        return "".join(_some(rng, 14, "zh"))
    one, two, three, four, five = _some(rng, 5)
    verb = rng.choice(_VERBS).title()
    return f"{verb} the {one} {two} of {three} {four} for {five}"


def _lab_like(rng: random.Random, lang: str) -> str:
    """A task of the lab's own words, which may have been there in other words."""
    words = [rng.choice(_VERBS), "the", rng.choice(_NOUNS), "of", "the", rng.choice(_NOUNS)]
    if lang == "zh":
        return "".join(CHINESE_BY_ENGLISH[word] for word in words)
    return " ".join(words)


def _some(rng: random.Random, count: int, lang: str = "en") -> Iterator[str]:
    draw = nonsense_chinese if lang == "zh" else nonsense_word
    return (draw(rng) for _ in range(count))


def _many(rng: random.Random, count: int) -> str:
    """A text that does not end, quickly made."""
    return " ".join(rng.choices([nonsense_word(rng) for _ in range(50)], k=count))


_PARAPHRASES = [words.split() for each in FAMILIES.values() for words in each.paraphrases]
_VERBS = sorted({words[0] for words in _PARAPHRASES})
_NOUNS = sorted({words[-1] for words in _PARAPHRASES})
