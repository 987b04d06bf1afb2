"""Instructions that will be asked: found whatever their spelling, and nothing else is found."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from understudy.data.contamination import Decontamination, Match
from understudy.data.files import AnswerFile
from understudy.data.questions import HeldOut
from understudy.data.sets import PublishedSet, QuestionSets
from understudy.records import (
    InputError,
    InputFile,
    Instruction,
    Question,
    QuestionSource,
    Turn,
    instruction_id,
)

TEST_DATA = os.environ.get("UNDERSTUDY_TEST_DATA")

WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=12)


@dataclass(frozen=True)
class Asking:
    """A set of these questions."""

    prompts: Sequence[Instruction]

    def questions(self, held_out: Sequence[Question] = ()) -> Sequence[Question]:
        return [Question(prompt) for prompt in (*self.prompts, *(q.prompt for q in held_out))]

    def inputs(self) -> Sequence[InputFile]:
        return ()


def prompt(text: str, given_input: str = "", *history: Turn) -> Instruction:
    own = instruction_id(text, given_input, history)
    return Instruction(own, text, given_input, history=history)


def asking(*texts: str) -> Asking:
    return Asking([prompt(text) for text in texts])


def match(text: str, question: str, *, min_similarity: float = 0.7) -> tuple[str, float] | None:
    """Kind and similarity of one text against one question."""
    found = Decontamination("warn", min_similarity, asking(question)).matches([prompt(text)])
    return (found[0].kind, found[0].similarity) if found else None


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("how CAN I\n improve?", "How can I improve"),
        ("Say “a”!", "say a"),
        ("\uff26\uff35\uff2c\uff2c width", "full width"),
        ("解释 细胞理论。", "解释细胞理论"),
        ("Объясни клетку", "объясни клетку!"),
        ("STRASSE", "Straße"),
        ("???", " ??? "),
    ],
)
def test_case_spacing_and_punctuation_do_not_hide_a_question(text: str, question: str) -> None:
    assert match(text, question) == ("exact", 1.0)


def test_where_instruction_and_input_are_parted_does_not_matter() -> None:
    question = prompt("Shorten this sentence.", "It is far too long.")
    source = Asking([question])
    row = prompt("Shorten this sentence.\n\nIt is far too long.")
    assert Decontamination("warn", 0.7, source).matches([row]) == [
        Match(row.id, question.id, "questions", "exact", 1.0)
    ]


def test_near_is_the_share_of_common_word_triples() -> None:
    question = "a b c d e f g h i j"  # 8 triples
    last_differs = "a b c d e f g h i x"  # 7 of them, and 1 more
    assert match(last_differs, question) == ("near", 7 / 9)
    assert match(last_differs, question, min_similarity=0.8) is None
    assert match(last_differs, question, min_similarity=7 / 9) == ("near", 7 / 9)
    assert match("j i h g f e d c b a", question, min_similarity=0.01) is None


def test_a_long_question_is_found_inside_a_longer_text_and_a_short_one_is_not() -> None:
    around = "please answer {} and then tell me everything else that you know about it all"
    long, short = "a b c d e f g h", "a b c d e f g"
    assert match(around.format(long), long) == ("near", 1.0)
    assert match(around.format(short), short) is None
    assert match(long, around.format(long)) is None


@pytest.mark.parametrize("text", ["Say a b", "Say", "a Say"])
def test_a_text_of_one_or_two_words_is_found_whole_or_not_at_all(text: str) -> None:
    assert match(text, "Say a", min_similarity=0.01) is None


def test_the_nearest_question_is_named_and_an_exact_one_before_it() -> None:
    near, nearer, exact = "a b c d e f g h x y", "a b c d e f g h i y", "q r s t"
    found = Decontamination("warn", 0.5, asking(near, nearer, exact)).matches(
        [prompt("a b c d e f g h i j"), prompt("else"), prompt("Q r s t")]
    )
    assert [(each.question_id, each.kind) for each in found] == [
        (prompt(nearer).id, "near"),
        (prompt(exact).id, "exact"),
    ]


def test_each_message_of_the_user_counts_and_none_of_the_assistant() -> None:
    turns = (Turn("system", "Be kind"), Turn("user", "Say b c"), Turn("assistant", "Say d e"))
    row = prompt("Now say f", "", *turns)

    def found(*texts: str) -> bool:
        return bool(Decontamination("warn", 0.7, asking(*texts)).matches([row]))

    assert found("Say b c")
    assert found("Now say f")
    assert not found("Say d e", "Be kind")


def test_a_question_with_a_history_is_the_whole_conversation() -> None:
    question = prompt("Why?", "", Turn("user", "Name a colour"), Turn("assistant", "Red"))
    source = Decontamination("warn", 0.7, Asking([question]))
    same = prompt("Why?", "", Turn("user", "name a colour"), Turn("assistant", "Blue"))
    assert [each.kind for each in source.matches([same])] == ["exact"]
    assert source.matches([prompt("Why?"), prompt("Name a colour")]) == []


def published(name: str, path: Path) -> PublishedSet:
    path.write_text(json.dumps([{"instruction": f"Question of {name}"}]), encoding="utf-8")
    return PublishedSet(name, "", None, cache_dir="", path=str(path))


def test_a_match_names_the_set_and_the_runs_own_set_first(tmp_path: Path) -> None:
    own = published("own", tmp_path / "own.json")
    parts: dict[str, QuestionSource | None] = {"one": asking("Say one"), "held": HeldOut()}
    avoid: dict[str, QuestionSource] = {
        "again": published("own", tmp_path / "again.json"),
        "both": QuestionSets(parts),
        "lab": asking("Say lab"),
    }
    found = Decontamination("drop", 0.7, own, avoid).matches(
        [prompt("question of own"), prompt("say one"), prompt("say lab")]
    )
    assert [each.set for each in found] == ["own", "one", "lab"]


def test_an_error_in_a_set_to_avoid_names_its_own_key(tmp_path: Path) -> None:
    wrong = PublishedSet("x", "", "0" * 64, cache_dir="", path=str(tmp_path / "x.json"))
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(InputError, match=r"data\.avoid\.mine\.sha256=null"):
        Decontamination("warn", avoid={"mine": wrong}).matches([])


def test_off_looks_at_nothing_and_held_out_rows_are_no_set() -> None:
    missing = PublishedSet("x", "", None, cache_dir="", path="no such file.json")
    assert Decontamination("off", questions=missing).matches([prompt("a")]) == []
    assert Decontamination("drop", questions=HeldOut()).matches([prompt("a")]) == []
    assert Decontamination("drop").matches([prompt("a")]) == []


@pytest.mark.parametrize(
    ("mode", "min_similarity", "said"),
    [
        ("keep", 0.7, r"data\.decontaminate='keep' is unknown; choose one of off, warn, drop"),
        ("warn", 0.0, r"data\.min_similarity=0\.0 is no share; type one above 0"),
        ("warn", 70, r"data\.min_similarity=70 is no share"),
    ],
)
def test_values_that_cannot_work_are_refused(mode: str, min_similarity: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Decontamination(mode, min_similarity)


@given(st.text(min_size=1).filter(lambda text: text.strip() != ""), st.lists(WORDS, max_size=5))
def test_a_planted_question_is_always_found(text: str, others: list[list[str]]) -> None:
    source = asking(*(" ".join(each) for each in others), text)
    (found,) = Decontamination("warn", 0.7, source).matches([prompt(text)])
    assert (found.kind, found.similarity) == ("exact", 1.0)


@given(WORDS, st.data())
def test_no_change_of_case_or_space_hides_a_question(words: list[str], data: st.DataObject) -> None:
    spaces = st.text(" \t\n\u3000", min_size=1, max_size=3)
    changed = "".join(
        data.draw(spaces) + data.draw(st.sampled_from([word, word.upper()])) for word in words
    )
    assert match(changed, " ".join(words)) == ("exact", 1.0)


@given(WORDS, st.lists(st.sampled_from("wxyz"), min_size=1, max_size=12))
def test_texts_without_a_common_word_never_match(words: list[str], others: list[str]) -> None:
    assert match(" ".join(words), " ".join(others), min_similarity=0.01) is None


@given(
    st.lists(WORDS, min_size=1, max_size=6),
    WORDS,
    st.sampled_from([0.1, 0.3, 0.5, 0.6, 0.7, 0.75, 0.9, 1.0]),
)
@example([list("abcd"), list("abca")], list("abcd"), 0.5)
def test_the_index_finds_what_comparing_every_pair_finds(
    questions: list[list[str]], words: list[str], min_similarity: float
) -> None:
    found = Decontamination(
        "warn", min_similarity, asking(*(" ".join(each) for each in questions))
    ).matches([prompt(" ".join(words))])
    best = max(_similarity(words, each) for each in questions)
    if words in questions:
        assert [(each.kind, each.similarity) for each in found] == [("exact", 1.0)]
    elif best >= min_similarity:
        assert [(each.kind, each.similarity) for each in found] == [("near", best)]
    else:
        assert found == []


def _similarity(words: list[str], question: list[str]) -> float:
    """The definition, written out."""
    mine, asked = (
        {tuple(each[i : i + 3]) for i in range(max(len(each) - 2, 1))} for each in (words, question)
    )
    share = len(mine & asked) / len(asked)
    is_inside = len(asked) >= 6 and share >= 0.9
    return share if is_inside else len(mine & asked) / len(mine | asked)


@pytest.mark.skipif(TEST_DATA is None, reason="UNDERSTUDY_TEST_DATA names no folder of real data")
def test_the_papers_questions_are_found_in_alpaca_eval_and_nothing_else_is() -> None:
    folder = Path(str(TEST_DATA))
    sets: QuestionSource = QuestionSets(
        {
            "vicuna": PublishedSet(
                "vicuna80", "", None, cache_dir="",
                path=str(folder / "eval" / "vicuna_question_80.jsonl"),
                fields={"instruction": "text"},
            ),
            "selfinstruct": PublishedSet(
                "user252", "", None, cache_dir="",
                path=str(folder / "eval" / "user_oriented_instructions.jsonl"),
                expand="instances",
            ),
        }
    )  # fmt: skip
    source = Decontamination("warn", 0.7, sets)

    def found(file: str) -> list[Match]:
        rows = AnswerFile(str(folder / "sft" / file), empty_output="drop").read().rows
        return source.matches([row.prompt for row in rows])

    path = "alpaca_eval_805/gpt4.json"
    rows = json.loads((folder / "sft" / path).read_text(encoding="utf-8"))
    origin = {instruction_id(row["instruction"]): row["dataset"] for row in rows}
    planted = found(path)
    assert Counter((each.set, each.kind) for each in planted) == {
        ("vicuna", "exact"): 80,
        ("selfinstruct", "exact"): 252,
    }
    assert all(each.set == origin[each.id] for each in planted)
    for clean in ("alpaca_eval_train473/gpt4.json", "alpaca_en_demo.json", "alpaca_zh_demo.json"):
        assert found(clean) == []
