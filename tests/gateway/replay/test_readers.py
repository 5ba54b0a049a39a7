"""Recordings of every format are read as the same calls, and a bad line is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gateway.replay.formats import Columns
from gateway.replay.readers import BadRecording, read
from gateway.replay.traffic import Arrival

TIME_TOKENS = Columns(time="when", output="out")
ENTRY = "kind,outcome,started_at,model,user,input_tokens,output_tokens"

FORMATS = {
    "azure": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.9799600,10,45\n"
        "2023-11-16 18:17:04.5,20,95\n",
        [(65_823.97996, 1.0, "", 55), (65_824.5, 2.0, "", 115)],
    ),
    "azure with a zone": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:01.009930+00:00,10,45\n",
        [(1.00993, 1.0, "", 55)],
    ),
    "burstgpt": (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,10,45,55,Conversation log\n9,ChatGPT,10,0,10,API log\n",
        [(5.0, 1.0, "", 55)],
    ),
    "mooncake": (
        '{"timestamp": 27482, "input_length": 10, "output_length": 45, "hash_ids": [1]}\n',
        [(27.482, 1.0, "", 55)],
    ),
    "gpu seconds": (
        "t,user,model,type,status,exec_s\n7,a,M,X,SUCCEED,3\n5,b,M,X,FAILED,\n",
        [(7.0, 3.0, "a", 0)],
    ),
    "servegen": ("t,user,in_tok,out_tok\n0.5,c1,10,45\n", [(0.5, 1.0, "c1", 55)]),
    "usage --calls": (
        f"{ENTRY},exec_seconds,gpu_seconds\n"
        "call,success,2026-11-28T01:00:00.250Z,m,ada,3,4,2.5,2.5\n"
        "call,error,2026-11-28T01:00:01.000Z,m,ada,3,0,0,0\n"
        "attempt,success,2026-11-28T01:00:01.000Z,m,ada,3,4,1,1\n",
        [(3600.25, 2.5, "ada", 7)],
    ),
    "archive": (
        f"{ENTRY},exec_us,gpu_us\ncall,success,1000003600000000,m,ada,0,0,0,1500000\n",
        [(6400.0 + 3600, 1.5, "ada", 0)],
    ),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_each_format_is_known_by_its_columns(name: str, packed: bool, tmp_path: Path) -> None:
    text, wanted = FORMATS[name]
    path = tmp_path / "recording"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    found = read(str(path))
    assert [one.at for one in found.arrivals] == pytest.approx([each[0] for each in wanted])
    assert [one.runs_s for one in found.arrivals] == pytest.approx([each[1] for each in wanted])
    assert [(one.user, one.tokens) for one in found.arrivals] == [each[2:] for each in wanted]
    assert found.left_out == text.count("\n") - len(wanted) - (not text.startswith("{"))


def test_columns_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("when,who,took\n3,ada,1.5\n")
    found = read(str(path), columns=Columns(time="when", seconds="took", user="who"))
    assert found.arrivals == [Arrival(3.0, 1.5, "ada", 0)]
    assert not found.text


def test_a_folder_is_read_whole_and_one_model_alone(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("t,model,exec_s\n9,M,1\n")
    (tmp_path / "a.csv").write_text("t,model,exec_s\n5,M,1\n6,N,1\n")
    (tmp_path / "notes.txt").write_text("not a recording")
    assert [one.at for one in read(str(tmp_path)).arrivals] == [5.0, 6.0, 9.0]
    assert [one.at for one in read(str(tmp_path), model="M").arrivals] == [5.0, 9.0]


BAD: dict[str, tuple[str | bytes, str]] = {
    "no number": ("t,exec_s\n1,2\nsoon,2\n", r"line 3: 'soon' is no time"),
    "not a time": ("t,exec_s\nnan,2\n", r"line 2: 'nan' is no time"),
    "negative": ("t,exec_s\n1,-2\n", r"line 2: exec_s is '-2'"),
    "half a token": ("t,in_tok,out_tok\n1,2,3.5\n", r"line 2: out_tok is '3\.5'"),
    "a short line": ("t,exec_s\n1,2\n3\n", r"line 3: 1 values for 2 columns"),
    "unknown columns": ("x,y\n1,2\n", r"no known columns among x, y: name them by --columns"),
    "no json": ('{"timestamp": 1,\n', r"line 1: no JSON"),
    "json without a value": (
        '{"timestamp": 1, "input_length": 1, "output_length": 1}\n\n{"timestamp": 1}\n',
        r"line 3: no value for 'output_length'",
    ),
    "a list": ('{"timestamp": 1, "input_length": 1, "output_length": 1}\n[1]\n', "line 2: no JSON"),
    "nothing": ("", r"is empty"),
    "no call": ("t,exec_s\n", r"has no call|is empty"),
    "a failed call alone": ("t,exec_s,status\n1,2,FAILED\n", r"has no call that ran"),
    "not text": (b"t,exec_s\n\xff\xfe,2\n", r"recording: .*decode"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_named_with_its_line(name: str, tmp_path: Path) -> None:
    text, said = BAD[name]
    path = tmp_path / "recording"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadRecording, match=said):
        read(str(path))


def test_a_file_that_is_not_there_and_a_cut_archive_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match="nowhere"):
        read(str(tmp_path / "nowhere.csv"))
    cut, empty = tmp_path / "cut.csv.gz", tmp_path / "empty"
    empty.mkdir()
    cut.write_bytes(gzip.compress(b"t,exec_s\n" + b"1,2\n" * 1000)[:-12])
    with pytest.raises(BadRecording, match=r"cut\.csv\.gz"):
        read(str(cut))
    with pytest.raises(BadRecording, match="no file there ends with"):
        read(str(empty))


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("when,took\n3,1.5\n")
    with pytest.raises(BadRecording, match=r"no column out; there are took, when"):
        read(str(path), columns=TIME_TOKENS)
    with pytest.raises(BadRecording, match=r"--columns: name a column for seconds"):
        read(str(path), columns=Columns(time="when"))
