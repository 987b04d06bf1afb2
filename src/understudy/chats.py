"""Conversations as tokens, by the chat template that the model brought.

A conversation is cut where the model begins to answer: at each generation prompt. The parts are
tokenised apart and joined, so the tokens before an answer are those of training and of generation.
Of each part the answer is learned, with the special token that ends its turn. What a person wrote
never becomes a special token: such a text is tokenised alone, as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import TemplateError

from understudy.prompts import ChatTemplate, Message
from understudy.records import Completion, InputError, Instruction

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

_MARK = "\ue000"  # of the private use area: stands for a message that must be read as plain text
_PLACEHOLDER = re.compile(f"{_MARK}([0-9]+)\ue001")
_ANCHORS = ("\n", "a")


class Piece(NamedTuple):
    """A part of a row: tokens that are all learned, or all context."""

    ids: list[int]
    is_learned: bool


class _Segment(NamedTuple):
    """Text to tokenise alone, and what stands right before it, "" at the start of a row."""

    text: str
    before: str
    is_plain: bool


class _Part(NamedTuple):
    """Context, an answer that a special token ends, or one whose end the template leaves open."""

    kind: str
    segments: list[_Segment]


@dataclass(frozen=True)
class ChatTokens:
    """Tokenises conversations under one template.

    Args:
        tokenizer: The model's.
        template: Its chat template, or the one that a checkpoint of ours was trained with.
    """

    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate

    def rows(self, completions: Sequence[Completion]) -> list[list[Piece]]:
        """Each conversation with its answer; nothing follows the last token that is learned.

        Raises:
            InputError: The template refuses a conversation, or does not keep earlier turns.
        """
        talks = [
            self._parts(each.prompt.id, [*self.template.messages(each.prompt), _answer(each)])
            for each in completions
        ]
        return [row[:-1] if not row[-1].is_learned else row for row in self._pieces(talks)]

    def prompts(self, instructions: Sequence[Instruction]) -> list[list[int]]:
        """The ids before each answer: those that training rows begin with.

        Raises:
            InputError: The template refuses a conversation, or does not keep earlier turns.
        """
        talks = [self._parts(each.id, self.template.messages(each)) for each in instructions]
        return [[i for piece in row for i in piece.ids] for row in self._pieces(talks)]

    @cached_property
    def end_id(self) -> int:
        """The token that ends an answer."""
        ((*_, answer),) = self.rows([Completion(Instruction("example", "Hello"), "Hello", "")])
        return answer.ids[-1]

    @cached_property
    def _specials(self) -> Mapping[str, int]:
        """Ids of the special tokens by their text; not the unknown word's, which is no mark."""
        known = self.tokenizer.added_tokens_decoder.items()
        specials = {token.content: key for key, token in known if token.special}
        named = zip(self.tokenizer.all_special_tokens, self.tokenizer.all_special_ids, strict=True)
        specials |= dict(named)
        specials.pop(str(self.tokenizer.unk_token), None)
        return specials

    @cached_property
    def _special(self) -> re.Pattern[str]:
        longest_first = sorted(self._specials, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)))

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        return frozenset(self._specials.values())

    def _parts(self, row: str, messages: Sequence[Message]) -> list[_Part]:
        """The rendered conversation, cut where answers begin."""
        shown, contents = self._with_placeholders(messages)
        answers = [i for i, each in enumerate(shown) if each["role"] == "assistant"]
        cuts: list[str] = []
        for i in answers:
            cuts += (
                self._render(row, shown[:i], is_open=True),
                self._render(row, shown[: i + 1], is_open=False),
            )
        if not answers or answers[-1] < len(shown) - 1:
            cuts.append(self._render(row, shown, is_open=True))
        self._check_prefixes(row, cuts)
        if contents:
            contents = self._as_rendered(row, messages, cuts[-1], contents)
        texts = [cuts[0], *(b[len(a) :] for a, b in pairwise(cuts))]
        head, turns, tails = texts[0], texts[1::2], [*texts[2::2], ""]
        parts = [("context", head)]
        for i, turn, tail in zip(answers, turns, tails, strict=False):
            after = self._after_answer(row, turn, shown[i]["content"])
            if self._special.search(after):
                parts.append(("answer", turn + tail))
            else:
                parts += [("open", turn), ("context", tail)]
        return list(self._segmented(parts, contents))

    def _segmented(
        self, parts: Sequence[tuple[str, str]], contents: Sequence[str]
    ) -> Iterator[_Part]:
        before = ""
        for kind, text in parts:
            segments = []
            for i, piece in enumerate(_PLACEHOLDER.split(text)):
                is_plain = i % 2 == 1
                written = contents[int(piece)] if is_plain else piece
                if written:
                    segments.append(_Segment(written, before, is_plain))
                    before = self._end_of(written)
            yield _Part(kind, segments)

    def _with_placeholders(
        self, messages: Sequence[Message]
    ) -> tuple[list[Message], Sequence[str]]:
        """The messages, and the contents that hold a special token's text, replaced in them."""
        shown: list[Message] = []
        contents: list[str] = []
        for message in messages:
            content = message["content"]
            if _MARK in content or self._special.search(content):
                shown.append({**message, "content": f"{_MARK}{len(contents)}\ue001"})
                contents.append(content)
            else:
                shown.append(message)
        return shown, contents

    def _as_rendered(
        self, row: str, messages: Sequence[Message], shown: str, contents: Sequence[str]
    ) -> Sequence[str]:
        """The replaced contents as the template writes them: as they are, or stripped."""
        is_open = messages[-1]["role"] != "assistant"
        rendered = self._render(row, messages, is_open=is_open)
        for written in (contents, [content.strip() for content in contents]):
            if _filled(shown, written) == rendered:
                return written
        raise InputError(
            f"row {row}: a message holds the text of a special token, and the chat template of "
            f"{self._model} changes it; leave the row out or type prompt=alpaca"
        )

    def _render(self, row: str, messages: Sequence[Message], *, is_open: bool) -> str:
        """The conversation as text; ``is_open`` ends it where the model is to answer."""
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(messages),
                    chat_template=self.template.fixed_text,
                    tokenize=False,
                    add_generation_prompt=is_open,
                    enable_thinking=False,
                )
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise InputError(
                f"row {row}: the chat template of {self._model} refuses this conversation "
                f"({error}); correct or leave out the row, or type prompt=alpaca"
            ) from error

    def _check_prefixes(self, row: str, cuts: Sequence[str]) -> None:
        for shorter, longer in pairwise(cuts):
            if not longer.startswith(shorter):
                raise InputError(
                    f"row {row}: the chat template of {self._model} writes an earlier part of a "
                    "conversation otherwise once more follows (it strips reasoning, or has no "
                    "generation prompt of its own), so answers have no fixed place; use rows of "
                    "one turn, another model, or prompt=alpaca"
                )

    def _after_answer(self, row: str, turn: str, content: str) -> str:
        """What the template writes after an answer, in its turn."""
        answer = content.strip()
        if not turn.lstrip().startswith(answer):
            raise InputError(
                f"row {row}: the chat template of {self._model} does not write the answer right "
                "after its generation prompt (it adds a header or reasoning, or changes the "
                "text), so that would be learned too; use another model or prompt=alpaca"
            )
        return turn.lstrip()[len(answer) :]

    @property
    def _model(self) -> str:
        return model_name(self.tokenizer)

    def _pieces(self, talks: Sequence[Sequence[_Part]]) -> list[list[Piece]]:
        segments = [each for parts in talks for part in parts for each in part.segments]
        ids = iter(self._segment_ids(segments))
        return [
            [
                piece
                for part in parts
                for piece in self._split(part.kind, [i for _ in part.segments for i in next(ids)])
                if piece.ids
            ]
            for parts in talks
        ]

    def _split(self, kind: str, ids: list[int]) -> list[Piece]:
        if kind == "context":
            return [Piece(ids, False)]
        if kind == "open":
            return [Piece([*ids, int(self.tokenizer.eos_token_id)], True)]
        end = 1 + next(at for at, token in enumerate(ids) if token in self._special_ids)
        return [Piece(ids[:end], True), Piece(ids[end:], False)]

    def _segment_ids(self, segments: Sequence[_Segment]) -> list[list[int]]:
        """Ids of each segment as they are inside a text.

        Some tokenizers put a space before a text's first word. So each segment is tokenised behind
        the end of what precedes it, whose ids are then taken off.
        """
        ids: list[list[int]] = [[]] * len(segments)
        for is_plain in (False, True):
            chosen = [at for at, each in enumerate(segments) if each.is_plain == is_plain]
            texts = [segments[at].before + segments[at].text for at in chosen]
            encoded = token_ids(self.tokenizer, texts, is_plain=is_plain)
            for at, row in zip(chosen, encoded, strict=True):
                ids[at] = self._without_anchor(segments[at], row)
        return ids

    def _without_anchor(self, segment: _Segment, ids: list[int]) -> list[int]:
        if not segment.before:
            return ids
        anchor = self._anchor_ids(segment.before, is_plain=segment.is_plain)
        if ids[: len(anchor)] == anchor:
            return ids[len(anchor) :]
        for text in _ANCHORS:  # a token reached over the boundary
            anchor, anchored = token_ids(
                self.tokenizer, [text, text + segment.text], is_plain=segment.is_plain
            )
            if anchored[: len(anchor)] == anchor:
                return anchored[len(anchor) :]
        (alone,) = token_ids(self.tokenizer, [segment.text], is_plain=segment.is_plain)
        return alone

    def _anchor_ids(self, text: str, *, is_plain: bool) -> list[int]:
        key = (text, is_plain)
        if key not in self._known_anchors:
            (self._known_anchors[key],) = token_ids(self.tokenizer, [text], is_plain=is_plain)
        return self._known_anchors[key]

    @cached_property
    def _known_anchors(self) -> dict[tuple[str, bool], list[int]]:
        return {}

    def _end_of(self, text: str) -> str:
        """The last character of ``text``, or the special token that ends it."""
        ends = (special for special in self._specials if text.endswith(special))
        return max(ends, key=len, default=text[-1])


def token_ids(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], *, is_plain: bool
) -> list[list[int]]:
    """Ids of each text, nothing added; plain, a special token written out is only text."""
    if not tokenizer.is_fast:
        if not texts:
            return []
        encoded = tokenizer(
            texts, add_special_tokens=False, split_special_tokens=is_plain, verbose=False
        )
        return list(encoded["input_ids"])
    backend = plain_backend(tokenizer)
    before, backend.encode_special_tokens = backend.encode_special_tokens, is_plain
    try:
        return [row.ids for row in backend.encode_batch_fast(texts, add_special_tokens=False)]
    finally:
        backend.encode_special_tokens = before


def plain_backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """The Rust tokenizer without the padding and truncation that an earlier call left in it."""
    backend: Tokenizer = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return backend


def own_template(tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
    """The chat template that a tokenizer brings.

    Raises:
        InputError: It brings none, or several and none as the default.
    """
    try:
        return ChatTemplate(tokenizer.get_chat_template())
    except ValueError as error:
        raise InputError(
            f"{model_name(tokenizer)} has no chat template; type prompt=alpaca, or take a model "
            "that was trained to chat: model=checkpoint model.path=FOLDER_OR_HUB_ID"
        ) from error


def model_name(tokenizer: PreTrainedTokenizerBase) -> str:
    """Where a tokenizer came from, for error lines."""
    return str(tokenizer.name_or_path) or "a model from scratch"


def _filled(shown: str, contents: Sequence[str]) -> str:
    return _PLACEHOLDER.sub(lambda at: contents[int(at[1])], shown)


def _answer(completion: Completion) -> Message:
    return {"role": "assistant", "content": completion.output}
