"""Pages over HTTP/2: /health and its like, where TLS's ALPN has chosen HTTP/2 for curl.

They are small and answered whole: one that does not fit the windows the client left is refused, so
nothing has to wait for room here. A refusal uses none of the windows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from node.rpc import frames, headers

Pages = Callable[[str, str], Awaitable[tuple[int, str, bytes]]]
"""Answers (method, path with query) by (status, content type, body)."""


def whole(stream: int, page: tuple[int, str, bytes], room_bytes: int) -> tuple[bytes, int]:
    """Return the frames of an answer, or of its refusal, and how much of the windows they use.

    `room_bytes` is negative where a window is; an empty body needs no room (RFC 9113, 6.9.1).
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
