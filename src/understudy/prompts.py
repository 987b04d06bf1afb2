"""Every template text, each with a stable hash.

Alpaca's templates are those of its train.py, which GPT-4-LLM reused (Peng et al. 2023, section 2).
``ALPACA_COMPACT`` is the lab's: the same structure with one token for each header, because Alpaca's
full text would be four fifths of every sequence there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_NO_INPUT = frozenset({"", "<noinput>"})


def has_input(text: str | None) -> bool:
    """True when the input field says something: not empty, white space or ``<noinput>``."""
    return text is not None and text.strip().lower() not in _NO_INPUT


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A prompt with slots for the instruction and the input.

    ``response_sep`` stands between the prompt and the response: "" in Alpaca, a line break in
    Alpaca-LoRA.
    """

    name: str
    with_input: tuple[str, str, str]
    without_input: tuple[str, str]
    response_sep: str = ""

    def render(self, instruction: str, input: str | None = "") -> str:
        """The prompt. Values are joined in, never formatted, so braces in them stay as they are.

        >>> ALPACA_COMPACT.render("say the first", "a b")
        '<instruction> say the first <input> a b <response>'
        """
        if has_input(input):
            start, middle, end = self.with_input
            return f"{start}{instruction}{middle}{input}{end}{self.response_sep}"
        start, end = self.without_input
        return f"{start}{instruction}{end}{self.response_sep}"

    @property
    def sha256(self) -> str:
        """Hash of both forms with their slots named, and of the separator."""
        parts = ("{instruction}".join(self.without_input), "{}".join(self.with_input))
        return hashlib.sha256("\x1f".join((*parts, self.response_sep)).encode()).hexdigest()


ALPACA = PromptTemplate(
    name="alpaca",
    with_input=(
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n### Instruction:\n",
        "\n\n### Input:\n",
        "\n\n### Response:",
    ),
    without_input=(
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\n",
        "\n\n### Response:",
    ),
)

ALPACA_COMPACT = PromptTemplate(
    name="alpaca_compact",
    with_input=("<instruction> ", " <input> ", " <response>"),
    without_input=("<instruction> ", " <response>"),
)

_TEMPLATES = {template.name: template for template in (ALPACA, ALPACA_COMPACT)}


def prompt_template(name: str, response_sep: str = "") -> PromptTemplate:
    """The template called ``name``, with another response separator when one is given.

    Raises:
        ValueError: There is no such template.
    """
    if name not in _TEMPLATES:
        raise ValueError(f"no prompt template {name!r}; choose one of {', '.join(_TEMPLATES)}")
    template = _TEMPLATES[name]
    return PromptTemplate(name, template.with_input, template.without_input, response_sep)


def chosen_template(name: str | None, response_sep: str = "") -> PromptTemplate | None:
    """The template that a config names; null where the checkpoint brings its own.

    Raises:
        ValueError: There is no such template.
    """
    return None if name is None else prompt_template(name, response_sep)
