"""Whatever a peer says is understood, or refused as no message."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall.node.raft import codec
from squall.node.raft.messages import Message

MESSAGES = st.one_of(*(st.from_type(kind) for kind in Message.__args__))


@given(MESSAGES)
def test_a_message_survives_the_wire(message: Message) -> None:
    """Decoding gives what was encoded."""
    try:
        data = codec.encode(message)
    except OverflowError:
        return  # beyond 64 bits: no such number is ever made
    assert codec.decode(data) == message
    assert codec.decode(memoryview(data)) == message


@given(st.binary(max_size=60))
def test_noise_is_refused_as_such(data: bytes) -> None:
    """Random bytes never raise anything but the one error."""
    with contextlib.suppress(codec.MalformedMessageError):
        codec.decode(data)


def test_the_error_says_whose_fault_it_is() -> None:
    """A transport that sees it knows what to do."""
    with pytest.raises(codec.MalformedMessageError, match="a peer sent no valid message"):
        codec.decode(b"nonsense")
