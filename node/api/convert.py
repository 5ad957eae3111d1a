"""Translates etcd's protobuf messages to the store's structs and back. Pure, without decisions."""

from __future__ import annotations

from typing import Any

from aetcd.rpc import kv_pb2, rpc_pb2

from squall.node.mvcc import commands
from squall.node.mvcc.errors import KEY_NOT_FOUND, RequestError
from squall.node.mvcc.keyvalue import KeyValue
from squall.node.mvcc.results import (
    DeleteResult,
    OperationResult,
    PutResult,
    RangeResult,
    TxnResult,
)

Message = Any
"""A protobuf message: aetcd's modules carry no types."""


def range_request(message: Message) -> commands.Range:
    """Translate a RangeRequest; `serializable` is not the store's concern."""
    return commands.Range(
        message.key,
        message.range_end,
        message.limit,
        message.revision,
        message.sort_order,
        message.sort_target,
        message.keys_only,
        message.count_only,
        message.min_mod_revision,
        message.max_mod_revision,
        message.min_create_revision,
        message.max_create_revision,
    )


def put_request(message: Message) -> commands.Put:
    """Translate a PutRequest."""
    return commands.Put(
        message.key,
        message.value,
        message.lease,
        message.prev_kv,
        message.ignore_value,
        message.ignore_lease,
    )


def delete_request(message: Message) -> commands.DeleteRange:
    """Translate a DeleteRangeRequest."""
    return commands.DeleteRange(message.key, message.range_end, message.prev_kv)


def txn_request(message: Message) -> commands.Txn:
    """Translate a TxnRequest; raises RequestError for an operation that is none."""
    return commands.Txn(
        tuple(_compare(compare) for compare in message.compare),
        tuple(_operation(operation) for operation in message.success),
        tuple(_operation(operation) for operation in message.failure),
    )


_OPERAND_FIELDS = {
    commands.CompareTarget.VERSION: "version",
    commands.CompareTarget.CREATE: "create_revision",
    commands.CompareTarget.MOD: "mod_revision",
    commands.CompareTarget.VALUE: "value",
    commands.CompareTarget.LEASE: "lease",
}


def _compare(message: Message) -> commands.Compare:
    # The operand is a oneof: if another member of it is set, this one reads as zero, and etcd
    # compares with that, too.
    field = _OPERAND_FIELDS.get(message.target)
    if field is None or message.result not in frozenset(commands.CompareResult):
        raise RequestError("etcdserver: invalid compare")
    return commands.Compare(
        message.key, message.target, message.result, getattr(message, field), message.range_end
    )


def _operation(message: Message) -> commands.Operation:
    kind = message.WhichOneof("request")
    if kind == "request_range":
        return range_request(message.request_range)
    if kind == "request_put":
        return put_request(message.request_put)
    if kind == "request_delete_range":
        return delete_request(message.request_delete_range)
    if kind == "request_txn":
        return txn_request(message.request_txn)
    raise RequestError(KEY_NOT_FOUND)  # as etcd answers an empty operation


def key_value(kv: KeyValue) -> Message:
    """Return an mvccpb.KeyValue."""
    return kv_pb2.KeyValue(
        key=kv.key,
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )


def range_response(result: RangeResult, header: Message) -> Message:
    """Return a RangeResponse."""
    return rpc_pb2.RangeResponse(
        header=header,
        kvs=[key_value(kv) for kv in result.kvs],
        more=result.more,
        count=result.count,
    )


def put_response(result: PutResult, header: Message) -> Message:
    """Return a PutResponse."""
    if result.prev_kv is None:
        return rpc_pb2.PutResponse(header=header)
    return rpc_pb2.PutResponse(header=header, prev_kv=key_value(result.prev_kv))


def delete_response(result: DeleteResult, header: Message) -> Message:
    """Return a DeleteRangeResponse."""
    return rpc_pb2.DeleteRangeResponse(
        header=header,
        deleted=result.deleted,
        prev_kvs=[key_value(kv) for kv in result.prev_kvs],
    )


def txn_response(result: TxnResult, header: Message) -> Message:
    """Return a TxnResponse; the answers inside it carry the revision alone in their headers."""
    return rpc_pb2.TxnResponse(
        header=header,
        succeeded=result.succeeded,
        responses=[_response_op(answer) for answer in result.results],
    )


def _response_op(result: OperationResult) -> Message:
    header = rpc_pb2.ResponseHeader(revision=result.revision)
    if isinstance(result, RangeResult):
        return rpc_pb2.ResponseOp(response_range=range_response(result, header))
    if isinstance(result, PutResult):
        return rpc_pb2.ResponseOp(response_put=put_response(result, header))
    if isinstance(result, DeleteResult):
        return rpc_pb2.ResponseOp(response_delete_range=delete_response(result, header))
    return rpc_pb2.ResponseOp(response_txn=txn_response(result, header))
