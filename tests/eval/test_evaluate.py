"""Evaluation of a real tiny model: every decoding of every question, scored, in order."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from understudy.encoding import Encoder
from understudy.eval.evaluate import Evaluation, Measured
from understudy.eval.form import AnswerForm
from understudy.eval.rouge import RougeScorer
from understudy.eval.summary import summarise
from understudy.models.generate import Decoding
from understudy.prompts import ALPACA_COMPACT
from understudy.records import InputError, Instruction, Prediction, Question, instruction_id

GREEDY = Decoding("greedy", temperature=0.0, top_p=1.0, max_new_tokens=6)
SAMPLED = Decoding("t1", temperature=1.0, top_p=1.0, max_new_tokens=6)
ASKED = ("Name a color.", "What is the capital of France?", "add a and b", "Say it all again.")


def questions(asked: Sequence[str] = ASKED) -> list[Question]:
    """One question of each text, of different lengths."""
    return [
        Question(Instruction(instruction_id(text), text), {"gold": f"the answer to {text}"})
        for text in asked
    ]


@pytest.fixture(scope="module")
def ask(
    make_policy: Callable[..., PreTrainedModel], tiny_tokenizer: PreTrainedTokenizerBase
) -> Callable[..., list[Prediction]]:
    """Evaluates a tiny LLaMA."""
    policy = make_policy("llama", attention="sdpa")
    encoder = Encoder(tiny_tokenizer, ALPACA_COMPACT, max_length=64)

    def evaluate(
        evaluation: Evaluation,
        asked: Sequence[Question],
        seed: int = 0,
        known_losses: Measured | None = None,
    ) -> list[Prediction]:
        return evaluation.evaluate(
            policy, encoder, asked, author="student", seed=seed, known_losses=known_losses
        )

    return evaluate


def test_every_decoding_answers_every_question_in_order(
    ask: Callable[..., list[Prediction]],
) -> None:
    """Greedy first, then sampled, whose scores carry its name."""
    rows = ask(Evaluation([RougeScorer()], [GREEDY, SAMPLED]), questions())
    assert [row.decoding for row in rows] == ["greedy"] * 4 + ["t1"] * 4
    assert [row.question for row in rows] == questions() * 2
    assert {row.author for row in rows} == {"student"}
    assert {row.finish for row in rows} <= {"stop", "length"}
    assert all("eval/rouge_l" in row.scores for row in rows[:4])
    assert all("eval/rouge_l@t1" in row.scores for row in rows[4:])
    assert summarise(rows).counts["eval/rouge_l@t1"] == 4


def test_an_answer_depends_on_its_question_alone(ask: Callable[..., list[Prediction]]) -> None:
    """Greedy answers are the same in any company, order and batch."""
    whole = Evaluation([RougeScorer()], [GREEDY])
    narrow = Evaluation([RougeScorer()], [GREEDY], batch_tokens=40)
    together = {row.question.prompt.id: row for row in ask(whole, questions())}
    assert len({row.output for row in together.values()}) > 1
    for row in ask(narrow, questions()[::-1]):
        assert row == together[row.question.prompt.id]


def test_the_seed_decides_sampled_answers(ask: Callable[..., list[Prediction]]) -> None:
    """The same seed the same rows, another seed others."""
    evaluation = Evaluation([RougeScorer()], [SAMPLED])
    assert ask(evaluation, questions(), seed=1) == ask(evaluation, questions(), seed=1)
    assert ask(evaluation, questions(), seed=1) != ask(evaluation, questions(), seed=2)


def test_limit_picks_the_same_questions_wherever_they_stand() -> None:
    """By id, in the order given; at or above the number there is, all."""
    many = questions([f"question {number}" for number in range(50)])
    limited = Evaluation([RougeScorer()], [GREEDY], num_questions=10)
    asked = limited.asked(many)
    assert len(asked) == 10
    assert asked == [question for question in many if question in asked]
    assert asked != many[:10]
    assert limited.asked(many[::-1]) == asked[::-1]
    assert limited.asked(asked) == asked
    assert Evaluation([RougeScorer()], [GREEDY], num_questions=50).asked(many) == many
    assert Evaluation([RougeScorer()], [GREEDY]).asked(many) == many


def test_a_teachers_own_answers_are_scored_where_it_answered() -> None:
    """By question id; rows count as greedy."""
    asked = questions()
    answers = {asked[2].prompt.id: "the answer to add a and b", asked[0].prompt.id: ""}
    rows = Evaluation([RougeScorer()], [GREEDY]).score_answers(asked, answers, "teacher strong")
    assert [row.question for row in rows] == [asked[0], asked[2]]
    assert [row.scores["eval/rouge_l"] for row in rows] == [0, 1]
    assert {row.author for row in rows} == {"teacher strong"}
    assert {row.decoding for row in rows} == {"greedy"}


def test_progress_counts_each_answer(
    make_policy: Callable[..., PreTrainedModel], tiny_tokenizer: PreTrainedTokenizerBase
) -> None:
    """One for each question and decoding, however batches fall."""
    done: list[int] = []
    Evaluation([RougeScorer()], [GREEDY, SAMPLED], batch_tokens=40).evaluate(
        make_policy("llama", attention="sdpa"),
        Encoder(tiny_tokenizer, ALPACA_COMPACT, max_length=64),
        questions(),
        author="student",
        seed=0,
        progress=done.append,
    )
    assert sum(done) == 8
    assert len(done) > 2


def test_no_questions_have_no_rows(ask: Callable[..., list[Prediction]]) -> None:
    """An empty set is no error here; whoever made it knows better."""
    assert ask(Evaluation([RougeScorer()], [GREEDY]), []) == []


def test_what_cannot_be_told_apart_is_refused() -> None:
    """Two decodings of one name, no scorer, no question."""
    with pytest.raises(InputError, match="two decodings share a name"):
        Evaluation([RougeScorer()], [GREEDY, GREEDY])
    with pytest.raises(InputError, match=r"named greedy has temperature=0\.7"):
        Evaluation([RougeScorer()], [Decoding("greedy", temperature=0.7)])
    with pytest.raises(InputError, match="needs a scorer"):
        Evaluation([], [GREEDY])
    with pytest.raises(InputError, match=r"eval\.num_questions=0 must be at least 1"):
        Evaluation([RougeScorer()], [GREEDY], num_questions=0)


def test_greedy_rows_carry_the_loss_on_their_references(
    ask: Callable[..., list[Prediction]],
) -> None:
    """Greedy ones only, whatever is generated; scoring again keeps it where it is wanted."""
    evaluation = Evaluation([RougeScorer()], [GREEDY, SAMPLED], reference_loss=True)
    rows = ask(evaluation, questions())
    assert all((row.scores.get("eval/loss") or 0) > 0 for row in rows[:4])
    assert not any("loss" in name for row in rows[4:] for name in row.scores)
    plain = ask(replace(evaluation, reference_loss=False), questions())
    assert [row.output for row in plain] == [row.output for row in rows]
    assert evaluation.score_rows(rows) == rows
    without = replace(evaluation, reference_loss=False).score_rows(rows)
    assert not any("eval/loss" in row.scores for row in without)
    summary = summarise(rows)
    loss = summary.metrics["eval/loss"]
    assert loss == pytest.approx(sum(row.scores["eval/loss"] or 0 for row in rows[:4]) / 4)
    assert summary.metrics["eval/perplexity"] == pytest.approx(exp(loss or 0))


def test_known_losses_are_taken_over_where_they_are_of_the_same_references(
    ask: Callable[..., list[Prediction]],
) -> None:
    """A question's loss is the mean over its references; what is known is not measured again."""
    evaluation = Evaluation([RougeScorer()], [GREEDY], reference_loss=True)
    first, second = questions()[:2]
    other = replace(second, references={"gold": "another text by the same author"})
    losses = {first.prompt.id: {"gold": 1.25}, second.prompt.id: {"gold": 1.25}}
    rows = ask(evaluation, [first, second], known_losses=Measured([first, other], losses))
    assert rows[0].scores["eval/loss"] == 1.25
    assert rows[1].scores["eval/loss"] == ask(evaluation, [second])[0].scores["eval/loss"] != 1.25


def test_a_question_without_references_has_no_loss(ask: Callable[..., list[Prediction]]) -> None:
    """Published questions such as Vicuna's have none; the others keep theirs."""
    evaluation = Evaluation([RougeScorer()], [GREEDY], reference_loss=True)
    asked = [replace(questions()[0], references={}), questions()[1]]
    rows = ask(evaluation, asked)
    assert rows[0].scores["eval/loss"] is None
    assert (rows[1].scores["eval/loss"] or 0) > 0


def test_scores_stand_under_the_parts_in_which_questions_differ() -> None:
    """Two languages and two sets here; a run of one language has no such names."""
    asked = [
        Question(Instruction("a", "Say it.", lang="en", split="eighty"), {"gold": "it"}),
        Question(Instruction("b", "说", lang="zh", split="eighty"), {"gold": "它"}),
        Question(Instruction("c", "说吧", lang="zh", split="others"), {"gold": "它"}),
    ]
    answers = {"a": "it", "b": "它", "c": "不"}
    evaluation = Evaluation([AnswerForm(), RougeScorer()], [GREEDY])
    rows = evaluation.score_answers(asked, answers, "somebody")
    metrics = summarise(rows).metrics
    assert metrics["eval/rouge_l/lang:en"] == metrics["eval/rouge_l/set:eighty"] == 1
    assert metrics["eval/rouge_l/lang:zh"] == 0.5
    assert metrics["eval/rouge_l/set:others"] == 0
    assert metrics["eval/answer_words/lang:zh"] == 1
    one_language = evaluation.score_answers(asked[1:2], answers, "somebody")
    assert not any(":" in name for name in one_language[0].scores)
    by_language = replace(evaluation, parts=["lang"]).score_answers(asked, answers, "somebody")
    assert not any("/set:" in row_name for row in by_language for row_name in row.scores)
    assert evaluation.score_rows(rows) == rows


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"eval\.parts: 'colour' is unknown; choose among lang, set"
    ):
        Evaluation([RougeScorer()], [GREEDY], parts=["colour"])


def test_a_loss_without_greedy_answers_is_refused() -> None:
    """There would be no row to put it in."""
    with pytest.raises(InputError, match=r"eval\.reference_loss=true .*named greedy"):
        Evaluation([RougeScorer()], [SAMPLED], reference_loss=True)
