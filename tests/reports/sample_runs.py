"""Generated runs with the shape of real ones; a seed always gives the same run.

A register workload on five nodes under partitions, kills, pauses and clock skew. When the leader is
killed or partitioned, operations time out for a second or two and a new term begins. Values are
linearizable by construction; `stale=True` makes one read stale, and the verdict says so.
"""

from __future__ import annotations

import json
import random
from typing import Any

from squall.checkers.evidence import Evidence, NodeEvidence
from squall.checkers.history import History, Op, OpType
from squall.checkers.run import Run
from squall.checkers.verdict import Anomaly, Validity, Verdict

NODES = ("n1", "n2", "n3", "n4", "n5")
SECOND = 1_000_000_000
MS = 1_000_000
TIMEOUT_NS = 1 * SECOND
START = "2026-11-21T03:54:00Z"

SampleRun = tuple[Run, History, Verdict, Evidence, dict[str, list[str]]]


def sample_run(seed: int = 8412, *, ops: int = 5_000, stale: bool = False) -> SampleRun:
    """Generate a run of 60 s with about `ops` client operations."""
    rng = random.Random(seed)
    limit_ns = 60 * SECOND
    faults, outages, leader_periods = _faults(rng, limit_ns)
    attempts = _attempts(rng, ops, limit_ns, faults, outages)
    broken = _answer(rng, attempts, stale)
    history = _history(rng, attempts, faults, leader_periods, limit_ns)
    run = Run(
        id=f"20261121T0354Z-{seed}",
        workload="register",
        cluster="docker",
        seed=seed,
        nodes=NODES,
        faults=("clock", "kill", "partition", "pause"),
        time_limit_s=60.0,
        argv=(
            "squall",
            "run",
            "register",
            "--faults",
            "clock,kill,partition,pause",
            "--time",
            "60s",
        ),
        parameters={
            "rate": ops // 60,
            "concurrency": 20,
            "keys": 50,
            "election_timeout_ms": 1000,
            "nemesis": {"interval_s": 5, "overlap": 2},
        },
        versions={
            "squall": "0.1.0",
            "python": "3.11.2",
            "engine": "docker 27.1",
            "image": "sha256:6c3f0a12be77",
        },
        commit="3f2a1c9d",
        dirty=True,
        host={"cpus": 2, "kernel": "6.1.0", "memory_gib": 8},
        started_at=START,
        unsupported={"netem": "the kernel has no sch_netem"},
    )
    verdict = _verdict(history, broken)
    evidence = _evidence(leader_periods, stale)
    return run, history, verdict, evidence, _logs(rng, leader_periods, faults)


def _faults(rng: random.Random, limit_ns: int) -> tuple[list[dict[str, Any]], list, list]:
    """Faults every few seconds; outages where the leader was hit; leader_periods between them."""
    faults: list[dict[str, Any]] = []
    outages: list[tuple[int, int]] = []
    leader_periods: list[list[Any]] = [["n1", 2, 0, 0]]
    at = 5 * SECOND
    numbers: dict[str, int] = {}
    while at < limit_ns - 12 * SECOND:
        kind = ("partition", "kill", "pause", "clock")[len(faults) % 4]
        numbers[kind] = numbers.get(kind, 0) + 1
        leader, term = leader_periods[-1][0], leader_periods[-1][1]
        length = int(rng.uniform(2.0, 6.0) * SECOND)
        hits_leader = kind != "clock" and rng.random() < 0.6
        others = [node for node in NODES if node != leader]
        targets = [leader] if hits_leader else rng.sample(others, rng.choice((1, 2)))
        rest = " ".join(node for node in NODES if node not in targets)
        detail, effect, command = {
            "partition": (
                f"{' '.join(targets)} | {rest}",
                f"{rng.randrange(300, 4000):,} packets dropped",
                f"iptables -w -A SQUALL -s 10.71.0.{1 + int(targets[0][1])} -j DROP",
            ),
            "kill": (
                f"SIGKILL {' '.join(targets)}",
                "seen dead, 1 restart each",
                "docker kill -s KILL",
            ),
            "pause": (f"frozen {' '.join(targets)}", "state T in /proc", "docker pause"),
            "clock": (
                f"{targets[0]} jumps by {rng.choice((-1, 1)) * rng.randrange(300, 9000)} ms",
                "offset seen through the node's own status",
                "faketime control file",
            ),
        }[kind]
        faults.append(
            {
                "id": f"{kind}-{numbers[kind]}",
                "kind": kind,
                "from": at,
                "until": at + length,
                "targets": targets,
                "detail": detail,
                "effect": effect,
                "command": command,
                "leader": leader,
                "hit": hits_leader,
            }
        )
        if hits_leader:
            outage = (at + 80 * MS, at + int(rng.uniform(1.1, 1.9) * SECOND))
            outages.append(outage)
            leader_periods[-1][3] = outage[0]
            leader_periods.append([rng.choice(others), term + rng.choice((1, 1, 2)), outage[1], 0])
        at += int(rng.uniform(2.5, 7.0) * SECOND)
    leader_periods[-1][3] = limit_ns + 6 * SECOND
    return faults, outages, leader_periods


def _attempts(
    rng: random.Random, ops: int, limit_ns: int, faults: list[Any], outages: list[Any]
) -> list[dict[str, Any]]:
    """Intervals and outcomes, worker by worker; values come later."""
    workers, made = 20, []
    pause_ns = limit_ns * workers / ops
    for worker in range(workers):
        process, at, left = worker, int(rng.uniform(0, pause_ns)), 0
        while at < limit_ns:
            f = rng.choices(("read", "write", "cas"), (5, 4, 1))[0]
            node = NODES[(worker + left) % 5]
            latency = int(rng.lognormvariate(0.9, 0.5) * MS)
            outcome, error = OpType.OK, None
            down = next((o for o in outages if o[0] - 2 * MS < at < o[1]), None)
            cut = next(
                (
                    fault
                    for fault in faults
                    if fault["kind"] != "clock"
                    and node in fault["targets"]
                    and fault["from"] < at < fault["until"]
                ),
                None,
            )
            if cut is not None and cut["kind"] == "kill":
                latency = int(rng.uniform(0.3, 2) * MS)
                outcome, error = OpType.FAIL, f"connect to {node}:2379 refused (attempt 1)"
            elif down is not None or cut is not None:
                if down is not None and cut is None and rng.random() < 0.4:
                    latency = down[1] - at + int(rng.uniform(5, 60) * MS)
                else:
                    latency = TIMEOUT_NS + int(rng.uniform(0, 3) * MS)
                if latency >= TIMEOUT_NS:
                    latency = TIMEOUT_NS + int(rng.uniform(0, 3) * MS)
                    outcome = OpType.FAIL if f == "read" else OpType.INFO
                    error = f"no answer within 1000 ms (request {rng.randrange(10**6)})"
            elif rng.random() < 0.004:
                latency *= 30
            made.append(
                {
                    "process": process,
                    "f": f,
                    "key": f"k{rng.randrange(50)}",
                    "node": node,
                    "from": at,
                    "until": at + latency,
                    "outcome": outcome,
                    "error": error,
                    "point": at + int(rng.random() * latency),
                }
            )
            if outcome is OpType.INFO:
                process += workers
                left += 1
            at += latency + int(rng.expovariate(1.0) * max(1, pause_ns - 3 * MS))
        for node in NODES[worker % 5 : worker % 5 + 1]:  # the final phase reads from every node
            for key in range(worker, 50, workers):
                at = max(at, limit_ns + 3 * SECOND) + int(rng.uniform(2, 9) * MS)
                made.append(
                    {
                        "process": process,
                        "f": "read",
                        "key": f"k{key}",
                        "node": node,
                        "from": at,
                        "until": at + 2 * MS,
                        "outcome": OpType.OK,
                        "error": None,
                        "point": at + MS,
                        "final": True,
                    }
                )
                at += 3 * MS
    return made


def _answer(rng: random.Random, attempts: list[dict[str, Any]], stale: bool) -> list[Any]:
    """Give every operation the value its linearization point implies; break one read if asked."""
    state: dict[str, int | None] = {}
    past: dict[str, list[tuple[int, int, dict[str, Any]]]] = {}
    broken: list[Any] = []
    revision, unique = 1, 0
    for each in sorted(attempts, key=lambda one: one["point"]):
        key, outcome = each["key"], each["outcome"]
        each["input"], each["output"] = None, None
        if each["f"] == "read":
            if outcome is OpType.OK:
                each["output"], each["revision"] = state.get(key), revision
                older = past.get(key, [])
                if (
                    stale
                    and not broken
                    and each["from"] > 30 * SECOND
                    and len(older) > 3
                    and older[-1][1] < each["from"] - 2 * MS
                    and each["from"] - older[-1][1] < 400 * MS
                ):
                    each["output"] = older[-2][0]
                    broken = [older[-2][2], older[-1][2], each]
            continue
        unique += 1
        value = unique
        each["input"] = value if each["f"] == "write" else [state.get(key), value]
        happened = outcome is OpType.OK or (outcome is OpType.INFO and rng.random() < 0.3)
        if each["f"] == "cas" and rng.random() < 0.5 and outcome is OpType.OK:
            each["input"] = [unique + 10**6, value]
            each["outcome"], each["error"], happened = OpType.FAIL, "compare failed", False
        if happened:
            revision += 1
            state[key] = value
            each["revision"] = revision
            each["output"] = each["input"] if outcome is OpType.OK else None
            if outcome is OpType.OK and each["f"] == "write":
                past.setdefault(key, []).append((value, each["until"], each))
    return broken


def _history(
    rng: random.Random,
    attempts: list[dict[str, Any]],
    faults: list[dict[str, Any]],
    leader_periods: list[Any],
    limit_ns: int,
) -> History:
    events: list[tuple[int, int, dict[str, Any], Any]] = []
    for each in attempts:
        meta = {"final": True} if each.get("final") else None
        shared = {"process": each["process"], "f": each["f"], "key": each["key"]}
        shared["node"] = each["node"]
        asked = dict(shared, type=OpType.INVOKE, value=each["input"], meta=meta)
        events.append((each["from"], 0, asked, each))
        found = {"revision": each["revision"]} if "revision" in each else None
        heard = dict(shared, type=each["outcome"], value=each["output"], error=each["error"])
        events.append((each["until"], 1, dict(heard, meta=found), each))
    for fault in faults:
        process, key = f"nemesis/{fault['kind']}", fault["id"]
        base = {"process": process, "key": key}
        shape = "isolate-leader" if fault["hit"] else "random"
        intent = {"kind": fault["kind"], "intent": {"shape": shape}}
        roles = {n: "leader" if n == fault["leader"] else "follower" for n in NODES}
        started = {
            "targets": fault["targets"],
            "roles": roles,
            "detail": fault["detail"],
            "expect": "available",
            "command": fault["command"],
        }
        stopped = {"healed": True, "effective": True, "effect": fault["effect"]}
        for at, type_, f, value in (
            (fault["from"] - 20 * MS, OpType.INVOKE, "start", intent),
            (fault["from"], OpType.OK, "start", started),
            (fault["until"] - 30 * MS, OpType.INVOKE, "stop", {}),
            (fault["until"], OpType.OK, "stop", stopped),
        ):
            events.append((at, 1, dict(base, type=type_, f=f, value=value), None))
    for at in range(0, limit_ns + 5 * SECOND, 250 * MS):
        value = {node: _reading(node, at, faults, leader_periods) for node in NODES}
        base = {"process": "observer", "type": OpType.INFO, "f": "observe", "value": value}
        events.append((at, 1, base, None))
    history = []
    for index, (at, _, event, source) in enumerate(sorted(events, key=lambda e: e[:2])):
        history.append(Op(index=index, time_ns=at, **event))
        if source is not None and event["type"] is OpType.INVOKE:
            source["index"] = index
    return History(history, header={"format": 1, "started_at": "2026-11-21T03:54:00Z"})


def _reading(node: str, at: int, faults: list[Any], leader_periods: list[Any]) -> dict[str, Any]:
    hit = [f for f in faults if node in f["targets"] and f["from"] < at < f["until"]]
    if any(f["kind"] in {"kill", "pause"} for f in hit):
        return {"reachable": False}
    period = max((r for r in leader_periods if r[2] <= at), key=lambda r: r[2])
    role = "leader" if node == period[0] and at < period[3] else "follower"
    if role == "follower" and at >= period[3]:
        role = "candidate" if int(node[1]) % 2 else "follower"
    skew = 1800 if any(f["kind"] == "clock" for f in hit) else 0
    return {
        "reachable": True,
        "role": role,
        "term": period[1],
        "commit": at // (30 * MS),
        "applied": at // (30 * MS),
        "revision": at // (31 * MS),
        "clock_offset_ms": skew,
    }


def _verdict(history: History, broken: list[Any]) -> Verdict:
    operations = len(history.operations)
    by_index = {operation.index: operation for operation in history.operations}
    children = [
        Verdict(
            checker="linearizable",
            validity=Validity.INVALID if broken else Validity.VALID,
            claim="every operation appears to take effect at one instant inside its interval",
            evidence=f"50 keys, {operations:,} operations",
            method="unique values, near-linear",
            elapsed_s=0.42,
            stats={"keys": 50, "searched": 0, "states": {"visited": 81234, "cached": 912}},
            anomalies=(_anomaly([by_index[b["index"]] for b in broken]),) if broken else (),
        ),
        Verdict(
            checker="no lost commits",
            validity=Validity.VALID,
            claim="what was acknowledged is there at the end, or was overwritten by a later write",
            evidence="12,004 acknowledged writes, 50 keys read back from 5 nodes",
            method="final reads and WALs",
            elapsed_s=0.11,
        ),
        Verdict(
            checker="one leader a term",
            validity=Validity.VALID,
            claim="no two nodes led in the same term",
            evidence="9 elections in the logs of 5 nodes",
            method="WALs and logs",
            elapsed_s=0.02,
        ),
        Verdict(
            checker="liveness",
            validity=Validity.UNKNOWN,
            claim="a connected majority serves again soon after a heal",
            evidence="2 of 3 heals",
            reason="one heal had less than 5 s of calm after it: raise --calm",
            elapsed_s=0.01,
        ),
    ]
    if not broken:
        children.pop()
    validities = [child.validity for child in children]
    order = [Validity.INVALID, Validity.UNKNOWN, Validity.VALID]
    return Verdict(
        checker="register",
        validity=min(validities, key=order.index),
        children=tuple(children),
        elapsed_s=0.56,
    )


def _anomaly(operations: list[Any]) -> Anomaly:
    old, new, read = operations
    at, acked = read.invoked_ns / 1e9, new.completed_ns / 1e9
    return Anomaly(
        kind="stale read",
        summary=(
            f"Key {read.key} went back in time: p{read.process} read {read.output} at {at:.3f} s, "
            f"after p{new.process}'s write of {new.input} was acknowledged at {acked:.3f} s."
        ),
        explanation=(
            f"Let W = write {new.input} by p{new.process}, acknowledged at {acked:.3f} s.\n"
            f"Let R = read {read.output} by p{read.process}, begun at {at:.3f} s.\n"
            f"Then W < R in real time, because W had returned before R began.\n"
            f"However, R returned {read.output}, which W had overwritten: so R < W. "
            "A contradiction."
        ),
        ops=(old.index, new.index, read.index),
        key=read.key,
        window_ns=(old.invoked_ns, read.completed_ns),
        data={"legal states": ["{" + str(old.input) + "}", "{" + str(new.input) + "}"]},
    )


def _evidence(leader_periods: list[Any], stale: bool) -> Evidence:
    final = {"term": leader_periods[-1][1], "commit": 2101, "applied": 2101, "revision": 2077}
    return Evidence(
        nodes={
            node: NodeEvidence(
                node=node,
                committed=2101,
                led_terms=tuple(r[1] for r in leader_periods if r[0] == node),
                overwritten=3 if node == "n2" else 0,
                final=dict(
                    final,
                    role="leader" if node == leader_periods[-1][0] else "follower",
                    digest="9f31c0de77aa" if not (stale and node == "n4") else "07bb2f00aa11",
                ),
            )
            for node in NODES
        },
        recovery={"caught_up": True, "took_s": 1.4},
        unsupported_faults={"netem": "the kernel has no sch_netem"},
    )


def _logs(rng: random.Random, leader_periods: list[Any], faults: list[Any]) -> dict[str, list[str]]:
    lines: dict[str, list[tuple[int, dict[str, Any]]]] = {node: [] for node in NODES}
    for node in NODES:
        lines[node].append((0, {"level": "info", "event": "started", "msg": f"{node} started"}))
    for fault in faults:
        for node in fault["targets"]:
            if fault["kind"] == "kill":
                said = {"level": "info", "event": "started", "msg": f"{node} started"}
                lines[node].append((fault["until"], said))
            if fault["kind"] == "partition":
                text = f"lost peer 10.71.0.{rng.randrange(2, 7)}: connection reset"
                lines[node].append((fault["from"] + MS, {"level": "warning", "msg": text}))
    for name, term, begin, _ in leader_periods:
        said = {"level": "info", "event": "became-leader", "msg": "became leader", "term": term}
        lines[name].append((begin, said))
    return {
        node: [
            json.dumps({"ts": f"2026-11-21T03:54:{min(at / SECOND, 59.999):06.3f}Z", **said})
            for at, said in sorted(found, key=lambda each: each[0])
        ]
        for node, found in lines.items()
    }
