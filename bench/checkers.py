"""Measures the checkers' time and memory, beside figures published or measured for their peers.

    python -m bench.checkers [--quick] [--plot docs/checkers-cost.svg]

Histories are generated: clients are always busy, latency is 100 + Exp(1000) ticks, an operation
takes effect at one instant of its interval, 5 % are never answered (0.1 % of the store's, unless
stated). Measured are seconds of processor time from a history's paired operations to the verdict,
without parsing and pairing. Peers were measured on two shared cores (Porcupine 55508eb in Go, Elle
ccdee6f on a cold JVM); a ratio below 1 is faster than the peer. Each row runs in a process of its
own, whose peak memory includes the history.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from squall.checkers.budget import Meter
from squall.checkers.etcd.model import Store
from squall.checkers.etcd.order import check_etcd_order
from squall.checkers.history import History, Operation, OpType
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.linearizability.models import CasRegister
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call, search
from squall.checkers.transactions.checker import check_isolation
from squall.checkers.verdict import Budget, Verdict


def schedule(
    chance: random.Random, n: int, clients: int, crash: float
) -> list[tuple[float, int, int | None, int]]:
    """Draw (instant, call, return or None, process) of n operations, in order of instant."""
    free = [(0, client, client) for client in range(clients)]
    plan = []
    fresh = clients
    for _ in range(n):
        call, client, process = heapq.heappop(free)
        ret = call + 100 + int(chance.expovariate(1 / 1000))
        crashed = chance.random() < crash
        plan.append((chance.uniform(call, ret), call, None if crashed else ret, process))
        if crashed:
            process, fresh = fresh, fresh + 1
        heapq.heappush(free, (ret + 1, client, process))
    plan.sort()
    return plan


def recorded(operations: list[Operation]) -> History:
    """Make a history whose operations are paired already."""
    operations.sort(key=lambda one: one.invoked_ns)
    history = History([])
    history.__dict__["operations"] = tuple(operations)
    return history


def operation(
    at: int,
    slot: tuple[float, int, int | None, int],
    f: str,
    key: str | None,
    given: Any,
    answer: Any,
) -> Operation:
    _, call, ret, process = slot
    return Operation(
        index=2 * at,
        completion_index=2 * at + 1,
        process=process,
        f=f,
        key=key,
        input=given,
        output=None if ret is None else answer,
        outcome=OpType.INFO if ret is None else OpType.OK,
        invoked_ns=call,
        completed_ns=ret,
    )


def registers(
    n: int,
    clients: int,
    keys: int = 1,
    *,
    crash: float = 0.05,
    stale: bool = False,
    values: int | None = None,
) -> History:
    """Generate half reads, a quarter writes, a quarter compare-and-sets; `values` None: unique."""
    chance = random.Random(7)
    state: dict[str, Any] = {}
    operations = []
    old: tuple[str, Any] | None = None
    for at, slot in enumerate(schedule(chance, n, clients, crash)):
        key = f"k{chance.randrange(keys)}"
        draw, happened = chance.random(), slot[2] is not None or chance.random() < 0.5
        if draw < 0.5:
            answer = state.get(key)
            if stale and at > 0.8 * n and old is not None and slot[2] is not None:
                key, answer = old
                stale = False
            operations.append(operation(at, slot, "read", key, None, answer))
            continue
        value = at if values is None else chance.randrange(values)
        if draw < 0.75:
            operations.append(operation(at, slot, "write", key, value, None))
        else:
            given = [state.get(key), value]
            operations.append(operation(at, slot, "cas", key, given, {"swapped": True}))
        if happened:
            if old is None and at > n // 2 and slot[2] is not None:
                old = key, value
            state[key] = value
    return recorded(operations)


def revisioned(n: int, clients: int, crash: float = 0.001) -> History:
    """Generate puts, gets, ranges, deletes and transactions on one store."""
    chance = random.Random(7)
    store = Store()
    operations = []
    for at, slot in enumerate(schedule(chance, n, clients, crash)):
        key = f"k{chance.randrange(1000):03}"
        draw = chance.random()
        given: dict[str, Any] = {"key": key}
        if draw < 0.4:
            f, given = "put", {"key": key, "value": at}
        elif draw < 0.85:
            f = "range"
        elif draw < 0.88:
            f, given = "range", {"key": key, "end": key + "~"}
        elif draw < 0.93:
            f = "delete"
        else:
            f, given = (
                "txn",
                {
                    "if": [[key, "version", ">", 0]],
                    "then": [["put", {"key": key, "value": at}]],
                    "else": [["range", {"key": key}]],
                },
            )
        answer: Any = None
        if slot[2] is not None or chance.random() < 0.5:
            answer, _ = store.apply(f, given)
        operations.append(operation(at, slot, f, None, given, answer))
    return recorded(operations)


def txns(n: int, *, appends: bool, stale: bool = False) -> History:
    """Generate transactions of one to four micro-operations; keys retire after 32 writes."""
    chance = random.Random(7)
    state: dict[int, Any] = {}
    active, count = list(range(10)), {}
    following = 10
    operations = []
    for at, slot in enumerate(schedule(chance, n, 20, 0.0)):
        mops: list[list[Any]] = []
        for _ in range(chance.randint(1, 4)):
            key = active[chance.randrange(10)]
            if chance.random() < 0.5:
                seen = state.get(key, [] if appends else None)
                if stale and at > 0.8 * n and appends and len(seen) > 25:
                    seen, stale = seen[:-20], False
                mops.append(["r", key, list(seen) if appends else seen])
                continue
            count[key] = count.get(key, 0) + 1
            if appends:
                state[key] = [*state.get(key, []), count[key]]
                mops.append(["append", key, count[key]])
            else:
                state[key] = at * 10 + len(mops)
                mops.append(["w", key, state[key]])
            if count[key] >= 32:
                active[active.index(key)] = following
                following += 1
        operations.append(operation(at, slot, "txn", None, mops, mops))
    return recorded(operations)


def _register(*given: Any, **options: Any) -> Callable[[], Callable[[], Verdict]]:
    def prepare() -> Callable[[], Verdict]:
        history = registers(*given, **options)
        return lambda: check_linearizability(history, Budget(now_s=time.monotonic))

    return prepare


def _txn(n: int, data: str, **options: Any) -> Callable[[], Callable[[], Verdict]]:
    def prepare() -> Callable[[], Verdict]:
        history = txns(n, appends=data == "list-append", **options)
        return lambda: check_isolation(history, Budget(), data=data)

    return prepare


def _etcd(n: int, crash: float = 0.001) -> Callable[[], Callable[[], Verdict]]:
    def prepare() -> Callable[[], Verdict]:
        history = revisioned(n, 50, crash)
        return lambda: check_etcd_order(history)

    return prepare


# name -> (how to prepare, target in s or None, the peer, its seconds or None)
ROWS: dict[str, tuple[Callable[[], Callable[[], Verdict]], float | None, str, float | None]] = {
    "register, 1,000 ops, 30 clients": (_register(1000, 30), 0.05, "Porcupine > 60 s", 60),
    "register, 10k ops, 50 clients": (_register(10_000, 50), None, "", None),
    "register, 100k ops, 50 clients": (
        _register(100_000, 50),
        None,
        "Porcupine: out of 8 GB",
        None,
    ),
    "register, 1M ops, 50 clients": (
        _register(1_000_000, 50),
        4.0,
        "Porcupine: out of 8 GB at 100k",
        None,
    ),
    "register, 1M ops, a stale read": (
        _register(1_000_000, 50, stale=True),
        4.0,
        "Porcupine: out of 8 GB at 100k",
        None,
    ),
    "10k keys, 1M ops, 50 clients": (
        _register(1_000_000, 50, 10_000),
        5.0,
        "Porcupine 1.0-2.0 s",
        1.5,
    ),
    "etcd revisions, 10k ops": (_etcd(10_000), None, "", None),
    "etcd revisions, 100k ops": (_etcd(100_000), None, "", None),
    "etcd revisions, 1M ops": (_etcd(1_000_000), 8.0, "", None),
    "etcd revisions, 100k ops, 5 % unanswered": (_etcd(100_000, 0.05), None, "", None),
    "list-append, 10k txns": (_txn(10_000, "list-append"), None, "Elle 1.3-2.3 s", 1.3),
    "list-append, 100k txns": (_txn(100_000, "list-append"), 5.6, "Elle 5.6-17.3 s", 5.6),
    "list-append, 10k, one stale read": (
        _txn(10_000, "list-append", stale=True),
        None,
        "Elle 2.6 s, search timed out",
        2.6,
    ),
    "list-append, 100k, one stale read": (_txn(100_000, "list-append", stale=True), None, "", None),
    "rw-register, 5k txns": (_txn(5_000, "rw-register"), None, "", None),
    "rw-register, 10k txns": (_txn(10_000, "rw-register"), None, "Elle 1.2 s", 1.2),
    "rw-register, 50k txns": (_txn(50_000, "rw-register"), 6.7, "Elle 6.7 s", 6.7),
}

PLOTTED = {
    "register (zones)": [
        "register, 10k ops, 50 clients",
        "register, 100k ops, 50 clients",
        "register, 1M ops, 50 clients",
    ],
    "etcd revisions": [
        "etcd revisions, 10k ops",
        "etcd revisions, 100k ops",
        "etcd revisions, 1M ops",
    ],
    "list-append": ["list-append, 10k txns", "list-append, 100k txns"],
    "rw-register": ["rw-register, 5k txns", "rw-register, 10k txns", "rw-register, 50k txns"],
}
SIZES = {"5k": 5_000, "10k": 10_000, "50k": 50_000, "100k": 100_000, "1M": 1_000_000}


def measure(name: str) -> dict[str, Any]:
    """Run one row in this process."""
    judge = ROWS[name][0]()
    gc.collect()
    before_s = time.process_time()
    verdict = judge()
    took_s = time.process_time() - before_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "s": took_s,
        "gib": peak,
        "verdict": verdict.validity,
        "method": verdict.method,
        "kinds": sorted({one.kind for one in verdict.anomalies}),
    }


def states_per_second() -> float:
    """Return how many configurations a second the search visits, on a history that needs many."""
    # Porcupine, with a counter added, cached 370,000-480,000 states a second of this history and
    # tried 1.1-1.6 million calls a second (Go 1.19, one core, a loaded machine).
    history = registers(3000, 30, values=5, crash=0.0)
    calls = [
        Call(one.invoked_ns, one.completed_ns or FOREVER, (one.f, one.input), one.output)
        for one in history.operations
    ]
    before_s = time.process_time()
    meter = Meter(Budget(time_s=5.0, now_s=time.process_time))
    found = search(CasRegister(), calls, meter)
    return found.visited / (time.process_time() - before_s)


def budgets() -> list[str]:
    """Exceed a budget of time, then one of memory, on a history that needs more."""
    history = registers(3000, 30, values=5, crash=0.0)

    def rss_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    lines = []
    before_s = time.perf_counter()
    verdict = check_linearizability(history, Budget(time_s=5.0, now_s=time.monotonic))
    lines.append(
        f"time  5.0 s allowed, {time.perf_counter() - before_s:.2f} s taken: {verdict.validity}"
    )
    allowed = rss_bytes() + (300 << 20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    allowed = max(allowed, peak + (200 << 20))
    budget = Budget(time_s=120.0, now_s=time.monotonic, memory_bytes=allowed, rss_bytes=rss_bytes)
    verdict = check_linearizability(history, budget)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    lines.append(
        f"memory {allowed / 2**30:.2f} GiB allowed, {peak / 2**30:.2f} GiB at the peak: "
        f"{verdict.validity}"
    )
    return lines


def slope(rows: list[str], results: dict[str, dict[str, Any]]) -> float:
    """Return the exponent of the growth, by least squares over logarithms. n log n has 1.08."""
    points = [
        (math.log(SIZES[row.split(", ")[1].split()[0]]), math.log(results[row]["s"]))
        for row in rows
        if row in results
    ]
    if len(points) < 2:
        return math.nan
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def plot(results: dict[str, dict[str, Any]]) -> str:
    """Draw seconds against size, both logarithmic, with n log n for comparison."""
    width, height, left, bottom = 780, 420, 60, 50
    x0, x1, y0, y1 = 3.6, 6.2, -2.2, 1.2

    def at(n: float, s: float) -> tuple[float, float]:
        x = left + (math.log10(n) - x0) / (x1 - x0) * (width - left - 90)
        y = height - bottom - (math.log10(s) - y0) / (y1 - y0) * (height - bottom - 30)
        return round(x, 1), round(y, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="18">Seconds to judge a history by its size (logarithmic)</text>',
    ]
    for power in (4, 5, 6):
        x, y = at(10**power, 10**y0)
        parts.append(f'<line x1="{x}" y1="30" x2="{x}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in (-2, -1, 0, 1):
        x, y = at(10**x0, 10**power)
        parts.append(f'<line x1="{x}" y1="{y}" x2="{width - 90}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{10**power:g} s</text>')
    ax, ay = at(10**4, 0.02)
    bx, by = at(10**6, 0.02 * 100 * 6 / 4)
    parts.append(f'<path d="M{ax} {ay}L{bx} {by}" stroke="#999" stroke-dasharray="5 4"/>')
    parts.append(f'<text x="{bx + 6}" y="{by + 4}" fill="#777">n log n</text>')
    colours = ("#0b6", "#06c", "#c40", "#80a")
    for key, ((name, rows), colour) in enumerate(zip(PLOTTED.items(), colours, strict=True)):
        points = [
            at(SIZES[row.split(", ")[1].split()[0]], results[row]["s"])
            for row in rows
            if row in results
        ]
        path = "L".join(f"{x} {y}" for x, y in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in points]
        if not points:
            continue
        told = f"{name}, slope {slope(rows, results):.2f}"
        key_y = height - bottom - 90 + 18 * key
        parts.append(f'<text x="{width - 400}" y="{key_y}" fill="{colour}">{told}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the million rows")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    results: dict[str, dict[str, Any]] = {}
    print("| history | verdict | CPU s | target s | peak GiB | peer | ratio | decided by |")
    print("| --- | --- | ---: | ---: | ---: | --- | ---: | --- |")
    for name, (_, target_s, peer, peer_s) in ROWS.items():
        if options.quick and "1M" in name:
            continue
        run = [sys.executable, "-m", "bench.checkers", "--one", name]
        found = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
        results[name] = found
        target = f"{target_s:g}" if target_s else ""
        ratio = f"{found['s'] / peer_s:.2g}" if peer_s else ""
        told = " ".join([found["verdict"], *found["kinds"]])
        print(
            f"| {name} | {told} | {found['s']:.3f} | {target} | {found['gib']:.2f} | {peer} "
            f"| {ratio} | {found['method']} |",
            flush=True,
        )
    for name, rows in PLOTTED.items():
        print(f"{name} grows with exponent {slope(rows, results):.2f}")
    print(f"the general search visits {states_per_second():,.0f} states a second")
    print("\n".join(budgets()))
    if options.plot:
        options.plot.write_text(plot(results))


if __name__ == "__main__":
    main()
