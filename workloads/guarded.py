"""Transactions that read before they write, as clients of etcd do them: two requests, one attempt.

First everything is read at one revision; then everything is written, under guards that nothing that
was read has changed since. A failed guard is a `fail`, CONFLICT, and is not retried.
"""

from __future__ import annotations

from squall.workloads.client import Definite, Indefinite, Kv, Range, Txn, TxnAnswer

CONFLICT = "conflict"
"""The error of a transaction one of whose keys was changed between its read and its write."""


async def transact(kv: Kv, txn: Txn) -> TxnAnswer:
    """Send one transaction and await its answer; raises Definite or Indefinite."""
    answer = await kv.call(txn)
    assert isinstance(answer, TxnAnswer)
    return answer


async def look(kv: Kv, ranges: tuple[Range, ...]) -> TxnAnswer:
    """Read what is to be written; without an answer nothing was written: raises Definite."""
    try:
        return await transact(kv, Txn(success=ranges))
    except Indefinite as error:
        raise Definite(f"nothing was written: {error}") from error
