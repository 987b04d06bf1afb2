"""A ledger keeps what was paid for, whoever is killed and whoever reads beside it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pandas as pd
import pytest

from chat.ledgers import TEACHER, Teacher, failure, filled, reply, request
from understudy.chat.ledger.ledger import Ledger
from understudy.chat.ledger.schema import BatchState
from understudy.chat.requests import ChatRequest
from understudy.records import InputError, RunError, Turn

TESTS = str(Path(__file__).parents[2])


def test_what_was_added_is_read_back_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        assert ledger.add(request(1), TEACHER, reply(1)).result(10) is True
        assert ledger.fail(request(2), TEACHER, failure(2)).result(10) is True
        assert ledger.has(reply(1).key)
        assert not ledger.has(failure(2).key)
    with Ledger.open(path) as again:
        assert again.reply(reply(1).key) == reply(1)
        assert again.reply(failure(2).key) is None
        assert again.failure(failure(2).key) == failure(2)
        assert [each.key for each in again.replies()] == [reply(1).key]
        assert again.counts().replies == again.counts().failures == 1


def test_nothing_is_there_before_the_first_row_nor_after_a_look(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        assert not ledger.has(reply(1).key)
        assert ledger.reply(reply(1).key) is None
        assert ledger.counts().replies == ledger.spent_usd() == 0
        assert not path.parent.exists()
        ledger.hold()
        assert path.parent.exists()
    assert list(tmp_path.iterdir()) == []


def test_the_first_reply_to_a_request_stays(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        assert ledger.add(request(1), TEACHER, reply(1)).result(10) is True
        assert ledger.add(request(1), TEACHER, reply(1, text="another")).result(10) is False
        assert ledger.reply(reply(1).key) == reply(1)


def test_a_failure_is_no_answer_and_is_forgotten_once_there_is_one(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.fail(request(1), TEACHER, failure(1, "server")).result(10)
        ledger.fail(request(1), TEACHER, failure(1, "timeout")).result(10)
        latest = ledger.failure(reply(1).key)
        assert latest is not None
        assert latest.kind == "timeout"
        assert not ledger.has(reply(1).key)
        ledger.add(request(1), TEACHER, reply(1)).result(10)
        assert ledger.failure(reply(1).key) is None
        assert ledger.counts().failures == 2


@pytest.mark.parametrize("table", ["replies", "failures", "batches"])
@pytest.mark.parametrize("change", ["delete from {}", "update {} set created = 'x'"])
def test_rows_are_never_changed(tmp_path: Path, table: str, change: str) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as ledger:
        ledger.add(request(1), TEACHER, reply(1)).result(10)
        ledger.fail(request(1), TEACHER, failure(1)).result(10)
        ledger.note_batch(BatchState("file-1")).result(10)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        connection.execute(change.format(table))
    connection.close()


def test_spending_is_the_sum_of_what_has_a_price(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        for number in (1, 2, 3):
            ledger.add(request(number), TEACHER, reply(number))
        ledger.add(request(4), TEACHER, reply(4, cost_usd=None)).result(10)
        assert ledger.spent_usd() == (1 + 2 + 3) / 8
        assert ledger.counts().unpriced == 1
        assert ledger.mean_completion_tokens("lab-strong") == (4, 7.5)
        assert ledger.mean_completion_tokens("another") == (0, None)


def test_pandas_reads_it_in_one_line_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as ledger:
        ledger.add(request(1), TEACHER, reply(1)).result(10)
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        rows = pd.read_sql("select * from replies", connection)
        reading = connection.execute("select * from replies")  # a reader who stays
        assert len(reading.fetchmany(1)) == 1
        for number in range(2, 30):
            ledger.add(request(number), TEACHER, reply(number)).result(10)
        assert len(pd.read_sql("select * from replies", connection)) == 29
        connection.close()
    row = rows.iloc[0]
    assert row["messages"] == '[{"role":"user","content":"frage 1 frage 1 frage 1 "}]'
    assert row["params"] == '{"max_tokens": 512, "temperature": 1.0}'
    assert row["text"] == reply(1).text
    assert (row["endpoint"], row["model"], row["answered_by"], row["sample"], row["row"]) == (
        "lab", "lab-strong", "lab-strong-1", 0, "row1",
    )  # fmt: skip


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as first:
        first.hold()
        with Ledger.open(path) as second, pytest.raises(RunError) as refused:
            second.add(request(1), TEACHER, reply(1))
        said = str(refused.value)
        assert str(path) in said
        assert f"process {os.getpid()} on {socket.gethostname()}" in said
        first.add(request(1), TEACHER, reply(1)).result(10)
        with Ledger.open(path) as reader:
            assert reader.reply(reply(1).key) == reply(1)
    filled(path, 1)


WRITER = """
    import sys, time
    sys.path.insert(0, {tests!r})
    from chat.ledgers import TEACHER, reply, request
    from understudy.chat.ledger.ledger import Ledger
    ledger = Ledger.open({path!r})
    for number in range(100000):
        ledger.add(request(number), TEACHER, reply(number)).result()
        print(number, flush=True)
"""


def test_after_a_kill_all_that_was_confirmed_is_there_and_the_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    code = textwrap.dedent(WRITER.format(tests=TESTS, path=str(path)))
    confirmed = -1
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            confirmed = int(line)
            if confirmed == 40:
                with Ledger.open(path) as second, pytest.raises(RunError, match=str(writer.pid)):
                    second.hold()
                writer.send_signal(signal.SIGKILL)
    with Ledger.open(path) as ledger:
        ledger.hold()
        assert all(ledger.has(reply(number).key) for number in range(confirmed + 1))
        assert ledger.counts().replies in (confirmed + 1, confirmed + 2)
    assert confirmed >= 40
    assert [each.name for each in tmp_path.iterdir() if "lock" in each.name] == []


def test_many_rows_share_a_commit(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as ledger:
        done = [ledger.add(request(n), TEACHER, reply(n)) for n in range(2000)]
        assert {each.result(30) for each in done} == {True}
        assert ledger.counts().replies == 2000
        written = path.with_name("l.sqlite-wal").stat().st_size
    assert written < 2000 * 2 * 4096  # of a commit each, every one writes its row's page and more


def test_a_future_is_done_only_when_another_process_can_read_the_row(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    found: list[bool] = []
    with Ledger.open(path) as ledger:
        for number in range(20):
            done = ledger.add(request(number), TEACHER, reply(number))
            key = reply(number).key

            def look(_: object, key: str = key) -> None:
                with Ledger.open(path) as other:
                    found.append(other.reply(key) is not None)

            done.add_done_callback(look)
            done.result(10)
    assert found == [True] * 20


def test_texts_that_no_file_can_hold_are_kept_as_far_as_they_go(tmp_path: Path) -> None:
    odd = reply(1, text="half \ud83d a \x00 b", request_id="")
    asked = ChatRequest((Turn("system", "s\n"), Turn("user", "日本")), sample=3, id="")
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.add(asked, TEACHER, odd).result(10)
        kept = ledger.reply(odd.key)
        assert kept is not None
        assert kept.text == "half ? a \x00 b"


def test_a_row_that_cannot_be_stored_fails_alone(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        bad = ledger.add(request(1), TEACHER, reply(1, prompt_tokens=2**70))
        good = ledger.add(request(2), TEACHER, reply(2))
        assert good.result(10) is True
        with pytest.raises(RunError, match="cannot be kept"):
            bad.result(10)
        assert not ledger.has(reply(1).key)


def test_batches_are_known_by_their_file_and_their_latest_state(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as ledger:
        ledger.note_batch(BatchState("file-1", keys=("aa", "bb"), note={"n": 2})).result(10)
        ledger.note_batch(BatchState("file-2", "b2", "in_progress", ("cc",))).result(10)
        ledger.note_batch(BatchState("file-1", "b1", "completed", note={"out": "f"})).result(10)
    with Ledger.open(path) as again:
        first, second = again.batches()
    assert (first.input_file_id, first.batch_id, first.state) == ("file-1", "b1", "completed")
    assert first.keys == ("aa", "bb")
    assert first.note == {"out": "f"}
    assert first.created > "2026"
    assert (second.batch_id, second.state, second.keys) == ("b2", "in_progress", ("cc",))


def test_a_folder_another_file_and_a_later_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        Ledger.open(tmp_path)
    path = tmp_path / "l.sqlite"
    filled(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("update meta set value = '9' where name = 'schema_version'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    for look in (Ledger.hold, Ledger.counts):
        with Ledger.open(path) as ledger, pytest.raises(InputError, match="schema 9"):
            look(ledger)
    assert path.read_bytes() == before
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("create table people (name text)")
    connection.commit()
    connection.close()
    with Ledger.open(other) as ledger, pytest.raises(InputError, match="is no ledger"):
        ledger.hold()


def test_a_file_whose_writer_was_killed_before_its_first_row_is_a_new_ledger(
    tmp_path: Path,
) -> None:
    path = tmp_path / "l.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode=wal")
    connection.close()
    assert path.stat().st_size
    with Ledger.open(path) as ledger:
        assert ledger.counts().replies == 0
        ledger.add(request(1), TEACHER, reply(1)).result(10)
        assert ledger.reply(reply(1).key) == reply(1)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Ledger.open(tmp_path / "file" / "l.sqlite") as ledger, pytest.raises(RunError) as refused:
        ledger.hold()
    assert "ledger=FILE" in str(refused.value)


def test_one_ledger_may_be_written_from_several_threads(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.hold()

        def write(start: int) -> None:
            for number in range(start, start + 50):
                ledger.add(request(number), TEACHER, reply(number)).result(10)

        threads = [threading.Thread(target=write, args=(50 * k,)) for k in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert ledger.counts().replies == 200


def test_params_are_part_of_the_row(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as ledger:
        ledger.add(request(1), Teacher(stop=["\n"], temperature=0.0), reply(1)).result(10)
    connection = sqlite3.connect(path)
    found = connection.execute("select params from replies").fetchone()
    connection.close()
    assert found == ('{"stop": ["\\n"], "temperature": 0.0}',)
