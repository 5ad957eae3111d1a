"""Client steps of the watch workload: one request each, and one watch from its creation to its end.

What is asked and answered stands in the history as `squall.checkers.etcd.model` and
`squall.checkers.watch.rules` read it: keys without the run's prefix, values as the integers that
they are.
"""

from __future__ import annotations

from typing import Any, Final

from squall.checkers.history import Op, OpType
from squall.workloads.client import (
    Definite,
    Indefinite,
    Kv,
    Watch,
    WatchAnswer,
    WatchEvent,
    WatchStream,
)
from squall.workloads.etcd_requests import answer_of, key_bytes, to_request
from squall.workloads.workload import Completion

WATCH = "watch"

NS_PER_MS: Final = 1_000_000

CREATION_NS: Final = 1_500 * NS_PER_MS
"""A watch that was not confirmed by then counts as not created: its node does not answer."""

ASK_EVERY: Final = 4
"""A client that requests progress does so after this many answers ..."""

ASK_AFTER_NS: Final = 200 * NS_PER_MS
"""... or when nothing arrived for this long."""


class Steps:
    """Does operations under one prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def invoke(self, kv: Kv, op: Op) -> Completion:
        """Do one operation."""
        if op.f == WATCH:
            return await self._watch(kv, op.value)
        answer = await kv.call(to_request(op.f, op.value, self._prefix))
        value = answer_of(answer, self._prefix, int)
        return Completion(type=OpType.OK, value=value, meta={"term": answer.term})

    async def _watch(self, kv: Kv, asked: dict[str, Any]) -> Completion:
        """Hold a watch until its time is over, or until it ends by itself."""
        filters = asked.get("filters", ())
        stream = await kv.watch(
            Watch(
                key_bytes(asked, "key", self._prefix),
                key_bytes(asked, "end", self._prefix),
                asked.get("start", 0),
                no_put="put" in filters,
                no_delete="delete" in filters,
                prev_kv=bool(asked.get("prev")),
                progress_notify=bool(asked.get("progress")),
            )
        )
        try:
            created = await stream.next(CREATION_NS)
            if created is None:
                raise Indefinite("the watch was not confirmed in time")
            if created.canceled:
                raise Definite(created.cancel_reason)
            listener = _Listener(stream, asked)
            ended = await listener.listen()
        finally:
            await stream.close()
        answer = {
            "created": created.revision,
            "responses": [self._response(each, asked) for each in listener.heard],
            "ended": ended,
        }
        if listener.compacted:
            answer["compacted"] = listener.compacted
        return Completion(type=OpType.OK, value=answer)

    def _response(self, answer: WatchAnswer, asked: dict[str, Any]) -> dict[str, Any]:
        if answer.is_progress:
            return {"revision": answer.revision, "progress": True}
        prev = bool(asked.get("prev"))
        events = [self._event(event, prev) for event in answer.events]
        return {"revision": answer.revision, "events": events}

    def _event(self, event: WatchEvent, prev: bool) -> list[Any]:
        kv, before = event.kv, event.prev_kv
        value = None if event.deleted else int(kv.value)
        kind = "delete" if event.deleted else "put"
        told = [kind, kv.key[len(self._prefix.encode()) :].decode(), value, kv.mod_revision]
        return [*told, int(before.value) if before is not None else None] if prev else told


class _Listener:
    """What a client does with its watch: `asked` says how long, how slowly, and how it asks."""

    def __init__(self, stream: WatchStream, asked: dict[str, Any]) -> None:
        self._stream = stream
        self._lasts_ns = asked["lasts_ms"] * NS_PER_MS
        self._rest_ns = asked.get("rest_ms", 0) * NS_PER_MS
        self._asks = bool(asked.get("asks"))
        self._until = asked.get("until", 0)
        self.heard: list[WatchAnswer] = []
        self.compacted = 0

    async def listen(self) -> str:
        """Take what comes; returns why it ended."""
        stream = self._stream
        if self._asks:
            await stream.ask_progress()
        while (left_ns := self._lasts_ns - stream.elapsed_ns) > 0:
            try:
                answer = await stream.next(min(left_ns, ASK_AFTER_NS) if self._asks else left_ns)
            except (Definite, Indefinite) as error:
                return f"broken: {error}"
            if answer is not None:
                if answer.canceled:
                    self.compacted = answer.compact_revision
                    return "compacted" if self.compacted else f"canceled: {answer.cancel_reason}"
                self.heard.append(answer)
                if self._until and answer.is_progress and answer.revision >= self._until:
                    return "complete"
                if self._rest_ns:
                    await stream.rest(min(self._rest_ns, max(left_ns, 0)))
            if self._asks and (answer is None or len(self.heard) % ASK_EVERY == 0):
                await stream.ask_progress()
        return "time"
