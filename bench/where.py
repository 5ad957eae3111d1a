"""Measures which part of the node uses the processor time of a put or a get, over five nodes.

    python -m bench.where [put|get] [--clients 64] [--seconds 5]

Every node runs with timers around the entry points of its parts; time inside a part and not inside
another is the part's own. A timer costs some 1 us a call, so only shares are meaningful here;
`bench/etcd.py` measures totals. Time is that of threads, kernel included, without waiting.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.etcd import NODES, SETTLE_S, Cluster, load
from squall.node.__main__ import main as run
from squall.node.mvcc.store import Store
from squall.node.peer import transport
from squall.node.replica import Replica
from squall.node.rpc.connection import Connection
from squall.node.server import shell
from squall.node.storage.real import RealDisk
from squall.node.storage.wal import Wal

OUT = "SQUALL_WHERE"
REST = "event loop, tasks, services"


class Clocks(threading.local):
    """The time each part of this thread has used, exclusively of others."""

    def __init__(self) -> None:
        self.spent_ns: defaultdict[str, int] = defaultdict(int)
        self.stack = [REST]
        self.mark_ns = time.thread_time_ns()
        every.append(self.spent_ns)

    def turn(self) -> None:
        now_ns = time.thread_time_ns()
        self.spent_ns[self.stack[-1]] += now_ns - self.mark_ns
        self.mark_ns = now_ns


every: list[defaultdict[str, int]] = []
clocks = Clocks()


def watch(part: str, owner: Any, *names: str) -> None:
    """Put a timer around functions."""
    for name in names:
        inner = getattr(owner, name)

        def timed(*words: Any, inner: Any = inner, **more: Any) -> Any:
            clocks.turn()
            clocks.stack.append(part)
            try:
                return inner(*words, **more)
            finally:
                clocks.turn()
                clocks.stack.pop()

        setattr(owner, name, functools.wraps(inner)(timed))


def node() -> None:
    """Run a node with timers, which are written to a file at the end."""
    watch("gRPC: frames in", Connection, "data_received")
    watch("gRPC: frames out", Connection, "answer", "pump", "_flush")
    watch("peers: in", transport._InboundConnection, "data_received")  # noqa: SLF001
    watch("peers: out", transport.Transport, "send", "flush")
    watch("Raft and replica", Replica, "receive", "propose", "read_barrier", "take", "persisted")
    watch("WAL encoding", Wal, "save")
    watch("store", Store, "apply", "range")
    watch("shell: obligations, timers, metrics", shell.Server, "_pump", "_on_message")
    watch("disk thread: write, fdatasync", RealDisk, "execute")

    def tell() -> None:
        clocks.turn()
        total: defaultdict[str, int] = defaultdict(int)
        for spent_ns in every:
            for part, spent in spent_ns.items():
                total[part] += spent
        total["all threads"] = time.process_time_ns()
        Path(os.environ[OUT], f"{os.getpid()}.json").write_text(json.dumps(total))

    signal.signal(signal.SIGUSR1, lambda *_: tell())
    atexit.register(tell)
    run()


def snapshot(cluster: Cluster, directory: Path) -> defaultdict[str, int]:
    """Return the time all nodes have used so far, in nanoseconds."""
    total: defaultdict[str, int] = defaultdict(int)
    for process in cluster.processes.values():
        path = directory / f"{process.pid}.json"
        path.unlink(missing_ok=True)
        process.send_signal(signal.SIGUSR1)
        deadline_s = time.monotonic() + 10
        while not (path.exists() and path.read_text().endswith("}")):
            if time.monotonic() > deadline_s:
                raise SystemExit("a node does not tell its times")
            time.sleep(0.05)
        for part, spent_ns in json.loads(path.read_text()).items():
            total[part] += spent_ns
    return total


def main() -> None:
    asked = argparse.ArgumentParser(description="See where the time of a put goes.")
    asked.add_argument("op", choices=("put", "get"), nargs="?", default="put")
    asked.add_argument("--clients", type=int, default=64)
    asked.add_argument("--seconds", type=float, default=5.0)
    words = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="squall-where-", dir="/var/tmp") as name:
        os.environ[OUT] = name
        program = [sys.executable, "-c", "from bench.where import node; node()"]
        cluster = Cluster("squall", program, 26_790, Path(name))
        cluster.start()
        try:
            cluster.wait_until_healthy()
            load(cluster, "put", words.clients, "--seconds", "1")
            time.sleep(SETTLE_S)
            before = snapshot(cluster, Path(name))
            seen = load(cluster, words.op, words.clients, "--seconds", str(words.seconds))
            after = snapshot(cluster, Path(name))
        except subprocess.SubprocessError as error:
            raise SystemExit(f"cannot measure: {error}") from None
        finally:
            cluster.stop()
    ops = seen.ops_per_s * words.seconds
    spent_us = {part: (after[part] - before[part]) / ops / 1000 for part in after}
    total_us = spent_us.pop("all threads")
    print(f"a {words.op} at {words.clients} clients, {NODES} nodes together\n")
    print("| part | us | % |\n| --- | ---: | ---: |")
    for part, us in sorted(spent_us.items(), key=lambda item: -item[1]):
        print(f"| {part} | {us:.0f} | {us / total_us * 100:.0f} |")
    print(f"| all | {total_us:.0f} | 100 |")


if __name__ == "__main__":
    main()
