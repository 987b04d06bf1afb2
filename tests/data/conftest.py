"""A closed vocabulary of words, and rows whose lengths are known by counting words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from understudy.data.tokens import TokenTable, token_table
from understudy.encoding import Encoder
from understudy.prompts import ALPACA_COMPACT
from understudy.records import Completion, Instruction

WORDS = ["<s>", "</s>", "<unk>", "<instruction>", "<input>", "<response>", *"abcdefgh"]


@pytest.fixture(scope="session")
def word_encoder() -> Encoder:
    """A row is <s> <instruction> WORDS <response> WORDS </s>: four tokens beside the words."""
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers has none
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>"
    )
    return Encoder(tokenizer, ALPACA_COMPACT, max_length=512)


@pytest.fixture(scope="session")
def make_table(word_encoder: Encoder) -> Callable[[Sequence[int]], TokenTable]:
    """A table whose example i has 4 + lengths[i] tokens, lengths[i] of them supervised."""

    def make(lengths: Sequence[int]) -> TokenTable:
        rows = [
            Completion(Instruction(str(i), "a"), " ".join("b" * (length - 1)), "teacher")
            for i, length in enumerate(lengths)
        ]
        return token_table(rows, word_encoder, cache_dir=None)

    return make
