"""What the driver needs of a node, without a database: /debug/status, packets to peers, a crash.

The node first in the initial cluster leads. `POST /debug/crash` ends the process as a failed
assertion does: a `fatal` line, exit code 2. A counter in the data directory tells starts apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

parser = argparse.ArgumentParser()
for flag in ("name", "data-dir", "initial-cluster", "listen-metrics-urls", "listen-peer-urls"):
    parser.add_argument(f"--{flag}", required=True)
options, rest = parser.parse_known_args()
members = dict(pair.split("=", 1) for pair in options.initial_cluster.split(","))
leader = min(members)


def log(event: str, **fields: object) -> None:
    print(json.dumps({"ts": "", "level": "info", "event": event, **fields}), file=sys.stderr)


def status() -> dict[str, object]:
    return {
        "name": options.name,
        "role": "leader" if options.name == leader else "follower",
        "term": 1,
        "leader": leader,
        "commit": 1,
        "applied": 1,
        "last_index": 1,
        "revision": 1,
        "digest": "00",
        "wall_ns": time.time_ns(),
        "monotonic_ns": time.monotonic_ns(),
        "members": sorted(members),
    }


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = (await reader.readline()).decode().split()
    while (await reader.readline()).strip():
        pass
    if request[:2] == ["POST", "/debug/crash"]:
        log("fatal", error="AssertionError: told to")
        sys.stderr.flush()
        import os

        os._exit(2)
    body = json.dumps(status()).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    with suppress(ConnectionError):
        await writer.drain()
    writer.close()


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while await reader.read(4096):
            pass
    writer.close()


async def chatter(url: str) -> None:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    while True:
        with suppress(OSError, asyncio.TimeoutError):
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 0.5)
            while True:
                writer.write(b"ping")
                await writer.drain()
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)


async def main() -> None:
    if "--die-at-once" in rest:
        log("fatal", error="AssertionError: born dead")
        sys.exit(2)
    log("started", name=options.name, argv=sys.argv[1:])
    starts = Path(options.data_dir) / "member" / "wal" / "starts"
    starts.parent.mkdir(parents=True, exist_ok=True)
    starts.write_text(str(int(starts.read_text()) + 1 if starts.exists() else 1))
    await asyncio.start_server(swallow, "0.0.0.0", 2380)
    server = await asyncio.start_server(serve, "0.0.0.0", 2381)
    peers = [url for name, url in members.items() if name != options.name]
    log("ready")
    async with asyncio.TaskGroup() as group:
        for url in peers:
            group.create_task(chatter(url))
        await server.serve_forever()


asyncio.run(main())
