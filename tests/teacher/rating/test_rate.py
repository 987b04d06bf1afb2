"""Answers are brought together, rated one by one over HTTP, and become comparisons."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from understudy.chat.asking.asker import Asker
from understudy.chat.asking.prices import PriceList
from understudy.chat.chat_model import ChatModel
from understudy.data.comparison_files import ComparisonFiles
from understudy.lab.exercises import train_prompts
from understudy.lab.rater import Rater, verdict_on
from understudy.lab.server.app import lab_app
from understudy.lab.server.faults import FaultRates
from understudy.lab.server.serving import running
from understudy.lab.server.settings import ServerConfig
from understudy.lab.teachers import LabTeacher
from understudy.lab.world import World
from understudy.records import InputError, Prediction, Question, write_jsonl
from understudy.samples import Sample, sample_to_json
from understudy.teacher.rating.rate import (
    Ratings,
    comparison_rows,
    distinct_requests,
    num_identical,
)
from understudy.teacher.rating.responses import Answers, Response, Responses, read_responses
from understudy.teacher.rows import Outcome

WORLD = World()
NUM_ROWS = 40


def _asker(url: str, folder: Path) -> Asker:
    model = ChatModel(
        "rater", "lab-rater", url, identity="lab", key_env=None, params={"temperature": 0.0},
        retry_seconds=0.01,
    )  # fmt: skip
    prices = PriceList(date="today", source="test", usd_per_million={})
    return Asker(model, str(folder / "ledger.sqlite"), prices, max_failed=1.0)


@pytest.fixture(scope="module")
def lab_url() -> Iterator[str]:
    with running(lab_app(ServerConfig(WORLD, rater=Rater(noise=False)))) as url:
        yield url


def _write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return str(path)


def _arm(folder: Path, teacher: str, *, lang: str = "en", start: int = 0) -> str:
    rows = LabTeacher(WORLD, teacher, num_rows=NUM_ROWS, lang=lang).read().rows[start:]
    return _write(
        folder / f"{teacher}.json",
        [
            {"instruction": r.prompt.instruction, "input": r.prompt.input, "output": r.output}
            for r in rows
        ],
    )


def _rated(asker: Asker, responses: Responses) -> tuple[list[dict[str, Any]], Ratings]:
    ratings, failed = Ratings(), list[Outcome[Response]]()
    answers = asker.ask(distinct_requests(responses), title="ratings")
    return list(ratings.rows(responses, answers, failed)), ratings


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_labs_ratings_are_its_raters_own_and_end_as_released_comparisons(
    lab_url: str, tmp_path: Path, lang: str
) -> None:
    arms = [_arm(tmp_path, name, lang=lang) for name in ("strong", "medium", "weak")]
    responses = read_responses(arms)
    rows, ratings = _rated(_asker(lab_url, tmp_path), responses)
    rater = Rater(noise=False)
    expected = [
        float(rater.rate(verdict_on(exercise, LabTeacher(WORLD, name).answer(exercise, lang), lang),
                         prompt.id, name))
        for exercise, prompt in train_prompts(WORLD, NUM_ROWS, 0, lang)
        for name in ("strong", "medium", "weak")
    ]  # fmt: skip
    assert [row["score"] for row in rows] == expected
    assert {row["lang"] for row in rows} == {lang}
    assert all(row["explanation"] and row["rater"] == "lab-rater" for row in rows)

    path = tmp_path / "comparisons.jsonl"
    written = list(comparison_rows(responses, ratings.scores))
    assert write_jsonl(path, written) == NUM_ROWS
    read = ComparisonFiles(str(path)).read()
    prompts = [prompt for _, prompt in train_prompts(WORLD, NUM_ROWS, 0, lang)]
    assert [(c.prompt.id, c.prompt.lang) for c in read.rows] == [(p.id, p.lang) for p in prompts]
    assert [c.score for row in read.rows for c in row.candidates][:3] == expected[:3]
    assert [c.source for c in read.rows[0].candidates] == ["strong", "medium", "weak"]


def test_equal_answers_are_asked_once_and_all_get_the_score(lab_url: str, tmp_path: Path) -> None:
    one = [{"instruction": "Say hello.", "input": "", "output": "Hello there."}]
    paths = [_write(tmp_path / f"{name}.json", one) for name in "abc"]
    responses = read_responses(paths)
    asker = _asker(lab_url, tmp_path)
    rows, _ = _rated(asker, responses)
    assert num_identical(responses) == 2
    assert len({row["score"] for row in rows}) == 1
    assert rows[0]["score"] is not None
    assert [row["source"] for row in rows] == ["a", "b", "c"]
    assert asker.ask(distinct_requests(responses), title="again").tally.asked == 0


def test_unreadable_ratings_are_counted_by_kind_and_never_numbers(tmp_path: Path) -> None:
    arms = [_arm(tmp_path, name) for name in ("strong", "medium", "weak")]
    faults = FaultRates(rate_malformed=0.2, rate_empty=0.2, rate_content_filter=0.1)
    with running(lab_app(ServerConfig(WORLD, faults=faults))) as url:
        responses = read_responses(arms)
        rows, ratings = _rated(_asker(url, tmp_path), responses)
    counts = ratings.counts
    assert counts["rated"] + counts["parse_error"] + counts["failed"] == len(rows) == 3 * NUM_ROWS
    assert counts["parse_error"] == counts["no_score"] + counts["empty"]
    assert min(counts["no_score"], counts["empty"], counts["failed"]) > 0
    assert counts["failed"] == counts["content_filter"]
    for row in rows:
        assert (row["score"] is None) == (row["status"] != "rated")
    assert 1 <= len(ratings.examples["no_score"]) <= 3
    written = list(comparison_rows(responses, ratings.scores))
    assert len(written) == ratings.num_comparisons < NUM_ROWS
    assert all(len(row["responses_and_scores"]) >= 2 for row in written)
    kept = sum(len(row["responses_and_scores"]) for row in written)
    assert kept <= counts["rated"]


def test_an_instruction_that_one_arm_lacks_is_kept_with_two_answers_and_counted(
    tmp_path: Path,
) -> None:
    strong, medium = (_arm(tmp_path, name) for name in ("strong", "medium"))
    weak = _arm(tmp_path, "weak", start=10)
    responses = read_responses([strong, medium, weak])
    assert len(responses.prompts) == NUM_ROWS
    assert (responses.incomplete, responses.num_responses) == (10, 3 * NUM_ROWS - 10)
    responses = read_responses([weak, medium])
    assert len(responses.prompts) == NUM_ROWS - 10
    assert responses.left_out == {"prompts_under_two_answers": 10}
    assert read_responses([weak, medium], limit=5).left_out["prompts_beyond_limit"] == 25


def test_samples_of_one_model_are_several_answers_of_one_source(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    prompts = [prompt for _, prompt in train_prompts(WORLD, 3, 0, "en")]

    def sample(number: int, prompt: int, text: str, decoding: str = "sample") -> Sample:
        prediction = Prediction(Question(prompts[prompt]), "student", text, decoding)
        return Sample(prediction, number, 0)

    samples = [
        sample(0, 0, "answer : a"), sample(1, 0, "answer : b"), sample(0, 0, "x", "greedy"),
        sample(0, 1, "answer : c"), sample(1, 1, " "), sample(0, 2, "p"), sample(1, 2, "q"),
    ]  # fmt: skip
    write_jsonl(folder / "samples.jsonl", map(sample_to_json, samples))
    for given in (str(folder), [str(folder / "samples.jsonl")]):
        responses = read_responses(given)
        assert responses.sources == ("student",)
        assert [(r.text, r.number) for r in responses] == [
            ("answer : a", 0), ("answer : b", 1), ("p", 0), ("q", 1)
        ]  # fmt: skip
        assert responses.left_out == {
            "greedy_answers": 1, "empty_output": 1, "prompts_under_two_answers": 1
        }  # fmt: skip
    strong = _arm(tmp_path, "strong")
    both = read_responses({"policy": str(folder), "gpt4": strong})
    assert both.sources == ("policy", "gpt4")
    assert [r.source for r in both.prompts[0]] == ["policy", "policy", "gpt4"]


def test_a_collected_arm_is_called_by_its_teacher_and_two_of_one_by_their_folders(
    tmp_path: Path,
) -> None:
    paths = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "arm.json").write_text('{"teacher": "gpt4", "answers": {"sha256": ""}}')
        row = {"instruction": "Hi", "input": "", "output": name, "teacher": "gpt4"}
        (folder / "answers.jsonl").write_text(json.dumps(row))
        paths.append(str(folder))
    other = _write(tmp_path / "gpt35.json", [{"instruction": "Hi", "input": "", "output": "Ho"}])
    assert read_responses([paths[0], other]).sources == ("gpt4", "gpt35")
    assert read_responses([paths[0] + "/answers.jsonl", other]).sources == ("gpt4", "gpt35")
    assert read_responses(paths).sources == ("gpt4/one", "gpt4/two")


def test_wrong_answers_are_refused_with_what_to_type(tmp_path: Path) -> None:
    strong = _arm(tmp_path, "strong")
    other = _write(tmp_path / "other.json", [{"instruction": "Hi", "input": "", "output": "Ho"}])
    (tmp_path / "empty").mkdir()
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "arm.json").write_text('{"teacher": "strong", "answers": {"sha256": ""}}')
    (folder / "answers.jsonl").write_text(
        json.dumps({"instruction": "Hi", "input": "", "output": "Hello", "teacher": "strong"})
    )
    for answers, said in (
        ([strong, str(folder)], "both answers of strong; name them: answers={strong_1:"),
        ([], "names nothing"),
        (None, "names nothing"),
        (7, "7: the format is told by the ending"),
        ([strong, strong], "twice"),
        ([strong, other], "none of 41 prompts has two answers"),
        ([str(tmp_path / "empty")], "stage=collect"),
        ([str(tmp_path / "none.json")], "no such file"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            read_responses(cast("Answers", answers))
    with pytest.raises(InputError, match="type limit="):
        read_responses([strong, other], limit=0)
