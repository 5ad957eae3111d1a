"""A history being written: `history.jsonl`, of which the operating system has every whole line.

What a reader finds is a prefix of what was recorded: a line is written whole or cut off again, and
after one failure every further line is refused.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from squall.checkers.formats.jsonl import encode_header, encode_op
from squall.checkers.history import Op


class HistoryFile:
    """An open file, which begins with its header line. All methods raise OSError.

    `overwrite` truncates a file that exists; otherwise FileExistsError is raised. If the header
    cannot be written no file is left.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool, **header: Any) -> None:
        first = encode_header(**header)
        exclusive = os.O_TRUNC if overwrite else os.O_EXCL
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | exclusive
        self._file: int | None = os.open(path, flags, 0o644)
        self._whole_bytes = 0  # up to the end of the last whole line
        self._failure: OSError | None = None
        try:
            self._write(first)
        except OSError:
            os.close(self._file)
            if not overwrite:
                Path(path).unlink()
            raise

    def append(self, op: Op) -> None:
        """Write one Op; on return the operating system has it."""
        self._write(encode_op(op))

    def sync(self) -> None:
        """Make what was written durable."""
        if self._file is not None:
            os.fsync(self._file)

    def close(self) -> None:
        """Make the file durable and close it, once; it is closed also when that fails."""
        if self._file is not None:
            try:
                os.fsync(self._file)
            finally:
                os.close(self._file)
                self._file = None

    def _write(self, line: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        if self._file is None:
            raise ValueError("the history is closed")
        left = line
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            self._failure = error
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._whole_bytes)
            raise
        self._whole_bytes += len(line)
