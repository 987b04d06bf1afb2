"""Files and batches through the official client, from what is sent to what comes back."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import openai
import pytest
from openai.types import Batch

from lab.server.asking import FIRST, Lab
from understudy.lab.server.faults import FaultRates
from understudy.lab.server.settings import BatchTimes
from understudy.records import InputError

QUICK = BatchTimes(0.05, 0.2)
CHAT: Final = "/v1/chat/completions"


def _row(number: int, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - of a request
    message = {"role": "user", "content": f"{FIRST} {'b ' * number}"}
    body = {"model": "lab-strong", "messages": [message]}
    return {"custom_id": f"row-{number}", "method": "POST", "url": CHAT, "body": body, **changes}


def _create(lab: Lab, rows: Sequence[object]) -> Batch:
    content = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    file = lab.client.files.create(file=("in.jsonl", content.encode()), purpose="batch")
    return lab.client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"run": "x"}
    )


def _ended(lab: Lab, batch: Batch) -> tuple[Batch, list[str]]:
    """The batch at its end, and every status that it had on the way."""
    seen: list[str] = [batch.status]
    deadline = time.monotonic() + 30
    while batch.status not in ("completed", "failed", "cancelled"):
        assert time.monotonic() < deadline
        batch = lab.client.batches.retrieve(batch.id)
        seen += [batch.status] * (batch.status != seen[-1])
    return batch, seen


def _lines(lab: Lab, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    return [json.loads(line) for line in lab.client.files.content(file_id).text.splitlines()]


def test_a_batch_is_answered_as_single_calls_are_and_costs_half(serve: Callable[..., Lab]) -> None:
    lab = serve(batches=QUICK)
    batch, statuses = _ended(lab, _create(lab, [_row(number) for number in range(30)]))
    assert [each for each in statuses if each != "finalizing"] == [
        "validating", "in_progress", "completed",
    ]  # fmt: skip
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 30, "completed": 30, "failed": 0}
    assert batch.metadata == {"run": "x"}
    assert (batch.error_file_id, batch.errors) == (None, None)
    half = lab.bill()["billed_picodollars"]
    for number, line in enumerate(_lines(lab, batch.output_file_id)):
        assert line["custom_id"] == f"row-{number}"
        reply = line["response"]["body"]
        single = lab.chat(_row(number)["body"]).json
        assert reply["choices"] == single["choices"]
        assert reply["usage"] == single["usage"]
        assert lab.bill(reply["id"])["batch"] == batch.id
    bill = lab.bill()
    assert bill["billed_picodollars"] == 3 * half
    assert bill["asked_twice"] == 30


def test_some_requests_fail_and_are_in_the_error_file_alone(serve: Callable[..., Lab]) -> None:
    lab = serve(batches=BatchTimes(0, 0.1, failed_rate=0.3), faults=FaultRates(rate_dropped=1.0))
    rows = [_row(number) for number in range(60)] + [_row(60, body={"model": "lab-strong"})]
    batch, _ = _ended(lab, _create(lab, rows))
    outputs, errors = _lines(lab, batch.output_file_id), _lines(lab, batch.error_file_id)
    ids = [line["custom_id"] for line in (*outputs, *errors)]
    assert Counter(ids) == Counter(row["custom_id"] for row in rows)
    statuses = Counter(line["response"]["status_code"] for line in errors)
    assert statuses[400] == 1
    assert 8 <= statuses[500] <= 30
    assert errors[-1]["response"]["body"]["error"]["param"] == "messages"
    bill = lab.bill()
    assert bill["billed"] == len(outputs)
    assert bill["faults"] == {"failed_in_batch": statuses[500]}


def test_a_batch_goes_on_without_its_client_and_can_be_found_again(
    serve: Callable[..., Lab],
) -> None:
    lab = serve(batches=QUICK)
    first, second = (_create(lab, [_row(number)]) for number in (1, 2))
    with Lab(lab.url) as other:
        assert [batch.id for batch in other.client.batches.list()] == [second.id, first.id]
        page = other.client.batches.list(limit=1)
        assert (page.has_more, [batch.id for batch in page.data]) == (True, [second.id])
        ended, _ = _ended(other, other.client.batches.retrieve(first.id))
        assert len(_lines(other, ended.output_file_id)) == 1


def test_a_cancelled_batch_keeps_and_bills_what_it_has(serve: Callable[..., Lab]) -> None:
    lab = serve(batches=BatchTimes(0, 3))
    batch = _create(lab, [_row(number) for number in range(20)])
    deadline = time.monotonic() + 20
    while not (batch.request_counts and batch.request_counts.completed >= 2):
        assert time.monotonic() < deadline
        batch = lab.client.batches.retrieve(batch.id)
    assert lab.client.batches.cancel(batch.id).status == "cancelling"
    ended, _ = _ended(lab, batch)
    done = len(_lines(lab, ended.output_file_id))
    assert ended.status == "cancelled"
    assert 2 <= done < 20
    assert lab.bill()["billed"] == done
    with pytest.raises(openai.ConflictError, match="status 'cancelled'"):
        lab.client.batches.cancel(batch.id)


@pytest.mark.parametrize(
    ("rows", "code", "line"),
    [
        (["{"], "invalid_json_line", 1),
        ([], "empty_file", None),
        ([_row(1), _row(1)], "duplicate_custom_id", 2),
        ([_row(1), _row(2, url="/v1/completions")], "invalid_url", 2),
        ([_row(1, method="GET")], "invalid_method", 1),
        ([_row(1, body=None)], "missing_required_parameter", 1),
        ([{"a": 1}], "missing_required_parameter", 1),
    ],
)
def test_a_file_that_cannot_be_a_batch_fails_it_and_says_where(
    rows: list[object], code: str, line: int | None, serve: Callable[..., Lab]
) -> None:
    lab = serve(batches=QUICK)
    batch, statuses = _ended(lab, _create(lab, rows))
    assert statuses == ["validating", "failed"]
    assert batch.errors is not None
    problem = (batch.errors.data or [])[0]
    assert (problem.code, problem.line) == (code, line)
    assert lab.bill()["requests"] == 0


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"input_file_id": "file-none"}, 404),
        ({"input_file_id": None}, 400),
        ({"endpoint": "/v1/embeddings"}, 400),
        ({"completion_window": "1h"}, 400),
    ],
)
def test_a_batch_of_nothing_or_for_another_path_is_refused(
    changes: dict[str, Any], status: int, lab: Lab
) -> None:
    file = lab.client.files.create(file=("in.jsonl", b"{}"), purpose="batch")
    body = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **changes}
    assert lab.post("/v1/batches", body).status == status


def test_files_come_back_byte_for_byte_until_they_are_deleted(serve: Callable[..., Lab]) -> None:
    lab = serve()
    content = bytes(range(256)) * 300 + b"\r\n--x\r\n\r\n"
    file = lab.client.files.create(file=("odd \u4e2d.bin", content), purpose="batch")
    assert (file.bytes, file.purpose, file.filename) == (len(content), "batch", "odd \u4e2d.bin")
    assert lab.client.files.content(file.id).read() == content
    assert [each.id for each in lab.client.files.list()] == [file.id]
    assert lab.client.files.delete(file.id).deleted
    for call in (lab.client.files.retrieve, lab.client.files.content, lab.client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(file.id)
    assert lab.post("/v1/files", b"").status == 400
    assert lab.post("/v1/files", b"", content_type="multipart/form-data; boundary=x").status == 400
    assert lab.get("/v1/batches?limit=x").status == 400


def test_times_below_zero_are_refused() -> None:
    with pytest.raises(InputError, match=r"server\.batches"):
        BatchTimes(seconds=-1)
