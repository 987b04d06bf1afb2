"""Token rows against ids worked out by hand, and what must hold for any row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from understudy.encoding import OVERLENGTH, EncodedRows, Encoder, tokenizer_sha256
from understudy.models.tokenizers import TrainedBPE
from understudy.prompts import ALPACA_COMPACT, PromptTemplate
from understudy.records import Completion, InputError, Instruction

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "<instruction>", "<input>", "<response>", *"abcdefgh"]
PAD, BOS, EOS, UNK, INST, INPUT, RESP, A, B, C, D, E, F, G, H = range(15)


def fast_tokenizer(backend: Tokenizer, **special: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers has none here
        tokenizer_object=backend, **special
    )


def word_tokenizer(bos: str | None = "<s>") -> PreTrainedTokenizerFast:
    """One id a word; ``bos`` is what it puts before a text."""
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, WORDS.index(bos))]
        )
    return fast_tokenizer(backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


TOKENIZER = word_tokenizer()


def encoder(
    max_length: int = 512,
    overlength: str = "truncate_response",
    *,
    tokenizer: PreTrainedTokenizerBase = TOKENIZER,
    train_on_inputs: bool = False,
    max_dropped_fraction: float = 1.0,
) -> Encoder:
    return Encoder(
        tokenizer, ALPACA_COMPACT, max_length, overlength, train_on_inputs, max_dropped_fraction
    )


def completion(instruction: str, given_input: str, output: str, key: str = "x") -> Completion:
    return Completion(Instruction(key, instruction, given_input), output, "teacher")


def num_prompts(rows: EncodedRows) -> list[int]:
    """Leading tokens of each row without a label; all that follow them have one."""
    masks = [rows.mask(index).tolist() for index in range(len(rows))]
    counts = [mask.index(True) for mask in masks]
    assert all(all(mask[count:]) for mask, count in zip(masks, counts, strict=True))
    return counts


ASKED = completion("a b", "c d e", "f g")
ASKED_PROMPT = [BOS, INST, A, B, INPUT, C, D, E, RESP]


def test_a_row_is_bos_prompt_response_eos_with_the_response_and_eos_supervised() -> None:
    rows = encoder().encode([ASKED, completion("h", "", "a", "y")])
    assert rows.row(0).tolist() == [*ASKED_PROMPT, F, G, EOS]
    assert rows.row(1).tolist() == [BOS, INST, H, RESP, A, EOS]
    assert rows.ids == ("x", "y")
    assert num_prompts(rows) == [9, 4]
    assert rows.num_supervised.tolist() == [3, 2]
    assert (rows.input_ids.dtype.name, dict(rows.dropped), dict(rows.truncated)) == (
        "int32",
        {},
        {},
    )


@pytest.mark.parametrize(("bos", "ids"), [("<s>", (BOS,)), ("</s>", (EOS,)), (None, ())])
def test_the_tokenizer_says_what_stands_first(bos: str | None, ids: tuple[int, ...]) -> None:
    coder = encoder(tokenizer=word_tokenizer(bos))
    assert coder.bos_ids == ids
    assert coder.encode([ASKED]).row(0).tolist() == [*ids, *ASKED_PROMPT[1:], F, G, EOS]


def test_prompts_to_generate_from_are_the_prompts_of_training() -> None:
    coder = encoder()
    row = coder.encode([ASKED])
    assert coder.prompt_ids([ASKED.prompt]) == [row.row(0)[: num_prompts(row)[0]].tolist()]


def test_no_token_reaches_over_the_boundary() -> None:
    vocab = {"</s>": 0, ":": 1, "a": 2, ":a": 3}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[(":", "a")]))
    tokenizer = fast_tokenizer(backend, eos_token="</s>")
    template = PromptTemplate("t", ("", "", ":"), ("", ":"))
    assert tokenizer("a:a")["input_ids"] == [2, 3]
    rows = Encoder(tokenizer, template).encode([completion("a", "", "a")])
    assert (rows.row(0).tolist(), num_prompts(rows)) == ([2, 1, 2, 0], [2])


def test_training_on_inputs_learns_all_but_the_first_token() -> None:
    rows = encoder(train_on_inputs=True).encode([ASKED])
    assert (num_prompts(rows), rows.num_supervised.tolist()) == ([1], [11])


def test_a_cut_response_loses_its_end_token() -> None:
    rows = encoder(11).encode([ASKED])
    assert rows.row(0).tolist() == [*ASKED_PROMPT, F, G]
    assert dict(rows.truncated) == {"x": "truncated_response"}


def test_a_prompt_that_fills_the_window_is_dropped_and_counted() -> None:
    rows = encoder(9).encode([ASKED, completion("h", "", "a", "y")])
    assert (rows.ids, dict(rows.dropped)) == (("y",), {"x": "prompt_fills_window"})


def test_a_longer_row_is_dropped_and_counted() -> None:
    rows = encoder(11, "drop").encode([ASKED, completion("h", "", "a", "y")])
    assert (rows.ids, dict(rows.dropped)) == (("y",), {"x": "overlength"})
    assert len(encoder(12, "drop").encode([ASKED])) == 1


def test_a_longer_row_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"row x of teacher has 12 tokens.*max_length=11"):
        encoder(11, "error").encode([ASKED])


def test_a_prompt_cut_from_the_left_keeps_header_end_and_response() -> None:
    rows = encoder(8, "truncate_prompt_left").encode([ASKED])
    assert rows.row(0).tolist() == [BOS, INST, D, E, RESP, F, G, EOS]
    assert (num_prompts(rows), dict(rows.truncated)) == ([5], {"x": "truncated_prompt"})


def test_the_templates_end_is_never_cut() -> None:
    template = PromptTemplate("t", ("", " ", " <response> a"), ("", " <response> a"))
    coder = Encoder(word_tokenizer(None), template, 5, "truncate_prompt_left", False, 1)
    rows = coder.encode([completion("b c d", "", "e"), completion("b", "", "e f g", "y")])
    assert (rows.ids, rows.row(0).tolist()) == (("x",), [D, RESP, A, E, EOS])
    assert dict(rows.dropped) == {"y": "response_fills_window"}


def test_a_response_that_leaves_no_room_for_the_header_is_dropped() -> None:
    rows = encoder(5, "truncate_prompt_left").encode([ASKED, completion("h", "", "", "y")])
    assert (rows.ids, dict(rows.dropped)) == (("y",), {"x": "response_fills_window"})


def test_more_than_the_allowed_share_dropped_stops_with_the_counts() -> None:
    rows = [completion("h", "", "a", str(i)) for i in range(98)]
    too_long = [ASKED, completion("a b", "c d e", "f", "z")]
    assert len(encoder(9, "drop", max_dropped_fraction=0.02).encode(rows + too_long)) == 98
    with pytest.raises(InputError, match=r"2 of 100 rows \(2.0%\).*overlength: 2.*more than 1.0%"):
        encoder(9, "drop", max_dropped_fraction=0.01).encode(rows + too_long)


def test_no_supervised_token_left_is_a_clear_stop() -> None:
    with pytest.raises(
        InputError, match=r"no supervised token is left: 1 rows.*prompt_fills_window"
    ):
        encoder(4).encode([ASKED])
    with pytest.raises(InputError, match="no supervised token is left: 0 rows"):
        encoder().encode([])


def test_an_empty_prompt_gives_its_first_token_no_label() -> None:
    template = PromptTemplate("bare", ("", " ", ""), ("", ""))
    coder = Encoder(word_tokenizer(None), template, max_dropped_fraction=1)
    rows = coder.encode([completion("", "", "a b"), completion("", "", "", "y")])
    assert (rows.row(0).tolist(), num_prompts(rows)) == ([A, B, EOS], [1])
    assert dict(rows.dropped) == {"y": "no_supervised_token"}


def test_padding_and_truncation_of_an_earlier_call_change_nothing() -> None:
    tokenizer = word_tokenizer()
    coder = encoder(tokenizer=tokenizer)
    ids, sha256 = coder.encode([ASKED]).row(0).tolist(), tokenizer_sha256(tokenizer)
    tokenizer(["a b c d", "a"], padding="max_length", truncation=True, max_length=2)
    assert tokenizer_sha256(tokenizer) == sha256
    tokenizer(["a b c d", "a"], padding="max_length", truncation=True, max_length=2)
    assert coder.encode([ASKED]).row(0).tolist() == ids


def test_a_slow_tokenizer_is_encoded_too() -> None:
    tokenizer = ByT5Tokenizer()
    template = PromptTemplate("t", ("", "|", ":"), ("", ":"))
    coder = Encoder(tokenizer, template)
    rows = coder.encode([completion("a", "b", "cd")])
    assert not tokenizer.is_fast
    assert coder.bos_ids == ()
    assert rows.row(0).tolist() == [ord(char) + 3 for char in "a|b:cd"] + [tokenizer.eos_token_id]
    assert tokenizer_sha256(tokenizer) == tokenizer_sha256(ByT5Tokenizer())


def test_every_choice_that_changes_ids_changes_the_hash() -> None:
    coders = [encoder(), encoder(11), encoder(overlength="drop"), encoder(train_on_inputs=True)]
    coders.append(encoder(tokenizer=word_tokenizer(None)))
    coders.append(Encoder(TOKENIZER, PromptTemplate("t", ("", "", ""), ("", "")), 512))
    assert len({coder.sha256 for coder in coders}) == len(coders)
    assert encoder().sha256 == encoder(tokenizer=word_tokenizer()).sha256


def test_the_pieces_of_a_row_say_which_are_learned() -> None:
    coder = encoder()
    row = coder.encode([ASKED])
    pieces = coder.labelled_pieces(row.row(0), row.mask(0))
    assert pieces == [
        ("<s> <instruction> a b <input> c d e <response>", False),
        ("f g </s>", True),
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"overlength": "trim"}, "overlength='trim' is unknown; choose one of drop, "),
        ({"max_length": 1}, "max_length=1 has no room"),
        ({"max_dropped_fraction": 2.0}, "max_dropped_fraction=2.0 is not a share"),
    ],
)
def test_values_that_cannot_work_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Encoder(TOKENIZER, ALPACA_COMPACT, **wrong)  # type: ignore[arg-type]  # one of several types


def test_a_tokenizer_without_an_end_token_is_refused() -> None:
    backend = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(InputError, match="no end token"):
        Encoder(fast_tokenizer(backend), ALPACA_COMPACT)


texts = st.lists(st.sampled_from("abcdefgh"), max_size=9).map(" ".join)
rows_of_texts = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=6)


@given(rows_of_texts, st.integers(2, 24), st.sampled_from(OVERLENGTH[:3]))
def test_any_row_fits_has_labels_and_is_accounted_for(
    fields: list[tuple[str, str, str]], max_length: int, policy: str
) -> None:
    asked = [completion(*each, key=str(i)) for i, each in enumerate(fields)]
    try:
        rows = encoder(max_length, policy).encode(asked)
    except InputError:
        return
    assert len(rows) + len(rows.dropped) == len(asked)
    assert (rows.num_supervised >= 1).all()
    for index, key in enumerate(rows.ids):
        ids = rows.row(index).tolist()
        response = [WORDS.index(word) for word in asked[int(key)].output.split()]
        num_prompt = num_prompts(rows)[index]
        learned = ids[num_prompt:]
        assert len(ids) <= max_length
        assert ids[:2] == [BOS, INST]
        assert ids[num_prompt - 1] == RESP
        if rows.truncated.get(key) == "truncated_response":
            assert len(ids) == max_length
            assert learned == [*response, EOS][: len(learned)]
            assert EOS not in learned
        else:
            assert learned == [*response, EOS]


def test_an_end_token_that_somebody_wrote_out_is_text() -> None:
    tokenizer = TrainedBPE(vocab_size=300).tokenizer(["a b c"])
    written = str(tokenizer.eos_token)
    rows = encoder(tokenizer=tokenizer).encode(
        [Completion(Instruction("1", f"say {written}"), f"it is {written} indeed", "t")]
    )
    ids = rows.row(0).tolist()
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id
    prompt = encoder(tokenizer=tokenizer).prompt_ids([Instruction("1", f"say {written}")])
    assert prompt[0] == ids[: len(prompt[0])]
