"""A history of one's own clients, written to `history.jsonl` as it happens.

    with Recorder("history.jsonl", model="cas-register") as recorder:
        alice = recorder.client("alice")
        with alice.invoke("write", key="x", value=1) as op:
            store.put("x", 1)
            op.ok()
        with alice.invoke("read", key="x") as op:
            op.ok(store.get("x"))

The rules that keep such a history true:

* An invocation is stamped, and handed to the operating system, before its block runs; a completion
  is stamped in `ok` or `fail`, which are called when the answer is there. An interval is therefore
  never narrower than what happened.
* `ok` says that it happened, `fail` that it never happened and never will. A block that ends
  without either, by an exception or not, is `info`: it may happen at any later time.
* After `info` the client goes on under another process name (`alice`, `alice/2`, `alice/3`...),
  since its former operation stays open to the end of the history.
* Nothing is retried and nothing is added: a file that cannot be written raises OSError from
  `invoke`, before the request leaves, or from `ok` and `fail`; from then on nothing is recorded.

A `Recorder` may be shared by threads and by asyncio tasks: recording takes microseconds and awaits
nothing. A `Client` does one operation at a time; each thread or task has one of its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from squall.checkers.history import History, Op, OpType, is_client
from squall.harness.history_file import HistoryFile

READS: Final = frozenset({"read", "serializable-read", "get", "range", "dequeue", "pop"})
"""Functions whose answer is what they are for: `ok` asks for it, if only for None."""


class _Omitted:
    """The type of the answer that was not given."""


_OMITTED: Final = _Omitted()


class Recorder:
    """Writes a history; a context manager that closes it.

    `path`: the file, which must not exist yet unless `overwrite`. `model`: by what `squall check`
    judges the file when it is not told, a name of `squall check --models`. `now_ns`: a monotonic
    clock in nanoseconds, shared by all clients; its reading now is the history's zero. `header`:
    more fields for the file's first line.

    Raises FileExistsError and OSError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        model: str | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        overwrite: bool = False,
        header: dict[str, Any] | None = None,
    ) -> None:
        self._header = {**(header or {}), **({"model": model} if model else {})}
        self._now_ns, self._zero_ns = now_ns, now_ns()
        self._latest_ns = 0
        self._ops: list[Op] = []
        self._names: set[int | str] = set()
        self._lock = threading.Lock()
        try:
            self._file = HistoryFile(path, overwrite=overwrite, **self._header)
        except FileExistsError:
            raise FileExistsError(
                f"{os.fspath(path)} exists, and a history is of one run: remove it, choose another "
                f"path, or say overwrite=True"
            ) from None

    def client(self, name: str | int | None = None) -> Client:
        """Return a new client; without a name it is called by the lowest number that is free.

        Raises ValueError for a name that is taken, or that stands for no client.
        """
        with self._lock:
            if name is None:
                name = self._lowest_free()
            _check_name(name)
            if name in self._names:
                raise ValueError(f"there is a client {name!r} already: a name is one client's")
            self._names.add(name)
        return Client(self, name)

    @property
    def history(self) -> History:
        """What is recorded so far; operations without an answer are open."""
        with self._lock:
            return History(self._ops, header=dict(self._header))

    def close(self) -> None:
        """Make the file durable and close it; nothing can be recorded afterwards. Idempotent."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _record(
        self,
        process: int | str,
        type_: OpType,
        f: str,
        key: str | None,
        value: Any,
        *,
        node: str | None,
        error: str | None = None,
    ) -> None:
        """Stamp an event and write it; both under the lock, so that times and lines agree."""
        with self._lock:
            time_ns = self._now_ns() - self._zero_ns
            if time_ns < self._latest_ns:
                raise ValueError(
                    f"the clock went back from {self._latest_ns} to {time_ns} ns: "
                    f"a history needs a monotonic one"
                )
            op = Op(
                index=len(self._ops),
                time_ns=time_ns,
                process=process,
                type=type_,
                f=f,
                key=key,
                value=value,
                node=node,
                error=error,
            )
            self._file.append(op)
            self._latest_ns = time_ns
            self._ops.append(op)

    def _successor(self, name: int | str) -> int | str:
        """Return the process under which a client goes on after an operation that stays open."""
        with self._lock:
            if isinstance(name, int):
                following: int | str = self._lowest_free()
            else:
                number = 2
                while f"{name}/{number}" in self._names:
                    number += 1
                following = f"{name}/{number}"
            self._names.add(following)
            return following

    def _lowest_free(self) -> int:
        number = 0
        while number in self._names:
            number += 1
        return number


class Client:
    """One sequential client of the system: `name` for good, `process` until its next `info`."""

    def __init__(self, recorder: Recorder, name: int | str) -> None:
        self.name: Final = name
        self.process: int | str = name
        self._recorder = recorder
        self._open: Invocation | None = None

    def invoke(
        self,
        f: str,
        *,
        key: str | None = None,
        value: Any = None,
        node: str | None = None,
        fail_on: tuple[type[BaseException], ...] = (),
    ) -> Invocation:
        """Return a context manager that records one operation: `with client.invoke("read") as op`.

        `f` is a function of the model, `key` the object, `value` its argument as JSON has it (of a
        cas: [expected, new]); `node` is who is asked. `fail_on` are exceptions that say for certain
        that nothing happened and never will: a refused connection, but no timeout. Every exception
        leaves the block as it came.
        """
        for what, text in (("f", f), ("key", key), ("node", node)):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{what} is a text, not {text!r}")
        return Invocation(self, f, key, _plain(value, f), node, fail_on)

    def _begin(self, invocation: Invocation) -> None:
        if self._open is not None:
            raise RuntimeError(
                f"client {self.name!r} begins {invocation.f} while its {self._open.f} is open: "
                f"a client does one operation at a time; make one for each thread or task"
            )
        self._recorder._record(  # noqa: SLF001 - of this module
            self.process,
            OpType.INVOKE,
            invocation.f,
            invocation.key,
            invocation.value,
            node=invocation.node,
        )
        self._open = invocation

    def _end(self, invocation: Invocation, how: OpType, value: Any, error: str | None) -> None:
        if self._open is not invocation:
            raise RuntimeError(f"{invocation.f} is answered outside of its block")
        self._open = None
        process = self.process
        if how is OpType.INFO:
            self.process = self._recorder._successor(self.name)  # noqa: SLF001 - of this module
        self._recorder._record(  # noqa: SLF001 - of this module
            process, how, invocation.f, invocation.key, value, node=invocation.node, error=error
        )


class Invocation:
    """One operation, from the beginning of its block to its answer."""

    def __init__(
        self,
        client: Client,
        f: str,
        key: str | None,
        value: Any,
        node: str | None,
        fail_on: tuple[type[BaseException], ...],
    ) -> None:
        self.f: Final = f
        self.key: Final = key
        self.value: Final = value
        self.node: Final = node
        self._client = client
        self._fail_on = fail_on
        self._answered = False

    def ok(self, value: Any = _OMITTED) -> None:
        """It happened; `value` is the answer, and without one what was asked (a write's value).

        Raises TypeError for a read without an answer (None says that nothing was there) and for a
        value that JSON does not have; RuntimeError if there is an answer already.
        """
        if value is _OMITTED:
            if self.f in READS:
                raise TypeError(f"a {self.f} answers something: ok(value), or ok(None) for nothing")
            value = self.value
        self._answer(OpType.OK, _plain(value, self.f), None)

    def fail(self, error: object = None) -> None:
        """It never happened and never will; `error` says why. Raises as `ok` does."""
        self._answer(OpType.FAIL, self.value, None if error is None else str(error))

    def info(self, error: object = None) -> None:
        """Whether it happened is unknown; `error` says why. The client's process retires."""
        self._answer(OpType.INFO, self.value, None if error is None else str(error))

    def __enter__(self) -> Self:
        if self._answered:
            raise RuntimeError(f"this {self.f} has had its block: invoke another")
        self._client._begin(self)  # noqa: SLF001 - of this module
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._answered:
            return
        if kind is None:
            self.info("the block ended without an answer")
        elif issubclass(kind, self._fail_on):
            self.fail(_described(kind, error))
        else:
            self.info(_described(kind, error))

    def _answer(self, how: OpType, value: Any, error: str | None) -> None:
        if self._answered:
            raise RuntimeError(f"{self.f} has its answer already")
        self._answered = True
        self._client._end(self, how, value, error)  # noqa: SLF001 - of this module


def _described(kind: type[BaseException], error: BaseException | None) -> str:
    text = str(error)
    return f"{kind.__name__}: {text}" if text else kind.__name__


def _plain(value: Any, f: str) -> Any:
    """Return a value as the file will have it, apart from what the caller may go on changing."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except TypeError as error:
        raise TypeError(f"a value of {f} is no value of JSON: {error}") from None


def _check_name(name: object) -> None:
    if isinstance(name, bool) or not isinstance(name, int | str):
        raise ValueError(f"a client is called by a text or a number, not {name!r}")
    if isinstance(name, str) and (not name or not name.isprintable() or not is_client(name)):
        raise ValueError(
            f"no client can be called {name!r}: a name is printable, and nemesis, nemesis/... and "
            f"observer stand for others"
        )
