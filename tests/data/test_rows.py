"""Files of rows: three formats give the same rows, and no content ends in anything but one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.rows import RowFile, content_sha256, read_rows
from understudy.records import InputError

ROWS = [{"instruction": "解释 a", "input": "", "output": "b\u2028c"}, {"instruction": "d", "n": 1}]


def write(path: Path, rows: Sequence[Any]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".JSON"])
def test_json_and_jsonl_give_the_rows(tmp_path: Path, ending: str) -> None:
    file = read_rows(write(tmp_path / f"a{ending.lower()}", ROWS).rename(tmp_path / f"b{ending}"))
    assert file.rows == ROWS


def test_parquet_gives_the_rows_with_nulls(tmp_path: Path) -> None:
    file = read_rows(write(tmp_path / "a.parquet", [{"a": "x", "b": "y"}, {"a": "z", "b": None}]))
    assert file.rows == [{"a": "x", "b": "y"}, {"a": "z", "b": None}]


def test_the_manifest_entry_is_path_hash_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"a": 1}]')
    entry = read_rows(path).input_file
    expected = "2696610e78752a9e7bd0c4b0404b2fb01a41a19bf23c9b8efa066811c8555d6b"
    assert (entry.path, entry.sha256, entry.rows) == (str(path), expected, 1)


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n\r\n')
    assert read_rows(path).rows == [{"a": 1}, {"a": 2}]


def complaint(path: Path) -> str:
    """What is wrong with a file; nothing when it has rows."""
    try:
        assert read_rows(path).rows
    except InputError as error:
        return str(error)
    return ""


MALFORMED = [
    ("a.json", b'[{"a": 1},\n {"a": ]', r"a\.json line 2 column 8: not JSON \(Expecting value\)"),
    ("a.json", b'{"a": 1}\n{"a": 2}\n', r"line 2 column 1: not JSON \(Extra data\).*\.jsonl"),
    ("a.json", b'{"data": []}', r"a\.json: holds an object, not a list of rows"),
    ("a.json", b"[]", r"a\.json: 0 rows"),
    ("a.json", b"", r"a\.json: 0 rows"),
    ("a.jsonl", b"\n \n", r"a\.jsonl: 0 rows"),
    ("a.json", b'[{"a": 1}, 7]', r"a\.json row 2: is a number, not an object"),
    ("a.jsonl", b'{"a": 1}\n[1]\n', r"a\.jsonl row 2: is a list, not an object"),
    ("a.jsonl", b'{"a": 1}\n{"a": \n', r"a\.jsonl line 2 column 6: not JSON"),
    ("a.jsonl", b'{"a": 1}\n\n{"a": 2}\n', r"a\.jsonl line 2 column 1: not JSON"),
    ("a.json", '[\n{"a": "caf\u00e9"}]'.encode("latin-1"), r"line 2: not UTF-8 \(byte 13 is 0xe9"),
    ("a.json", '[{"a": 1}]'.encode("utf-16"), r"line 1: not UTF-8 \(byte 1 is 0xff\)"),
    ("baseline.json", b"[\n{]", r"baseline\.json line 2 column 2: not JSON"),
    ("a.json", b"[" * 100_000, r"a\.json from line 1: not JSON that can be read"),
    ("a.json", b"[" + b"1" * 5000 + b"]", r"a\.json from line 1: not JSON that can be read"),
    ("a.parquet", b"PAR1 no", r"a\.parquet: not a Parquet file"),
    ("a.parquet", b"", r"a\.parquet: not a Parquet file"),
    ("a.csv", b"a,b", r"a\.csv: the format is told by the ending; give one of \.json, \.jsonl"),
]


@pytest.mark.parametrize(("name", "content", "said"), MALFORMED)
def test_a_malformed_file_is_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "gpt4.json", ROWS)
    with pytest.raises(InputError, match=r"gpt_4\.json: no such file; did you mean gpt4\.json\?"):
        read_rows(tmp_path / "gpt_4.json")
    with pytest.raises(InputError, match=r"no such file; there is no folder .*nowhere"):
        read_rows(tmp_path / "nowhere" / "gpt4.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InputError, match=r"is a folder; give a file in it; .* holds no \.json"):
        read_rows(tmp_path / "folder.json")
    with pytest.raises(InputError, match=r"cannot be read \(File name too long\)"):
        read_rows(tmp_path / ("x" * 300 + ".json"))
    with pytest.raises(InputError, match=r"cannot be read \(embedded null byte\)"):
        read_rows("a\0.json")


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".json", ".jsonl", ".parquet"]))
def test_any_bytes_are_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / f"a{ending}"
    path.write_bytes(content)
    assert "\n" not in complaint(path)


def test_a_parquet_file_damaged_anywhere_is_rows_or_one_line(tmp_path: Path) -> None:
    content = write(tmp_path / "good.parquet", ROWS).read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path = tmp_path / "bad.parquet"
        path.write_bytes(damaged)
        assert "\n" not in complaint(path)


def nested(*elements: Any) -> RowFile:  # noqa: ANN401 - any
    return RowFile("core", "", [{"instruction": "Say a", "instances": list(elements)}])


def test_each_object_of_a_list_becomes_a_row_with_the_others_fields() -> None:
    file = nested({"input": "x", "output": "y"}, {"input": "z", "output": "w"}).expanded(
        "instances"
    )
    assert file.rows == [
        {"instruction": "Say a", "input": "x", "output": "y"},
        {"instruction": "Say a", "input": "z", "output": "w"},
    ]
    assert (file.input_file.path, file.input_file.rows) == ("core", 2)
    assert str(file.error(2, "wrong", field="input")) == (
        "core row 1 instances[1] field 'input': wrong"
    )


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (nested(7), r"core row 1 field 'instances\[0\]': is a number, not an object"),
        (nested(), "core: every 'instances' is empty"),
        (RowFile("core", "", [{"instances": "x"}]), "'instances': a text, not a list of objects"),
        (RowFile("core", "", [{"a": 1}]), "core row 1 field 'instances': missing, not a list"),
    ],
)
def test_what_cannot_be_expanded_is_one_line(file: RowFile, said: str) -> None:
    with pytest.raises(InputError, match=said):
        file.expanded("instances")


NAMES = {"instruction": "instruction", "input": "input", "expand": "instances"}


def test_rows_that_say_the_same_have_one_hash() -> None:
    plain = [{"instruction": "解释 a", "instances": [{"output": "b"}]}]
    stored = [{"text": "t", "instruction": "解释 a", "input": "", "instances": [{"output": "b"}]}]
    table = [{"instruction": "解释 a", "input": None, "instances": [{"output": "b", "c": None}]}]
    hashes = {content_sha256(rows, NAMES) for rows in (plain, stored, table)}
    assert len(hashes) == 1
    renamed = [{"prompt": "解释 a", "instances": [{"output": "b"}]}]
    assert content_sha256(renamed, {**NAMES, "instruction": "prompt"}) in hashes


@pytest.mark.parametrize(
    "other",
    [
        [{"instruction": "a", "input": "b"}, {"instruction": "c"}],
        [{"instruction": "c", "input": "b"}],
        [{"instruction": "a"}],
        [{"instruction": "b", "input": "a"}],
        [{"instruction": "a\ud800", "input": "b"}],
    ],
)
def test_rows_that_say_something_else_have_another_hash(other: list[dict[str, str]]) -> None:
    assert content_sha256(other, NAMES) != content_sha256(
        [{"instruction": "a", "input": "b"}], NAMES
    )
