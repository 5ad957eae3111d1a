"""Measures how long puts wait while members save snapshots, and the members' memory afterwards.

    python -m bench.snapshots [--nodes 3] [--puts 120000] [--snapshot-count 20000] [--clients 64]

Starts members on loopback, loads them with puts, and prints the longest time in which no put was
acknowledged: near a snapshot (from half a second before it began to half a second after it was
saved), and away from all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

from bench.load import PATHS, Connection, body, connect
from tests.node.server.processes import Cluster

NEAR_S = 0.5


async def load(endpoints: list[str], puts: int, clients: int) -> tuple[list[float], float]:
    """Do that many puts; returns the times of acknowledgement, and the longest latency."""
    connections = [await connect(endpoint) for endpoint in endpoints]
    acknowledged: list[float] = []
    slowest = 0.0
    numbers = iter(range(puts))

    async def client(connection: Connection) -> None:
        nonlocal slowest
        for number in numbers:
            future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            began = time.time()
            connection.call(PATHS["put"], body("put", number), future.set_result)
            failure = await future
            assert not failure, failure
            now = time.time()
            acknowledged.append(now)
            slowest = max(slowest, now - began)

    await asyncio.gather(
        *(client(c) for c in itertools.islice(itertools.cycle(connections), clients))
    )
    for connection in connections:
        connection.close()
    return acknowledged, slowest


def spans(log: Path) -> list[tuple[float, float]]:
    """Return when each snapshot was begun and when it was durable."""
    found, begun = [], 0.0
    for line in log.read_text().splitlines():
        if '"snapshot-begun"' not in line and '"snapshot-saved"' not in line:
            continue
        event = json.loads(line)
        at = dt.datetime.fromisoformat(event["ts"]).timestamp()
        if event["event"] == "snapshot-begun":
            begun = at
        else:
            found.append((begun, at))
    return found


def memory_mib(pid: int, field: str = "VmRSS") -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) // 1024
    raise AssertionError(pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--puts", type=int, default=120_000)
    parser.add_argument("--snapshot-count", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=64)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(given.nodes, Path(directory))
        for node in cluster.nodes:
            node.extra.append(f"--snapshot-count={given.snapshot_count}")
        try:
            cluster.start()
            where = [node.endpoint for node in cluster.nodes]
            times, slowest = asyncio.run(load(where, given.puts, given.clients))
            weights = [memory_mib(node.process.pid) for node in cluster.running]  # type: ignore[union-attr]
            peaks = [memory_mib(node.process.pid, "VmHWM") for node in cluster.running]  # type: ignore[union-attr]
        finally:
            cluster.stop()
        gaps = [(after - before, before, after) for before, after in itertools.pairwise(times)]
        every = [span for node in cluster.nodes for span in spans(node.log_path)]
        near = [
            gap
            for gap in gaps
            if any(begun - NEAR_S < gap[2] and gap[1] < saved + NEAR_S for begun, saved in every)
        ]
        away = set(gaps) - set(near)
        rate = given.puts / (times[-1] - times[0])
        print(f"{rate:.0f} puts/s, {len(every)} snapshots, slowest put {1000 * slowest:.0f} ms")
        for begun, saved in sorted(every):
            worst = max(
                (g for g in gaps if begun - NEAR_S < g[2] and g[1] < saved + NEAR_S), default=(0.0,)
            )
            print(
                f"  saved in {1000 * (saved - begun):.0f} ms: no put for {1000 * worst[0]:.0f} ms"
            )
        print(f"no put for: {1000 * max(near)[0]:.0f} ms near snapshots")
        print(f"            {1000 * max(away)[0]:.0f} ms away from them" if away else "none away")
        print(f"memory: {weights} MiB at the end, {peaks} at most")


if __name__ == "__main__":
    sys.exit(main())
