"""Responses that are not gRPC over HTTP/2: /health and the like, where ALPN chose HTTP/2 for curl.

A page is sent whole or refused: one that does not fit the send windows is reset with
REFUSED_STREAM, so pages need no queue. A refusal uses no window.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from squall.node.rpc import frames, headers

Pages = Callable[[str, str], Awaitable[tuple[int, str, bytes]]]
"""Maps (method, path with query) to (status, content type, body)."""


def response_frames(
    stream: int, page: tuple[int, str, bytes], room_bytes: int
) -> tuple[bytes, int]:
    """Return the frames of a response or its refusal, and how many bytes of window they use.

    `room_bytes` may be negative; an empty body needs no window (RFC 9113, 6.9.1).
    """
    status, kind, body = page
    if body and len(body) > room_bytes:
        return frames.reset(stream, frames.REFUSED_STREAM), 0
    head = headers.page(status, kind, len(body))
    parts = [frames.frame(frames.HEADERS, frames.END_HEADERS, stream, head)]
    for begin in range(0, len(body) or 1, frames.FRAME_BYTES):
        piece = body[begin : begin + frames.FRAME_BYTES]
        last = begin + len(piece) == len(body)
        parts.append(frames.frame(frames.DATA, frames.END_STREAM if last else 0, stream, piece))
    return b"".join(parts), len(body)
