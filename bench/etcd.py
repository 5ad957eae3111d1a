"""Measures the node beside etcd: five nodes of each on loopback under the same load.

    python -m bench.etcd [--rounds 5] [--seconds 3] [--failovers 10] [--puts 60000] [--no-check]
                         [--data DIRECTORY] [--only squall]

Both clusters run all the time, with the same timers and their data directories on one disk. They
are loaded in turn, slice by slice, so that noise affects both alike; a figure is the median of its
slices, a ratio the median of the ratios of neighbouring slices. Nodes and load share the machine's
cores, for etcd as for Squall. `bench/load.py` describes the load; the table shows its share of the
processor and that of other processes.

Failover: SIGKILL to the leader, then a put at each survivor with 100 ms a try until the first is
acknowledged. Memory: VmRSS after the same number of puts, before anything else.

Prints Markdown. Exit code: 0 every target met, 1 not, 3 cannot be measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.load import PATHS, Connection, body, connect

NODES = 5
CLIENTS = 64
HEARTBEAT_MS, ELECTION_MS = 100, 1000
TRY_TIMEOUT_S = 0.1
FAILOVER_S_MAX = 1.3
START_TIMEOUT_S = 30.0
SETTLE_S = 2.0
CHUNK = 10_000
HERTZ = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count() or 1
MIB = 1 << 20
STOP_TIMEOUT_S = 10.0
SLICES = (("put", CLIENTS), ("get", CLIENTS), ("put", 1), ("get", 1))


class CannotMeasureError(Exception):
    """The machine lacks something, or a system under test does not work."""


class Cluster:
    """Five processes on loopback, started and measured alike for both systems."""

    def __init__(self, name: str, command: list[str], port: int, root: Path) -> None:
        self.name = name
        self._command = command
        self._port = port
        self._root = root / name
        self._root.mkdir()
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def endpoint(self, node: int) -> str:
        return f"127.0.0.1:{self._port + 10 * node}"

    @property
    def endpoints(self) -> str:
        return ",".join(map(self.endpoint, range(NODES)))

    def start(self, *nodes: int) -> None:
        peers = [f"http://127.0.0.1:{self._port + 10 * node + 1}" for node in range(NODES)]
        for node in nodes or range(NODES):
            client = f"http://{self.endpoint(node)}"
            flags = {
                "name": f"n{node}",
                "data-dir": str(self._root / f"n{node}"),
                "listen-client-urls": client,
                "advertise-client-urls": client,
                "listen-peer-urls": peers[node],
                "initial-advertise-peer-urls": peers[node],
                "initial-cluster": ",".join(f"n{i}={url}" for i, url in enumerate(peers)),
                "initial-cluster-state": "new",
                "heartbeat-interval": str(HEARTBEAT_MS),
                "election-timeout": str(ELECTION_MS),
                "logger": "zap",
            }
            with (self._root / f"n{node}.log").open("ab") as log:
                self.processes[node] = subprocess.Popen(
                    [*self._command, *(f"--{key}={value}" for key, value in flags.items())],
                    stdout=log,
                    stderr=log,
                )

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(STOP_TIMEOUT_S)

    def kill(self, node: int) -> None:
        self.processes[node].send_signal(signal.SIGKILL)
        self.processes[node].wait(STOP_TIMEOUT_S)

    def etcdctl(self, *words: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["etcdctl", f"--endpoints={self.endpoints}", *words],
            env={**os.environ, "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def wait_until_healthy(self) -> None:
        """Wait until every node serves linearizable reads; raises CannotMeasureError."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while (health := self.etcdctl("endpoint", "health")).returncode:
            for node, process in self.processes.items():
                if process.poll() is not None:
                    raise CannotMeasureError(
                        f"{self.name} n{node} ended with {process.returncode}; its log: "
                        f"{(self._root / f'n{node}.log').read_text()[-2000:]}"
                    )
            if time.monotonic() > deadline_s:
                raise CannotMeasureError(f"{self.name} is not healthy: {health.stderr}")
            time.sleep(0.2)

    def leader(self) -> int:
        """Return the leading node; raises CannotMeasureError."""
        found = self.etcdctl("endpoint", "status", "--write-out=json")
        for each in json.loads(found.stdout or "[]"):
            status = each["Status"]
            if status["leader"] == status["header"]["member_id"]:
                return (int(each["Endpoint"].rpartition(":")[2]) - self._port) // 10
        raise CannotMeasureError(f"{self.name} has no leader: {found.stderr}")

    def cpu_s(self) -> float:
        """Return the processor time of all nodes together."""
        total = 0
        for process in self.processes.values():
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / HERTZ

    def resident_bytes(self) -> list[int]:
        """Return each node's resident memory, the leader's first."""
        leader = self.leader()
        nodes = [leader, *(node for node in range(NODES) if node != leader)]
        return [_resident_bytes(self.processes[node].pid) for node in nodes]


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise CannotMeasureError(f"process {pid} has no VmRSS")


def busy_s() -> float:
    """Return the processor time of all processes of the machine so far."""
    fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]))
    user, nice, system, _, _, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / HERTZ


@dataclass
class Slice:
    """The measurements of one slice of load."""

    ops_per_s: float
    p50_ms: float
    p99_ms: float
    node_us_per_op: float
    load_cores: float
    stranger_cores: float


def load(cluster: Cluster, op: str, clients: int, *limit: str) -> Slice:
    """Load a cluster with a process of its own; raises CannotMeasureError."""
    node_s, all_s = cluster.cpu_s(), busy_s()
    words = [sys.executable, "-m", "bench.load", op, cluster.endpoints, "--clients", str(clients)]
    ran = subprocess.run([*words, *limit], capture_output=True, text=True, check=False)
    node_s, all_s = cluster.cpu_s() - node_s, busy_s() - all_s
    if ran.returncode:
        raise CannotMeasureError(f"{op} on {cluster.name}: {ran.stderr.splitlines()[-1:]}")
    seen = json.loads(ran.stdout)
    seconds = seen["seconds"]
    return Slice(
        seen["ops"] / seconds,
        seen["p50_s"] * 1000,
        seen["p99_s"] * 1000,
        node_s / seen["ops"] * 1e6,
        seen["cpu_s"] / seconds,
        max(0.0, all_s - node_s - seen["cpu_s"]) / seconds,
    )


async def first_put(connections: list[Connection]) -> float:
    """Put at every connection again and again; returns when the first was acknowledged."""
    loop = asyncio.get_running_loop()
    acknowledged: asyncio.Future[float] = loop.create_future()

    async def keep_trying(connection: Connection) -> None:
        while True:
            ended: asyncio.Future[str] = loop.create_future()
            stream = connection.call(PATHS["put"], body("put", 0), ended.set_result)
            done, _ = await asyncio.wait([ended], timeout=TRY_TIMEOUT_S)
            if not done:
                connection.cancel(stream)
            elif not ended.result():
                if not acknowledged.done():
                    acknowledged.set_result(time.perf_counter())
                return
            else:
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(keep_trying(connection)) for connection in connections]
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            return await acknowledged
    finally:
        for task in tasks:
            task.cancel()


def failover_s(cluster: Cluster) -> float:
    """Kill the leader; returns how long no put was acknowledged. All nodes are up afterwards."""
    leader = cluster.leader()

    async def measure() -> float:
        survivors = [node for node in range(NODES) if node != leader]
        connections = [await connect(cluster.endpoint(node)) for node in survivors]
        await first_put(connections)  # all is well before
        began_s = time.perf_counter()
        cluster.kill(leader)
        ended_s = await first_put(connections)
        for connection in connections:
            connection.close()
        return ended_s - began_s

    seconds = asyncio.run(measure())
    cluster.start(leader)
    cluster.wait_until_healthy()
    time.sleep(SETTLE_S)
    return seconds


@dataclass
class Measured:
    """All measurements of one cluster."""

    memory: list[int] = field(default_factory=list)
    slices: dict[tuple[str, int], list[Slice]] = field(default_factory=dict)
    failovers_s: list[float] = field(default_factory=list)
    check: subprocess.CompletedProcess[str] | None = None

    def median(self, what: tuple[str, int], name: str) -> float:
        return statistics.median(getattr(each, name) for each in self.slices[what])


def measure(clusters: list[Cluster], words: argparse.Namespace) -> dict[str, Measured]:
    """Measure everything, the clusters in turn."""
    found = {cluster.name: Measured() for cluster in clusters}
    say(f"{words.puts} puts each, for memory")
    for _ in range(0, words.puts, CHUNK):
        for cluster in clusters:
            load(cluster, "put", CLIENTS, "--count", str(min(CHUNK, words.puts)))
    time.sleep(SETTLE_S)
    for cluster in clusters:
        found[cluster.name].memory = cluster.resident_bytes()
    for turn in range(words.rounds):
        order = clusters if turn % 2 == 0 else clusters[::-1]
        for op, clients in SLICES:
            for cluster in order:
                seen = load(cluster, op, clients, "--seconds", str(words.seconds))
                found[cluster.name].slices.setdefault((op, clients), []).append(seen)
                say(f"{turn + 1}/{words.rounds} {cluster.name} {op} x{clients} {seen}")
    for turn in range(words.failovers):
        for cluster in clusters:
            seconds = failover_s(cluster)
            found[cluster.name].failovers_s.append(seconds)
            say(f"failover {turn + 1}/{words.failovers} {cluster.name} {seconds * 1000:.0f} ms")
    if not words.no_check:
        for cluster in clusters:
            say(f"etcdctl check perf --load=s on {cluster.name}")
            found[cluster.name].check = cluster.etcdctl(
                "check", "perf", "--load=s", timeout_s=120.0
            )
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Row:
    """A line of the table. `ratio` is to etcd; `met` is None where nothing is demanded."""

    what: str
    etcd: str
    squall: str
    ratio: str = ""
    target: str = ""
    met: bool | None = None


def _ratio(found: dict[str, Measured], what: tuple[str, int], name: str) -> float:
    pairs = zip(found["etcd"].slices[what], found["squall"].slices[what], strict=True)
    return statistics.median(getattr(ours, name) / getattr(theirs, name) for theirs, ours in pairs)


def rows(found: dict[str, Measured]) -> list[Row]:
    """Return the table's lines."""
    both = etcd, squall = found["etcd"], found["squall"]
    out = []
    for op, clients in SLICES:
        what = (op, clients)
        title = f"{op}s, {clients} clients" if clients > 1 else f"{op}s, one client"
        for name, unit, target in (
            ("ops_per_s", "/s", 0.5 if clients > 1 else None),
            ("p50_ms", "ms p50", 2.0 if what == ("put", 1) else None),
            ("p99_ms", "ms p99", None),
            ("node_us_per_op", "us of CPU an op, all nodes", None),
            ("load_cores", f"of {CORES} cores used by the load", None),
            ("stranger_cores", f"of {CORES} cores used by others", None),
        ):
            digits = 0 if name in ("ops_per_s", "node_us_per_op") else 2
            row = Row(
                f"{title}: {unit}",
                f"{etcd.median(what, name):.{digits}f}",
                f"{squall.median(what, name):.{digits}f}",
            )
            if name not in ("load_cores", "stranger_cores"):
                ratio = _ratio(found, what, name)
                row.ratio = f"{ratio:.2f}"
                if target is not None:
                    more = name == "ops_per_s"
                    row.target = f"{'>=' if more else '<='} {target}"
                    row.met = ratio >= target if more else ratio <= target
            out.append(row)
    if etcd.failovers_s:
        theirs_s, ours_s = (statistics.median(each.failovers_s) for each in (etcd, squall))
        spans = [f"{min(each.failovers_s):.2f} {max(each.failovers_s):.2f}" for each in both]
        title = f"failover, median of {len(squall.failovers_s)}: s"
        row = Row(title, f"{theirs_s:.2f}", f"{ours_s:.2f}", f"{ours_s / theirs_s:.2f}")
        row.target, row.met = f"<= {FAILOVER_S_MAX} s", ours_s <= FAILOVER_S_MAX
        out += [row, Row("failover, min and max: s", *spans)]
    pick = {"leader": lambda sizes: sizes[0], "median node": statistics.median}
    for title, choose in pick.items():
        theirs, ours = choose(etcd.memory) / MIB, choose(squall.memory) / MIB
        ratio = ours / theirs
        row = Row(f"memory of the {title}: MiB", f"{theirs:.0f}", f"{ours:.0f}", f"{ratio:.2f}")
        row.target, row.met = "<= 2.0", ratio <= 2
        out.append(row)
    if etcd.check is not None and squall.check is not None:
        row = Row("etcdctl check perf --load=s", _verdict(etcd.check), _verdict(squall.check))
        row.target, row.met = "PASS", squall.check.returncode == 0
        out.append(row)
    return out


def _verdict(check: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in check.stdout.replace("\r", "\n").splitlines() if "PASS" in line]
    lines += [line for line in check.stdout.replace("\r", "\n").splitlines() if "FAIL" in line]
    return "; ".join(line.strip() for line in lines) or check.stderr.strip()[-200:]


def table(lines: list[Row]) -> str:
    head = Row("", "etcd", "squall", "ratio", "target")
    text = [[row.what, row.etcd, row.squall, row.ratio, row.target, _mark(row)] for row in lines]
    cells = [[head.what, head.etcd, head.squall, head.ratio, head.target, ""], ["---"] * 6, *text]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _mark(row: Row) -> str:
    return "" if row.met is None else "met" if row.met else "**missed**"


def _file_system(path: Path) -> str:
    found = subprocess.run(
        ["stat", "--file-system", "--format=%T", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return found.stdout.strip()


def _version(command: list[str]) -> str:
    told = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    return (told.stdout or "").split("\n", 1)[0]


def run(words: argparse.Namespace, root: Path) -> int:
    systems: dict[str, Any] = {
        "etcd": ([shutil.which("etcd") or "etcd"], 23_790),
        "squall": ([sys.executable, "-m", "squall.node"], 25_790),
    }
    if words.only:
        systems = {words.only: systems[words.only]}
    for tool in ("etcdctl", *(["etcd"] if "etcd" in systems else [])):
        if shutil.which(tool) is None:
            raise CannotMeasureError(f"no {tool}: apt-get install etcd-server etcd-client")
    if _file_system(root) == "tmpfs":
        raise CannotMeasureError(f"{root} is in memory, where fsync costs nothing; use --data")
    clusters = [Cluster(name, *how, root) for name, how in systems.items()]
    try:
        for cluster in clusters:
            cluster.start()
        for cluster in clusters:
            cluster.wait_until_healthy()
        found = measure(clusters, words)
    finally:
        for cluster in clusters:
            cluster.stop()
    if words.only:
        return 0
    lines = rows(found)
    print(f"{_version(['etcd'])}; {CORES} cores; {_file_system(root)}; five nodes of each\n")
    print(table(lines))
    return int(any(row.met is False for row in lines))


def main() -> None:
    asked = argparse.ArgumentParser(description="Measure Squall's node beside etcd.")
    asked.add_argument("--rounds", type=int, default=5, help="slices of each kind a system")
    asked.add_argument("--seconds", type=float, default=3.0, help="length of a slice")
    asked.add_argument("--failovers", type=int, default=10)
    asked.add_argument("--puts", type=int, default=60_000, help="before memory is looked at")
    asked.add_argument("--no-check", action="store_true", help="without etcdctl check perf")
    asked.add_argument("--data", type=Path, default=Path("/var/tmp"), help="on a real disk")
    asked.add_argument("--only", choices=("etcd", "squall"), help="one system, no table")
    words = asked.parse_args()
    root = Path(tempfile.mkdtemp(prefix="squall-bench-", dir=words.data))
    try:
        raise SystemExit(run(words, root))
    except CannotMeasureError as error:
        say(f"cannot measure: {error}")
        raise SystemExit(3) from None
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
