"""gRPC for servers, over HTTP/2, on asyncio: what a node's clients connect to.

`Server` listens and finds the method of a path, `Connection` is HTTP/2 (RFC 9113), `Call` is one
gRPC call on it and the context its handler gets. The dialect is gRPC's: requests are POSTs whose
bodies are length-prefixed messages; statuses travel in trailers. Unary and bidirectional methods,
flow control both ways, TLS with ALPN; no compression, which no client may demand.

A general server spends a quarter of a millisecond of processor time on a call, which is several
times what Raft and the store make of it; that is why this exists. What makes it quick is little:
a header block that was seen before is not decoded again, an answer that fits the windows leaves in
one piece, and what is answered in one turn of the loop is written at once.
"""

from squall.node.rpc.call import Aborted, Call
from squall.node.rpc.limits import MAX_STREAMS, Limits
from squall.node.rpc.server import Method, Server

__all__ = ["MAX_STREAMS", "Aborted", "Call", "Limits", "Method", "Server"]
