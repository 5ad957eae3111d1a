"""Copies the evidence out of a container: the node's log, its WAL, its snapshots.

Files are copied through the engine, so the node need not be running. WAL segments are preallocated
and mostly zeros; the copies are sparse files, in which zeros take up no room.
"""

from __future__ import annotations

import errno
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, cast

import docker.errors
import msgspec
import requests.exceptions

from squall.checkers.evidence import NodeEvidence
from squall.checkers.raft.node_log import read_log
from squall.checkers.raft.wal import read_wal
from squall.harness.cluster import HarnessError, NodeStatus
from squall.harness.docker.engine import Docker, reason
from squall.harness.docker.exit_causes import environment_trouble, find_environment_trouble
from squall.harness.docker.nodes import DATA

BLOCK_BYTES = 1 << 20
HOLE_BYTES = 4096
"""The block size of common file systems: a smaller hole saves nothing."""

NODE_BYTES_MAX = 8 << 30
"""More data from one node is not copied: a runaway must not fill the controller's disk."""

LAST_LINES = 12


class NoRoomError(HarnessError):
    """The controller's disk is full."""


def fetch(engine: Docker, container: str, into: Path) -> None:
    """Copy a node's log to `node.log` and its data to `data/`; raises HarnessError."""
    into.mkdir(parents=True, exist_ok=True)
    try:
        with (into / "node.log").open("wb") as log:
            for chunk in engine.api.logs(container, stream=True, follow=False):
                log.write(chunk)
        try:
            stream, _ = engine.api.get_archive(container, f"{DATA}/member", BLOCK_BYTES)
        except docker.errors.NotFound:
            return  # it ended before it wrote anything
        unpack(stream, into / "data")
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise HarnessError(f"{container}: no copy of its evidence: {reason(error)}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoomError(
                f"no space left for the nodes' logs and data at {into.parent}: free some, or "
                "choose another place with --store"
            ) from error
        raise HarnessError(f"{into}: cannot store the nodes' evidence: {error}") from error


def digest(node: str, directory: Path, final: NodeStatus | None) -> NodeEvidence:
    """Read what `fetch` copied; the evidence says what could not be read."""
    wal = directory / "data" / "member" / "wal"
    files = {path.name: path.read_bytes() for path in wal.iterdir()} if wal.is_dir() else {}
    evidence = read_wal(node, files)
    log = directory / "node.log"
    if log.exists():
        with log.open("rb") as lines:
            alive = final is not None and final.reachable
            evidence = read_log(lines, alive=alive).join(evidence)
    if final is not None and final.reachable:
        evidence = msgspec.structs.replace(evidence, final=msgspec.to_builtins(final))
    return evidence


def split_trouble(evidence: NodeEvidence) -> tuple[NodeEvidence, tuple[str, ...]]:
    """Separate a node's own failed assertions from failures of its environment (a full disk).

    Returns the evidence with the former, and the latter as trouble.
    """
    own, forced = [], []
    for text in evidence.assertions:
        if why := find_environment_trouble(text):
            forced.append(environment_trouble(evidence.node, why))
        else:
            own.append(text)
    return msgspec.structs.replace(evidence, assertions=tuple(own)), tuple(forced)


def final_output(engine: Docker, container: str) -> str:
    """Return the end of a node's output: its fatal event if it has one, else its last lines."""
    return final_lines_of(log_tail(engine, container))


def log_tail(engine: Docker, container: str) -> list[str]:
    """Return the last 100 lines of a node's log."""
    try:
        tail: bytes = engine.api.logs(container, tail=100)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        return [f"(its log cannot be read: {reason(error)})"]
    return tail.decode(errors="replace").splitlines()


def final_lines_of(lines: Iterable[str]) -> str:
    """Return the fatal event of a log's end, else its last LAST_LINES lines."""
    kept = [line for line in lines if line.strip()]
    fatal = read_log(kept).assertions
    return fatal[-1] if fatal else "\n".join(kept[-LAST_LINES:]) or "(it said nothing)"


def unpack(chunks: Iterable[bytes], into: Path) -> None:
    """Unpack a tar stream of regular files and directories; zeros become holes."""
    into.mkdir(parents=True, exist_ok=True)
    total = 0
    with tarfile.open(fileobj=cast("IO[bytes]", _Stream(iter(chunks))), mode="r|") as tar:
        for member in tar:
            path = into / member.name
            if ".." in Path(member.name).parts or Path(member.name).is_absolute():
                raise HarnessError(f"a node's archive holds the path {member.name!r}")
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                total += member.size
                if total > NODE_BYTES_MAX:
                    raise HarnessError(f"{into}: more than {NODE_BYTES_MAX:,} bytes of data")
                content = tar.extractfile(member)
                assert content is not None
                path.parent.mkdir(parents=True, exist_ok=True)
                _copy_sparse(content.read, path, member.size)


def _copy_sparse(read: Callable[[int], bytes], path: Path, size: int) -> None:
    """Write a file of `size` bytes; what is zero in it, rounded to HOLE_BYTES, becomes holes."""
    with path.open("wb") as file:
        while block := read(BLOCK_BYTES):
            if not block.strip(b"\0"):
                file.seek(len(block), 1)
                continue
            for at in range(0, len(block), HOLE_BYTES):
                piece = block[at : at + HOLE_BYTES]
                if piece.strip(b"\0"):
                    file.write(piece)
                else:
                    file.seek(len(piece), 1)
        file.truncate(size)


class _Stream:
    """An iterator of chunks as a file with `read`: all that a streaming tar reader needs."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int = -1) -> bytes:
        parts, wanted = [], size
        while wanted:
            piece = self._rest or next(self._chunks, b"")
            if not piece:
                break
            parts.append(piece[:wanted])
            self._rest = piece[wanted:]
            wanted -= len(parts[-1])
        return b"".join(parts)
