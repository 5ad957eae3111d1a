"""Messages as bytes: a tagged msgpack array each. Framing is the transport's business."""

from __future__ import annotations

import msgspec

from squall.node.raft.messages import Message

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class MalformedMessageError(ValueError):
    """The peer sent bytes that are no message of this protocol; its connection should be closed."""


def encode(message: Message) -> bytes:
    """Give the bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes | bytearray | memoryview) -> Message:
    """Read a message back; raises MalformedMessageError."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise MalformedMessageError(f"a peer sent no valid message: {error}") from error
