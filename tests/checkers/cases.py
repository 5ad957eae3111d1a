"""Test cases as text: what went in, a line of dashes, and what every reader is told.

    # One sentence: what must be rejected.
    checker lost-commits            which checker judges (or: checker linearizable register,
                                    or any name of the catalogue: checker list-append:serializable)
    recovered                       the final phase saw the cluster come back
    breach n1 commitment 40 text    what the simulator saw n1 do at 40 ms
    trouble TEXT                    something that went wrong with the harness
    node n1 entries=1/1/a,2/1/b committed=2 led=1 hard=1/2/2 digests=64/5/d1 final=64/5/d1
    p0: |-write x 1-|               lanes, as in squall.checkers.text.lanes
    ----
    invalid ...

Entries are index/term/digest[/key/value], hard states term/vote/commit, digests and final states
index/revision/digest.
REWRITE=1 in the environment rewrites the files; read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from squall.checkers.evidence import (
    Breach,
    Evidence,
    HardState,
    LogEntry,
    NodeEvidence,
    StateDigest,
)
from squall.checkers.history import History
from squall.checkers.judge import standard_checkers
from squall.checkers.linearizability.checker import linearizability
from squall.checkers.registry import ENTRIES, judge_of
from squall.checkers.text.lanes import COLUMN_NS, parse
from squall.checkers.verdict import Budget, Validity, Verdict

REWRITE = bool(os.environ.get("REWRITE"))
RULE = "----\n"


def run_case(text: str) -> Verdict:
    """Judge the upper half of a case."""
    name, model, recovery, nodes, lanes = "linearizable", None, {}, {}, []
    kinds: tuple[str, ...] = ()
    breaches: tuple[Breach, ...] = ()
    trouble: tuple[str, ...] = ()
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "checker":
            name, *models = rest.split()
            model = models[0] if models else None
        elif word == "recovered":
            recovery = {"recovered": True, "elapsed_s": 0.5}
        elif word == "unrecovered":
            recovery = {"recovered": False, "elapsed_s": 60.0, "reason": rest}
        elif word == "requested":
            kinds = tuple(rest.split())
        elif word == "breach":
            node_name, rule, at_ms, broke = rest.split(" ", 3)
            breaches += (
                Breach(
                    rule=rule.replace("-", " "),
                    node=node_name,
                    at_ns=int(at_ms) * COLUMN_NS,
                    text=broke,
                ),
            )
        elif word == "trouble":
            trouble += (rest,)
        elif word == "node":
            node = _node(rest)
            nodes[node.node] = node
        else:
            lanes.append(line)
    if name not in {one.name for one in standard_checkers()} and not model:
        return judge_of(name)(parse("\n".join(lanes)), Budget())
    if model:
        make = ENTRIES[model].make
        assert make is not None, model
        checker = linearizability(make)
    else:
        every = standard_checkers(requested_faults=kinds, availability_bound_ms=50)
        (checker,) = (one for one in every if one.name == name)
    history: History = parse("\n".join(lanes))
    evidence = Evidence(nodes=nodes, recovery=recovery, breaches=breaches, trouble=trouble)
    return checker.check(history, evidence, Budget())


def _node(text: str) -> NodeEvidence:
    name, *facts = text.split(" ", 1)
    fields: dict[str, Any] = {}
    for fact in _split(facts[0]) if facts else ():
        key, _, value = fact.partition("=")
        parts = [part.split("/") for part in value.split(",")]
        if key == "entries":
            fields["entries"] = tuple(
                LogEntry(int(term), int(index), 0, digest, (tuple(put),) if put else ())
                for index, term, digest, *put in parts
            )
        elif key == "hard":
            fields["hard_states"] = tuple(HardState(*map(int, part)) for part in parts)
        elif key == "digests":
            fields["digests"] = tuple(
                StateDigest(index=int(index), term=1, revision=int(revision), digest=digest)
                for index, revision, digest in parts
            )
        elif key == "final":
            ((applied, revision, digest),) = parts
            fields["final"] = {
                "applied": int(applied),
                "revision": int(revision),
                "digest": digest,
                "commit": int(applied),
            }
        elif key == "led":
            fields["led_terms"] = tuple(int(part[0]) for part in parts)
        elif key == "overwrote":
            fields["overwrote_committed"] = tuple(int(part[0]) for part in parts)
        elif key == "committed":
            fields["committed"] = int(value)
        elif key == "assertion":
            fields["assertions"] = (value.replace("_", " "),)
        elif key == "member":
            fields["member_id"] = int(value)
        elif key == "refusal":
            fields["refusals"] = (value.replace("_", " "),)
        elif key == "damage":
            fields["damage"] = value.replace("_", " ")
        else:
            raise ValueError(key)
    return NodeEvidence(node=name, **fields)


def _split(text: str) -> list[str]:
    return [fact for fact in text.split(" ") if fact]


def tell(verdict: Verdict) -> str:
    """What a reader is told: the verdict, and each anomaly in full."""
    lines = [f"{verdict.checker}: {verdict.validity}"]
    if verdict.reason:
        lines.append(f"reason: {verdict.reason}")
    for anomaly in verdict.anomalies:
        lines += ["", f"{anomaly.kind}: {anomaly.summary}"]
        lines += anomaly.explanation.splitlines()
        lines += anomaly.lanes.splitlines()
    for child in verdict.children:
        if child.validity is verdict.validity is not Validity.VALID:
            lines += ["", *tell(child).splitlines()]
    return "\n".join(lines) + "\n"


def headings(text: str) -> list[str]:
    """Return what a case says before its lanes."""
    words = {"checker", "recovered", "unrecovered", "requested", "node", "breach", "trouble"}
    return [line for line in text.splitlines() if line.partition(" ")[0] in words]


def play(path: Path) -> tuple[Verdict, str, str]:
    """Run one case: its verdict, what was told, and what should be (which REWRITE adapts)."""
    given, _, expected = path.read_text().partition(RULE)
    verdict = run_case(given)
    told = tell(verdict)
    if REWRITE:
        path.write_text(given + RULE + told)
        expected = told
    return verdict, told, expected
