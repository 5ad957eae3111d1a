"""Converts requests and answers of `squall.workloads.client` to etcd's messages and back.

Pure conversion: no connections, no classification of errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aetcd.rpc import kv_pb2, rpc_pb2

from squall.workloads.client import (
    Answer,
    Compact,
    CompactAnswer,
    Compare,
    Delete,
    DeleteAnswer,
    KeyValue,
    Put,
    PutAnswer,
    Range,
    RangeAnswer,
    Request,
    Txn,
    TxnAnswer,
    Watch,
    WatchAnswer,
    WatchEvent,
)

_RESULTS = {"=": 0, ">": 1, "<": 2, "!=": 3}
_TARGETS = {"version": 0, "create": 1, "mod": 2, "value": 3, "lease": 4}
_OPERANDS = {
    "version": "version",
    "create": "create_revision",
    "mod": "mod_revision",
    "value": "value",
    "lease": "lease",
}

METHODS: dict[type, tuple[str, Any]] = {
    Range: ("/etcdserverpb.KV/Range", rpc_pb2.RangeResponse),
    Put: ("/etcdserverpb.KV/Put", rpc_pb2.PutResponse),
    Delete: ("/etcdserverpb.KV/DeleteRange", rpc_pb2.DeleteRangeResponse),
    Txn: ("/etcdserverpb.KV/Txn", rpc_pb2.TxnResponse),
    Compact: ("/etcdserverpb.KV/Compact", rpc_pb2.CompactionResponse),
}
"""The gRPC method of each request, and the type of its response."""

WATCH = ("/etcdserverpb.Watch/Watch", rpc_pb2.WatchResponse)
"""The gRPC method of a watch, and the type of its responses."""


def encode(request: Request) -> Any:
    """Return the request as etcd's message."""
    return _ENCODERS[type(request)](request)


def decode(request: Request, message: Any) -> Answer:
    """Return etcd's answer to `request` as plain data."""
    return _DECODERS[type(request)](request, message)


def encode_watch(request: Watch) -> Any:
    """Return a watch request as etcd's message."""
    filters = {
        rpc_pb2.WatchCreateRequest.NOPUT: request.no_put,
        rpc_pb2.WatchCreateRequest.NODELETE: request.no_delete,
    }
    create = rpc_pb2.WatchCreateRequest(
        key=request.key,
        range_end=request.range_end,
        start_revision=request.start_revision,
        progress_notify=request.progress_notify,
        filters=[each for each, wanted in filters.items() if wanted],
        prev_kv=request.prev_kv,
    )
    return rpc_pb2.WatchRequest(create_request=create)


def encode_progress() -> Any:
    """Return a request for a progress notification as etcd's message."""
    return rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest())


def decode_watch(message: Any) -> WatchAnswer:
    """Return one response of a watch as plain data."""
    return WatchAnswer(
        revision=message.header.revision,
        events=tuple(map(_watch_event, message.events)),
        created=message.created,
        canceled=message.canceled,
        compact_revision=message.compact_revision,
        cancel_reason=message.cancel_reason,
    )


def _watch_event(message: Any) -> WatchEvent:
    return WatchEvent(
        deleted=message.type == kv_pb2.Event.DELETE,
        kv=_key_value(message.kv),
        prev_kv=_key_value(message.prev_kv) if message.HasField("prev_kv") else None,
    )


def _range(request: Range) -> Any:
    return rpc_pb2.RangeRequest(
        key=request.key,
        range_end=request.range_end,
        revision=request.revision,
        limit=request.limit,
        serializable=request.serializable,
    )


def _put(request: Put) -> Any:
    return rpc_pb2.PutRequest(
        key=request.key, value=request.value, lease=request.lease, prev_kv=request.prev_kv
    )


def _delete(request: Delete) -> Any:
    return rpc_pb2.DeleteRangeRequest(
        key=request.key, range_end=request.range_end, prev_kv=request.prev_kv
    )


def _txn(request: Txn) -> Any:
    return rpc_pb2.TxnRequest(
        compare=[_compare(each) for each in request.compares],
        success=[_op(each) for each in request.success],
        failure=[_op(each) for each in request.failure],
    )


def _compact(request: Compact) -> Any:
    return rpc_pb2.CompactionRequest(revision=request.revision, physical=request.physical)


def _compare(compare: Compare) -> Any:
    return rpc_pb2.Compare(
        key=compare.key,
        result=_RESULTS[compare.op],
        target=_TARGETS[compare.target],
        **{_OPERANDS[compare.target]: compare.operand},
    )


_OP_FIELDS: dict[type, str] = {
    Range: "request_range",
    Put: "request_put",
    Delete: "request_delete_range",
    Txn: "request_txn",
}


def _op(request: Request) -> Any:
    return rpc_pb2.RequestOp(**{_OP_FIELDS[type(request)]: encode(request)})


def _key_value(message: kv_pb2.KeyValue) -> KeyValue:
    return KeyValue(
        key=message.key,
        value=message.value,
        create_revision=message.create_revision,
        mod_revision=message.mod_revision,
        version=message.version,
        lease=message.lease,
    )


def _range_answer(_: Request, message: Any) -> RangeAnswer:
    return RangeAnswer(
        kvs=tuple(map(_key_value, message.kvs)),
        count=message.count,
        more=message.more,
        revision=message.header.revision,
        term=message.header.raft_term,
    )


def _put_answer(_: Request, message: Any) -> PutAnswer:
    return PutAnswer(
        revision=message.header.revision,
        prev_kv=_key_value(message.prev_kv) if message.HasField("prev_kv") else None,
        term=message.header.raft_term,
    )


def _delete_answer(_: Request, message: Any) -> DeleteAnswer:
    return DeleteAnswer(
        deleted=message.deleted,
        revision=message.header.revision,
        prev_kvs=tuple(map(_key_value, message.prev_kvs)),
        term=message.header.raft_term,
    )


def _txn_answer(request: Request, message: Any) -> TxnAnswer:
    assert isinstance(request, Txn)
    branch = request.success if message.succeeded else request.failure
    answers = []
    for asked, response in zip(branch, message.responses, strict=True):
        answers.append(decode(asked, getattr(response, response.WhichOneof("response"))))
    return TxnAnswer(
        succeeded=message.succeeded,
        revision=message.header.revision,
        answers=tuple(answers),
        term=message.header.raft_term,
    )


def _compact_answer(_: Request, message: Any) -> CompactAnswer:
    return CompactAnswer(revision=message.header.revision, term=message.header.raft_term)


_ENCODERS: dict[type, Callable[[Any], Any]] = {
    Range: _range,
    Put: _put,
    Delete: _delete,
    Txn: _txn,
    Compact: _compact,
}
_DECODERS: dict[type, Callable[[Request, Any], Answer]] = {
    Range: _range_answer,
    Put: _put_answer,
    Delete: _delete_answer,
    Txn: _txn_answer,
    Compact: _compact_answer,
}
