"""Pages over HTTP/2: /health and its like, where TLS's ALPN has chosen HTTP/2 for curl.

They are small and answered whole: one that does not fit the windows the client left is refused, so
nothing has to wait for room here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from squall.node.rpc import frames, headers

Pages = Callable[[str, str], Awaitable[tuple[int, str, bytes]]]
"""Answers (method, path with query) by (status, content type, body)."""


def whole(stream: int, page: tuple[int, str, bytes], room_bytes: int) -> bytes:
    """Return the frames of an answer, or of its refusal."""
    status, kind, body = page
    if len(body) > min(room_bytes, frames.FRAME_BYTES):
        return frames.reset(stream, frames.REFUSED_STREAM)
    head = headers.page(status, kind, len(body))
    return frames.frame(frames.HEADERS, frames.END_HEADERS, stream, head) + frames.frame(
        frames.DATA, frames.END_STREAM, stream, body
    )
