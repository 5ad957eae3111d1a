"""etcd's KV service: writes go through the log, linearizable reads wait for the read index.

A serializable read is answered at once from the applied state of this node.
"""

from __future__ import annotations

from aetcd.rpc import rpc_pb2

from squall.node.api import convert
from squall.node.api.auth_interceptor import caller
from squall.node.api.backend import Backend, header
from squall.node.api.convert import Message
from squall.node.api.proposing import apply
from squall.node.mvcc import validation
from squall.node.mvcc.auth import checks
from squall.node.mvcc.commands import Compact, Range, Txn, is_write
from squall.node.mvcc.results import CompactResult, DeleteResult, PutResult, TxnResult


async def range_(backend: Backend, message: Message) -> Message:
    """Serve KV.Range."""
    request = convert.range_request(message)
    validation.check(request)
    if not message.serializable:
        await backend.read_barrier()
    _check_readable(backend, request)
    result = backend.store.range(request)
    return convert.range_response(result, header(backend, result.revision))


async def put(backend: Backend, message: Message) -> Message:
    """Serve KV.Put."""
    request = convert.put_request(message)
    validation.check(request)
    result = await apply(backend, request, PutResult)
    return convert.put_response(result, header(backend, result.revision))


async def delete_range(backend: Backend, message: Message) -> Message:
    """Serve KV.DeleteRange."""
    request = convert.delete_request(message)
    validation.check(request)
    result = await apply(backend, request, DeleteResult)
    return convert.delete_response(result, header(backend, result.revision))


async def txn(backend: Backend, message: Message) -> Message:
    """Serve KV.Txn; one that only reads needs no log entry."""
    request = convert.txn_request(message)
    validation.check(request, backend.max_txn_ops)
    if is_write(request):
        result = await apply(backend, request, TxnResult)
    else:
        if not _is_serializable(message):
            await backend.read_barrier()
        _check_readable(backend, request)
        result = backend.store.read_txn(request)
    return convert.txn_response(result, header(backend, result.revision))


async def compact(backend: Backend, message: Message) -> Message:
    """Serve KV.Compact; the sweep is part of it, so `physical` has nothing left to wait for."""
    result = await apply(backend, Compact(message.revision), CompactResult)
    return rpc_pb2.CompactionResponse(header=header(backend, result.revision))


METHODS = {
    "/etcdserverpb.KV/Range": (rpc_pb2.RangeRequest, range_),
    "/etcdserverpb.KV/Put": (rpc_pb2.PutRequest, put),
    "/etcdserverpb.KV/DeleteRange": (rpc_pb2.DeleteRangeRequest, delete_range),
    "/etcdserverpb.KV/Txn": (rpc_pb2.TxnRequest, txn),
    "/etcdserverpb.KV/Compact": (rpc_pb2.CompactionRequest, compact),
}


def _check_readable(backend: Backend, request: Range | Txn) -> None:
    """Refuse a read its sender is not permitted; raises RequestError."""
    auth = backend.store.auth
    if auth.enabled:
        checks.check_operation(auth, backend.store.leases, caller(), request)


def _is_serializable(message: Message) -> bool:
    return all(
        operation.HasField("request_range") and operation.request_range.serializable
        for operation in (*message.success, *message.failure)
    )
