"""A gRPC server over HTTP/2 on asyncio, for the node's client port.

`Server` listens and maps a path to a `Method`, `Connection` is HTTP/2 (RFC 9113), `Call` is one
gRPC call and the context that its handler gets. The protocol is gRPC's subset of HTTP/2: requests
are POSTs whose bodies are length-prefixed messages, a status travels in trailers. Unary and
bidirectional methods, flow control in both directions, TLS with ALPN; no compression, which is
optional in gRPC.

A general server (grpc.aio) spends a quarter of a millisecond of processor time on a call, several
times what Raft and the store need for it. Three things make this one cheap: a header block that was
seen before is not decoded again, a response that fits the windows is sent as one piece, and all
responses of one turn of the event loop leave in one write.

Being our own, it is held to the RFCs by tests named after their sections (tests/node/rpc), and by
`python -m bench.fuzz_rpc`.
"""

from squall.node.rpc.call import Aborted, Call, Method
from squall.node.rpc.limits import MAX_STREAMS, Limits
from squall.node.rpc.pages import Pages
from squall.node.rpc.server import Server

__all__ = ["MAX_STREAMS", "Aborted", "Call", "Limits", "Method", "Pages", "Server"]
