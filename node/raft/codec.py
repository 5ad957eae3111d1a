"""The wire encoding of messages: a tagged msgpack array each. The transport frames them."""

from __future__ import annotations

import msgspec

from squall.node.raft.messages import Message

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class MalformedMessageError(ValueError):
    """Bytes that are no message of this protocol; the peer's connection should be closed."""


def encode(message: Message) -> bytes:
    """Return the bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes | bytearray | memoryview) -> Message:
    """Decode a message; raises MalformedMessageError."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise MalformedMessageError(f"a peer sent no valid message: {error}") from error
