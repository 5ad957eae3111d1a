"""A client's request served by a simulated node, as the node's own API serves it.

Same checks, same order, same state machine: `squall.node.mvcc.validation`, then the log or a read
barrier, then `squall.node.mvcc`. Only gRPC and protobuf are missing; runs in containers test those.
Whether an outcome is certain is the replica's own statement (`REFUSED`, `UNKNOWN`): a refusal that
took effect after all is a bug of the node, and the checkers report it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from squall.node.mvcc import commands, results, validation
from squall.node.mvcc.errors import RequestError
from squall.node.mvcc.keyvalue import KeyValue
from squall.node.mvcc.store import Store
from squall.node.mvcc.watch.watchers import WatchHub
from squall.node.raft.membership import Change
from squall.node.replica import Outcome, Reply
from squall.workloads import client

OPERATORS = {
    "=": commands.CompareResult.EQUAL,
    ">": commands.CompareResult.GREATER,
    "<": commands.CompareResult.LESS,
    "!=": commands.CompareResult.NOT_EQUAL,
}
TARGETS = {
    "version": commands.CompareTarget.VERSION,
    "create": commands.CompareTarget.CREATE,
    "mod": commands.CompareTarget.MOD,
    "value": commands.CompareTarget.VALUE,
    "lease": commands.CompareTarget.LEASE,
}

Answered = Callable[[client.Answer | Exception], None]
"""Called once with the answer, or with Definite or Indefinite."""


def to_command(request: client.Request) -> Any:
    """Translate a client's request into the store's command."""
    match request:
        case client.Range():
            return commands.Range(
                request.key, request.range_end, request.limit, revision=request.revision
            )
        case client.Put():
            return commands.Put(request.key, request.value, request.lease, request.prev_kv)
        case client.Delete():
            return commands.DeleteRange(request.key, request.range_end, request.prev_kv)
        case client.Txn():
            return commands.Txn(
                tuple(_compare(compare) for compare in request.compares),
                tuple(to_command(each) for each in request.success),
                tuple(to_command(each) for each in request.failure),
            )
        case client.Compact():
            return commands.Compact(request.revision)


def to_answer(result: Any, term: int) -> client.Answer:
    """Translate a result of the store into the client's answer; raises Definite for a refusal."""
    match result:
        case results.RangeResult():
            found = tuple(to_key_value(each) for each in result.kvs)
            return client.RangeAnswer(found, result.count, result.more, result.revision, term)
        case results.PutResult():
            previous = to_key_value(result.prev_kv) if result.prev_kv is not None else None
            return client.PutAnswer(result.revision, previous, term)
        case results.DeleteResult():
            gone = tuple(to_key_value(each) for each in result.prev_kvs)
            return client.DeleteAnswer(result.deleted, result.revision, gone, term)
        case results.TxnResult():
            answers = tuple(to_answer(each, term) for each in result.results)
            return client.TxnAnswer(result.succeeded, result.revision, answers, term)
        case results.CompactResult():
            return client.CompactAnswer(result.revision, term)
        case RequestError():
            raise client.Definite(result.text)
        case _:
            raise TypeError(f"the store answered with {result!r}")


class Stream(Protocol):
    """Serves a client's stream; it ends with the process."""

    def hang_up(self) -> None:
        """The process is gone."""
        ...


class NodeApi:
    """The API of one running node: turns requests into tickets, and replies into answers."""

    def __init__(self, replica: Any, store: Store) -> None:
        self._replica = replica
        self._store = store
        self._tickets = 0
        self._waiting: dict[int, tuple[Any, Answered]] = {}
        self.streams: dict[Stream, None] = {}

    @property
    def watches(self) -> WatchHub:
        """The store's watchers."""
        return self._store.watches

    def hang_up(self) -> None:
        """Break every client's stream: the process is gone."""
        for stream in self.streams:
            stream.hang_up()

    def serve(self, request: client.Request, now_us: int, answered: Answered) -> None:
        """Take a request; `answered` is called now, or when the replica has replied."""
        command = to_command(request)
        if not isinstance(command, commands.Compact):
            try:
                validation.check(command)
            except RequestError as refusal:
                answered(client.Definite(refusal.text))
                return
        if isinstance(command, commands.Compact) or commands.is_write(command):
            ticket = self._ticket(None, answered)
            self._replica.propose(ticket, commands.encode(command), now_us)
        elif _is_serializable(request):
            answered(self._read(command))
        else:
            self._replica.read_barrier(self._ticket(command, answered), now_us)

    def change_members(self, change: Change, now_us: int) -> None:
        """Propose a change of members; its outcome is seen in the configuration only."""
        self._replica.propose_membership(self._ticket(change, _discard), change, now_us)

    def reply(self, reply: Reply) -> None:
        """Pass a reply of the replica to the request that waits for it."""
        command, answered = self._waiting.pop(reply.ticket)
        if answered is _discard:
            return
        if reply.outcome is Outcome.DONE:
            answered(self._read(command) if command is not None else self._result(reply))
        elif reply.outcome is Outcome.REFUSED:
            answered(client.Definite(reply.error))
        else:
            answered(client.Indefinite(reply.error))

    def _ticket(self, command: Any, answered: Answered) -> int:
        self._tickets += 1
        self._waiting[self._tickets] = (command, answered)
        return self._tickets

    def _result(self, reply: Reply) -> client.Answer | Exception:
        try:
            return to_answer(reply.result, reply.term)
        except client.Definite as refusal:
            return refusal

    def _read(self, command: Any) -> client.Answer | Exception:
        store = self._store
        try:
            if isinstance(command, commands.Range):
                return to_answer(store.range(command), self._replica.status().term)
            return to_answer(store.read_txn(command), self._replica.status().term)
        except RequestError as refusal:
            return client.Definite(refusal.text)


def _discard(_: client.Answer | Exception) -> None:
    """Discard an answer that the proposer does not wait for."""


def _is_serializable(request: client.Request) -> bool:
    if isinstance(request, client.Range):
        return request.serializable
    assert isinstance(request, client.Txn), request
    reads = (*request.success, *request.failure)
    return all(isinstance(each, client.Range) and each.serializable for each in reads)


def _compare(compare: client.Compare) -> commands.Compare:
    return commands.Compare(
        compare.key, TARGETS[compare.target], OPERATORS[compare.op], compare.operand
    )


def to_key_value(found: KeyValue) -> client.KeyValue:
    """Translate a version of a key into the client's struct."""
    return client.KeyValue(
        found.key,
        found.value,
        found.create_revision,
        found.mod_revision,
        found.version,
        found.lease,
    )
