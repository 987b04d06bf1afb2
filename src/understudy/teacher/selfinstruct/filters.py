"""Which invented instructions and instances are left out, and for what reason.

The rules are those of Self-Instruct's and Alpaca's scripts. The rule of the first character speaks
of English alone: it would leave out every Chinese instruction. Chinese lengths are counted in
characters, and what text cannot give has Chinese words of its own.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from understudy.metrics.rouge import num_words
from understudy.records import InputError

SELF_INSTRUCT_BLACKLIST = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps",
    "draw", "plot", "go to",
)  # fmt: skip
ALPACA_BLACKLIST = (*SELF_INSTRUCT_BLACKLIST, "video", "audio", "music", "flowchart", "diagram")
CHINESE_BLACKLIST = (
    "图片", "图像", "图表", "照片", "文件", "地图", "绘制", "画出", "画一", "视频", "音频", "音乐",
    "流程图", "示意图",
)  # fmt: skip
"""Ours: neither script knew Chinese. Chinese has no spaces, so these are looked for anywhere."""

_MIN_WORDS, _MAX_WORDS = 3, 150
_PROGRAMS = {"en": ("Write a program",), "zh": ("写一个程序", "编写一个程序", "编写程序")}
_PUNCTUATION = string.punctuation + "，。！？；：、（）《》“”‘’「」【】…—"  # noqa: RUF001 - Chinese
_LETTER = r"[^\W\u3400-\u9fff]"
LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Instance:
    """What an instruction is carried out on, "" being nothing, and the answer."""

    input: str
    output: str


@dataclass(frozen=True)
class InstructionFilter:
    """Finds the first fault of an instruction.

    Attributes:
        lang: "en" or "zh".
        blacklist: What text alone cannot give: whole words, in any case.

    Raises:
        InputError: The language is another one.
    """

    lang: str = "en"
    blacklist: Sequence[str] = ALPACA_BLACKLIST
    _forbidden: re.Pattern[str] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        """Compiles the list once."""
        if self.lang not in LANGUAGES:
            raise InputError(
                f"invention.lang={self.lang} is unknown; the filters know {' and '.join(LANGUAGES)}"
            )
        object.__setattr__(self, "_forbidden", _whole_words(self.blacklist))

    def fault(self, instruction: str) -> str:
        """Why the instruction is left out; "" where it is not.

        >>> InstructionFilter().fault("Draw a circle on the map.")
        'blacklisted'
        >>> InstructionFilter().fault("Withdraw the filed complaint politely.")
        ''
        """
        length = num_words(instruction, lang=self.lang)
        first = instruction[:1]
        rules = (
            ("too_short", length <= _MIN_WORDS),
            ("too_long", length > _MAX_WORDS),
            ("blacklisted", bool(self._forbidden and self._forbidden.search(instruction))),
            ("write_a_program", instruction.startswith(_PROGRAMS[self.lang])),
            ("starts_with_punctuation", first in _PUNCTUATION),
            ("starts_non_ascii", self.lang == "en" and not first.isascii()),
        )
        return next((reason for reason, applies in rules if applies), "")


def instance_fault(instance: Instance) -> str:
    """Why an instance is left out; "" where it is not."""
    rules = (
        ("empty_output", not instance.output.strip()),
        ("input_is_output", instance.input == instance.output),
        ("ends_with_colon", any(_ends_with_colon(text) for text in _texts(instance))),
    )
    return next((reason for reason, applies in rules if applies), "")


def sifted(
    instances: Iterable[Instance], *, most: int = 5
) -> tuple[list[Instance], list[tuple[Instance, str]]]:
    """The instances of an instruction that stay, in their order, and the others with the reason.

    One input with two outputs discards them all: the instruction does not say what it wants. An
    empty input may have several outputs.
    """
    kept: list[Instance] = []
    dropped: list[tuple[Instance, str]] = []
    for each in instances:
        fault = instance_fault(each) or ("duplicate_instance" if each in kept else "")
        if fault:
            dropped.append((each, fault))
        else:
            kept.append(each)
    num_outputs = Counter(each.input for each in kept if each.input)
    if any(count > 1 for count in num_outputs.values()):
        return [], [*dropped, *((each, "contradictory") for each in kept)]
    return kept[:most], [*dropped, *((each, "more_than_max") for each in kept[most:])]


def _whole_words(words: Sequence[str]) -> re.Pattern[str] | None:
    """Words of an alphabet as whole words, CJK neighbours being none of them; others anywhere."""
    if not words:
        return None
    patterns = (
        rf"(?<!{_LETTER}){re.escape(word)}(?!{_LETTER})" if word.isascii() else re.escape(word)
        for word in words
    )
    return re.compile("|".join(patterns), re.IGNORECASE)


def _texts(instance: Instance) -> tuple[str, str]:
    return instance.input.strip(), instance.output.strip()


def _ends_with_colon(text: str) -> bool:
    return text.endswith((":", "："))  # noqa: RUF001 - the Chinese one, too
