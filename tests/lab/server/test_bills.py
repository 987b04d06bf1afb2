"""Every request is counted once and billed to the last token, whatever becomes of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lab.server.asking import FIRST, PRICES, Lab
from understudy.lab.server.bills import Bill, Bills, Prices, usd
from understudy.records import InputError


def test_the_sum_is_that_of_all_replies_by_hand(serve: Callable[..., Lab]) -> None:
    lab = serve()
    expected = Fraction(0)
    for number, model in enumerate(("lab-strong", "lab-weak", "lab-strong") * 5):
        usage = lab.ask(f"{FIRST} {'b ' * number}", model, n=number % 3 + 1).usage
        assert usage is not None
        sides = (("input", usage.prompt_tokens), ("output", usage.completion_tokens))
        expected += sum(Fraction(str(PRICES[model][side])) * tokens for side, tokens in sides)
    lab.ask(FIRST, "lab-medium")  # has no price
    bill = lab.bill()
    assert Fraction(bill["billed_picodollars"], 10**12) == expected / 10**6
    assert bill["billed_usd"] == pytest.approx(float(expected) / 10**6)
    assert (bill["requests"], bill["replied"], bill["billed"], bill["unpriced"]) == (16, 16, 15, 1)
    assert bill["models"] == {"lab-strong": 10, "lab-weak": 5, "lab-medium": 1}


def test_a_bill_is_found_by_either_id_and_by_number(serve: Callable[..., Lab]) -> None:
    lab = serve()
    lab.chat()
    said = lab.chat()
    bills = [lab.bill(name) for name in (said.json["id"], said.headers["x-request-id"], "1")]
    assert bills[0] == bills[1] == bills[2]
    expected = {"number": 1, "model": "lab-strong", "status": 200, "outcome": "answered",
                "prompt_tokens": 7, "completion_tokens": 6, "picodollars": 570_000_000,
                "billed_usd": 0.00057}  # fmt: skip
    assert {name: bills[0][name] for name in expected} == expected
    for unknown in ("2", "req-lab-9", "nobody"):
        assert lab.get(f"/lab/bill/{unknown}").status == 404


def test_what_was_asked_twice_is_named_but_not_what_only_looks_like_it(
    serve: Callable[..., Lab],
) -> None:
    lab = serve()
    lab.chat(x_lab_fault="500")
    lab.chat(x_lab_fault="truncated_json")
    lab.chat(x_lab_fault="null")
    lab.chat()
    lab.chat({"seed": 1})
    lab.chat({"model": "lab-weak"})
    assert lab.bill()["asked_twice"] == 0
    lab.chat({"user": "somebody else"})
    lab.chat(x_lab_fault="length")
    bill = lab.bill()
    assert bill["asked_twice"] == 1
    (twice,) = bill["asked_twice_contents"]
    assert twice["numbers"] == [3, 6, 7]
    assert bill["contents"] == 3


def test_a_client_that_left_pays_nothing(serve: Callable[..., Lab]) -> None:
    lab = serve(latency_seconds=0.2)
    body = json.dumps({"model": "lab-strong", "messages": [{"role": "user", "content": FIRST}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: lab\r\ncontent-length: {len(body)}\r\n\r\n"
    address = urlsplit(lab.url)
    for sent in (head, head + body[:20], head + body):
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(sent.encode())
    deadline = time.monotonic() + 10
    while (bill := lab.bill())["requests"] < 3 and time.monotonic() < deadline:
        pass
    assert bill["outcomes"] == {"left": 3}
    assert bill["billed_usd"] == 0


def test_many_at_once_are_all_counted(serve: Callable[..., Lab]) -> None:
    lab = serve(latency_seconds=0.01)
    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(lambda seed: lab.chat({"seed": seed}), range(200)))
    ids = [each.json["id"] for each in said]
    assert len(set(ids)) == 200
    assert sum(lab.bill(each)["picodollars"] for each in ids) == lab.bill()["billed_picodollars"]


def test_bills_outlive_the_server_and_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "bills.jsonl"
    bills = Bills(path)
    for content in ("a", "b", "a"):
        bill = Bill(bills.next_number(), content, "m", 200, "answered", None, True, 3, 4, 5)
        bills.add(bill)
    facts = bills.facts()
    bills.close()
    with path.open("ab") as file:
        file.write(b'{"number": 3, "cont')
    again = Bills(path)
    assert again.facts() == facts
    assert (facts["requests"], facts["asked_twice"], facts["billed_picodollars"]) == (3, 1, 15)
    assert again.next_number() == 3
    again.add(Bill(3, "c", "m", 500))
    assert again.of(3) == {**json.loads(path.read_text().splitlines()[3]), "billed_usd": 0.0}
    assert (again.of(0) or {})["content"] == "a"
    again.close()


def test_a_file_that_holds_no_bills_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bills.jsonl"
    path.write_text('{"number": 0}\n{"numbr": 0}\n')
    with pytest.raises(InputError, match=r"bills\.jsonl, line 2 is no bill"):
        Bills(path)


def test_prices_are_exact_and_a_batch_costs_half() -> None:
    prices = Prices({"m": {"input": 0.15, "output": 0.6}})
    assert prices.of("m", 7, 3) == 7 * 150_000 + 3 * 600_000
    assert prices.of("m", 7, 3, batch=True) == (7 * 150_000 + 3 * 600_000) // 2
    assert prices.of("other", 7, 3) is None
    assert usd(prices.of("m", 1_000_000, 0) or 0) == 0.15


@pytest.mark.parametrize(
    ("price", "said"),
    [({"input": 1}, "no output"), ({"input": -1, "output": 1}, "below 0"),
     ({"input": 1, "output": 0.0000001}, "more than five decimals")],
)  # fmt: skip
def test_a_price_that_cannot_be_billed_is_refused(price: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Prices({"m": price})
