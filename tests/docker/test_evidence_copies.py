"""Copied evidence is complete, sparse where it was empty, and stays inside its folder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from squall.harness.cluster import HarnessError, NodeStatus
from squall.harness.docker.evidence import BLOCK_BYTES, HOLE_BYTES, digest, final_lines_of, unpack


def archive(files: dict[str, bytes]) -> list[bytes]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    data = packed.getvalue()
    return [data[at : at + 1000] for at in range(0, len(data), 1000)]


def test_files_arrive_byte_for_byte(tmp_path: Path) -> None:
    files = {"member/wal/a.wal": b"x" * 3000 + bytes(5000), "member/snap/b.snap": b"", "c": b"z"}
    unpack(archive(files), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_preallocated_zeros_take_no_room(tmp_path: Path) -> None:
    content = b"x" + bytes(8 * BLOCK_BYTES)
    unpack(archive({"wal": content}), tmp_path)
    assert (tmp_path / "wal").read_bytes() == content
    assert (tmp_path / "wal").stat().st_blocks * 512 <= 2 * HOLE_BYTES


def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="path"):
        unpack(archive({"../evil": b"x"}), tmp_path / "inside")


def test_a_node_that_left_nothing_is_evidence_of_that(tmp_path: Path) -> None:
    found = digest("n1", tmp_path, NodeStatus(node="n1", reachable=False))
    assert found.log_missing
    assert found.final is None


def test_the_last_words_are_the_fatal_event() -> None:
    lines = [
        '{"event": "ready"}',
        '{"event": "fatal", "error": "AssertionError: applied > committed"}',
        '{"event": "stopped"}',
    ]
    assert final_lines_of(lines) == "AssertionError: applied > committed"


def test_without_a_fatal_event_the_last_lines_are_the_last_words() -> None:
    assert final_lines_of(["one", "", "two"]) == "one\ntwo"
    assert final_lines_of([]) == "(it said nothing)"
