"""How long answers are, before there are any: what a plan's expected cost rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from understudy.chat.asking.token_counts import token_counter
from understudy.data.instructions import InstructionFile
from understudy.records import InputError, Instruction, SourceRows, instruction_id
from understudy.teacher.instructions import AnySource, AskedInstructions

_ALPACA_INSTRUCTIONS = {
    "en": "Describe in two or three sentences what makes a good answer to question {number}.",
    "zh": "请用两三句话描述第{number}个问题的好答案应该是什么样的。",
}
"""About as long as Alpaca's instructions with their inputs are on average."""

_ANSWER_TOKENS = {"en": 160.0, "zh": 240.0}
"""Of GPT-4's answers to Alpaca's instructions, on average of some 1,000 published ones of each."""

_MOST_LOOKED_AT = 2000


@dataclass(frozen=True)
class StandIns:
    """Instructions in place of those that are not at hand, with what is assumed of them."""

    prompts: Sequence[Instruction]
    expected_tokens: float
    in_words: str


def stand_ins(count: int, lang: str) -> StandIns:
    """So many different instructions of Alpaca's average length."""
    texts = (_ALPACA_INSTRUCTIONS[lang].format(number=number) for number in range(count))
    prompts = tuple(
        Instruction(id=instruction_id(text), instruction=text, lang=lang) for text in texts
    )
    tokens = _ANSWER_TOKENS[lang]
    in_words = (
        f"the data is not here: prompts as long as Alpaca's on average, answers of {tokens:.0f} "
        "tokens as GPT-4's are"
    )
    return StandIns(prompts, tokens, in_words)


def expected_tokens(
    source: AnySource, asked: AskedInstructions, tokenizer: str | None
) -> tuple[float, str]:
    """Tokens of an answer on average, and where that comes from.

    As the answers have that the source holds already, another teacher's; else as GPT-4's have.
    """
    outputs = _outputs(source, asked)
    if outputs:
        counter = token_counter(tokenizer)
        mean = sum(map(counter, outputs)) / len(outputs)
        return mean, f"answers as long as those that the data holds: {mean:,.0f} tokens on average"
    is_chinese = all(prompt.lang == "zh" for prompt in asked.prompts)
    tokens = _ANSWER_TOKENS["zh" if is_chinese else "en"]
    return tokens, f"answers of {tokens:.0f} tokens, as GPT-4's to Alpaca's instructions are"


def _outputs(source: AnySource, asked: AskedInstructions) -> list[str]:
    """Answers of the source to the first of what is asked; none where it holds none."""
    if isinstance(source, InstructionFile):
        return []
    try:
        read = source.read()
    except InputError:  # a row without an answer, which asking does not need
        return []
    if not isinstance(read, SourceRows):
        return []
    wanted = {prompt.id for prompt in asked.prompts[:_MOST_LOOKED_AT]}
    return [row.output for row in read.rows if row.prompt.id in wanted]
