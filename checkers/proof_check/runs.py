"""What proofs say of whole runs: lost writes, nodes and their logs, service and recovery.

What nodes left behind is evidence beside the history. A sentence about it is compared with it where
it was handed in, and counts as unverified where it was not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from squall.checkers.evidence import Evidence, NodeEvidence
from squall.checkers.faults import FaultWindow, fault_windows
from squall.checkers.history import OBSERVER, Operation, OpType
from squall.checkers.linearizability.registers import freeze
from squall.checkers.proof_check.facts import expects, puts, sees
from squall.checkers.proof_check.grammar import (
    Contradicted,
    NotThis,
    Unverified,
    moment,
    require,
    sentence,
    summary,
)
from squall.checkers.proof_check.proof import Proof, Told
from squall.checkers.proof_check.registers import cast_ops, found_it, joined, once, says, written_by
from squall.checkers.text.proof import phrase, value_phrase, who


def evidence(proof: Proof) -> Evidence:
    """What the nodes left behind; raises Unverified where it was not handed in."""
    if proof.facts.evidence is None:
        raise Unverified("the nodes' evidence is not at hand")
    return proof.facts.evidence


def node_of(proof: Proof, name: str) -> NodeEvidence:
    """One node's evidence; raises Contradicted if there is none."""
    nodes = evidence(proof).nodes
    if name not in nodes:
        raise Contradicted(f"no node is called {name}")
    return nodes[name]


# --- acknowledged writes that are gone


@summary(
    "{w} to {key} was acknowledged, yet at the end {same} is {value}.",
    "{w} to {key} was acknowledged by {node:who}, yet at the end {same} is {value}.",
    "{w} to {key} was acknowledged, yet at the end {same} is {value} ({n:int} acknowledged writes "
    "lost).",
    "{w} to {key} was acknowledged by {node:who}, yet at the end {same} is {value} ({n:int} "
    "acknowledged writes lost).",
    "{w} to {key} was acknowledged, but no committed entry of {log:who} carries it.",
    "{w} to {key} was acknowledged by {node:who}, but no committed entry of {log:who} carries it.",
)
def _acknowledged_yet(
    proof: Proof,
    w: str,
    key: str,
    same: str | None = None,
    value: str | None = None,
    node: str | None = None,
    n: int | None = None,
    log: str | None = None,
) -> None:
    proof.about(key)
    one = next((one for one in proof.cast.values() if phrase(one.real) == w), None)
    if one is None:
        raise Contradicted(f"no operation of the proof is {w}")
    require(one.real.outcome is OpType.OK, f"{one.name} was not acknowledged")
    require((one.real.node or None) == node, f"{one.name} was acknowledged by {one.real.node}")
    if value is not None:
        require(same == key, f"{same} is not {key}")
        final = [r for r in proof.cast.values() if _final(r.real)]
        require(any(says(sees(r.real), value) for r in final), f"no final read shows {value}")
        lost = proof.anomaly.data.get("lost") or ()
        require(n in {None, len(lost)}, f"{len(lost)} are lost")
    elif log is not None:
        require(proof.memory.get("log") == log, "its proof is about another log")


def _final(one: Operation) -> bool:
    return bool((one.meta or {}).get("final"))


@sentence("Then {w:op} was acknowledged, and nothing ever removes a value from {key}.")
def _nothing_removes(proof: Proof, w: Told, key: str) -> None:
    proof.about(key)
    acknowledged_write(w)
    require(not written_by(proof, "nil", cast_ops(proof)), "somebody may have written nil")


def acknowledged_write(w: Told) -> None:
    """Check that an operation wrote something and was told so."""
    require(w.real.outcome is OpType.OK and puts(w.real) is not None, f"{w.name} wrote nothing")


@sentence("Then {w:op} replaced {value}, which was written only once.")
def _replaced_once(proof: Proof, w: Told, value: str) -> None:
    acknowledged_write(w)
    require(w.real.f == "cas", f"{w.name} replaced nothing")
    found_it(w, value)
    once(proof, value)


@sentence("Then {w:op} came after {s:op}, because {order:order}.")
def _came_after(proof: Proof, w: Told, s: Told, order: tuple[Told, Told]) -> None:
    require(order == (s, w), f"{order[0].name} came before {order[1].name}")
    acknowledged_write(w)


@sentence("Then {w:op} came after {s:op}, by compare-and-sets which build on it.")
def _by_building(proof: Proof, w: Told, s: Told) -> None:
    acknowledged_write(w)
    lost = [proof.facts.by_index[index] for index in proof.anomaly.data.get("lost") or ()]
    links = [Told("", one, one) for one in lost if one.f == "cas"]
    require(joined(s, w, links), f"nothing leads from {s.name} to {w.name}")


@sentence(
    "Nothing that could have come later was found in its place, and no read of the final phase "
    "shows it.",
    "Nothing that could have come later was found in its place, and {nodes} still holds it.",
)
def _nothing_later(proof: Proof, nodes: str | None = None) -> None:
    lost = proof.anomaly.data.get("lost") or ()
    if not lost:
        raise Contradicted("nothing is lost")
    one = proof.facts.by_index[lost[-1]]
    value = puts(one)
    require(value is not None, f"op {one.index} wrote nothing")
    assert value is not None
    holding = sorted(
        {
            r.node or who(r)
            for r in proof.facts.of_key(proof.key)
            if _final(r)
            and r.outcome is OpType.OK
            and r.f.endswith("read")
            and freeze(r.output) == freeze(value[0])
        }
    )
    require(holding == (nodes.split(", ") if nodes else []), f"{holding} show it")


@sentence(
    "{w:op} was acknowledged at {at:ns}; {last}.",
    "{w:op} was acknowledged at {at:ns} by {node:who}; {last}.",
)
def _acknowledged_at(proof: Proof, w: Told, at: str, last: str, node: str | None = None) -> None:
    acknowledged_write(w)
    real = moment(w.real.completed_ns or 0, at)
    require(real == at, f"{w.name} was acknowledged at {real}")
    require((w.real.node or None) == node, f"{w.name} was acknowledged by {w.real.node}")
    value = puts(w.real)
    assert value is not None
    seen = [
        one
        for one in proof.facts.of_key(proof.key)
        if one.outcome is OpType.OK
        and one.f != "write"
        and _observed_text(one) == value_phrase(value[0])
    ]
    if last == "no read ever showed it":
        require(not seen, f"op {seen[0].index if seen else ''} showed it")
        return
    for reader in proof.cast.values():
        prefix = f"{reader.name} saw it last, at "
        if last.startswith(prefix):
            latest = max((one.completed_ns or 0 for one in seen), default=0)
            require(reader.real.completed_ns == latest, f"it was seen last at {latest} ns")
            require(moment(latest, last) == last.removeprefix(prefix), f"that was at {latest} ns")
            return
    raise Contradicted(f"{last!r} is not what the history says")


def _observed_text(one: Operation) -> str | None:
    found = expects(one)
    return None if found is None else value_phrase(found[0])


@sentence("While {w:op} was under way, {faults} was at work.")
def _at_work(proof: Proof, w: Told, faults: str) -> None:
    until = w.real.completed_ns or w.real.invoked_ns
    active = [
        f"{window.id} ({window.detail or ', '.join(window.targets) or window.kind})"
        for window in fault_windows(proof.facts.history)
        if window.from_ns <= until
        and (window.until_ns is None or window.until_ns >= w.real.invoked_ns)
    ]
    require(
        faults == (", ".join(active) or "no fault"), f"it was {', '.join(active) or 'no fault'}"
    )


@sentence("However, {r:op}, in the final phase, still found {value}.")
def _still_found(proof: Proof, r: Told, value: str) -> None:
    require(_final(r.real), f"{r.name} is not of the final phase")
    found_it(r, value)


@sentence(
    "Then an entry with the value {value} was committed, because {w:op} was acknowledged; and "
    "every "
    "node that commits past it holds it."
)
def _was_committed(proof: Proof, value: str, w: Told) -> None:
    acknowledged_write(w)
    require(says(puts(w.real), value), f"{w.name} is {phrase(w.real)}")
    proof.memory["lost"] = w


def places(proof: Proof, one: Operation) -> Iterator[tuple[NodeEvidence, Any]]:
    """Where entries that carry an operation's value stand, by node."""
    value = puts(one)
    for node in evidence(proof).nodes.values():
        for entry in node.entries:
            for key, text in entry.puts:
                if value is not None and text == str(value[0]) and key.endswith(one.key or ""):
                    yield node, entry


def committed(node: NodeEvidence) -> int:
    """How far a node knew its log to be committed."""
    return max(node.committed, int((node.final or {}).get("commit") or 0))


def _lost(proof: Proof) -> Operation:
    lost = proof.anomaly.data.get("lost") or ()
    if not lost:
        raise Contradicted("nothing is lost")
    return proof.facts.by_index[lost[-1]]


def _logged(proof: Proof) -> list[str]:
    nodes = evidence(proof).nodes.values()
    return sorted(node.node for node in nodes if node.entries and not node.log_missing)


@sentence("No log that was collected has an entry with it ({nodes}).")
def _no_log(proof: Proof, nodes: str) -> None:
    found = [node.node for node, _ in places(proof, _lost(proof))]
    require(not found, f"{found} have one")
    require(_split(nodes) == _logged(proof), f"logs were collected of {_logged(proof)}")


def _split(names: str) -> list[str]:
    return [each for name in names.split(", ") for each in name.split(" and ")]


@sentence("In the logs, {held}.")
def _in_the_logs(proof: Proof, held: str) -> None:
    found = list(places(proof, _lost(proof)))
    require(found, "no log has it")
    said, _, rest = held.partition("; ")
    parts = [
        f"{node.node} has it at index {entry.index}, term {entry.term}, "
        + ("committed" if entry.index <= committed(node) else "which it never knew to be committed")
        for node, entry in found
    ]
    for part in parts:
        require(part in said, f"{part}")
    require(
        sum(said.count(f"{node} has it") for node in _logged(proof)) == len(parts),
        "others have it not",
    )
    others = sorted(set(_logged(proof)) - {node.node for node, _ in found})
    told = _split(rest.removesuffix(" has not").removesuffix(" have not")) if rest else []
    require(told == others, f"{others} have it not")


@sentence(
    "{node:who}, which led term {term:int}, counted it as committed, although of the {n:int} logs "
    "that were collected no more than {some:int} has it: it was committed without a durable "
    "majority, or a majority lost it afterwards.",
    "{node:who}, which led term {term:int}, counted it as committed, although of the {n:int} logs "
    "that were collected no more than {some:int} have it: it was committed without a durable "
    "majority, or a majority lost it afterwards.",
)
def _counted_it(proof: Proof, node: str, term: int, n: int, some: int) -> None:
    require(node in leading_nodes(proof, term), f"{node} did not lead term {term}")
    found = list(places(proof, _lost(proof)))
    mine = [entry for held_by, entry in found if held_by.node == node and entry.term == term]
    until = committed(node_of(proof, node))
    require(any(entry.index <= until for entry in mine), f"{node} did not count it as committed")
    logged, holding = _logged(proof), {held_by.node for held_by, _ in found}
    require(n == len(logged), f"{len(logged)} logs were collected")
    require(some == len(holding), f"{len(holding)} have it")
    require(some <= n // 2, "that is a majority")


@sentence("However, the log of {node:who} ({what}) has no such entry.")
def _no_such_entry(proof: Proof, node: str, what: str) -> None:
    log = node_of(proof, node)
    found = [one.node for one, _ in places(proof, _lost(proof))]
    require(node not in found, f"{node} has one")
    last = log.entries[-1].index if log.entries else 0
    real = f"{node}: entries 1 to {last}, committed up to {committed(log)}"
    require(what == real, f"it is {real}")
    proof.memory["log"] = node


# --- service and recovery


def window_of(proof: Proof, name: str) -> FaultWindow:
    """A fault of the run by its id; raises Contradicted if there is none."""
    found = next((one for one in fault_windows(proof.facts.history) if one.id == name), None)
    if found is None:
        raise Contradicted(f"no fault is called {name}")
    return found


@summary("Nobody was served for {length:ns} under {fault}, which leaves a connected quorum.")
def _nobody_served(proof: Proof, length: str, fault: str) -> None:
    window = window_of(proof, fault)
    require(window.expect == "available", f"{fault} is {window.expect or 'of no known effect'}")
    since, until = proof.anomaly.window_ns or (0, 0)
    require(length == moment(until - since, length), f"it lasted {until - since} ns")


@sentence(
    "Let F be {fault} ({kind}: {detail}), the only fault at work from {since:ns} to {until:ns}."
)
def _the_only_fault(
    proof: Proof, fault: str, kind: str, detail: str, since: str, until: str
) -> None:
    window = window_of(proof, fault)
    require((kind, detail) == (window.kind, window.detail), f"it is {window.kind}: {window.detail}")
    _only_at_work(proof, fault, since, until)


@sentence("Let F be {fault} ({kind}: ), the only fault at work from {since:ns} to {until:ns}.")
def _the_only_fault_undescribed(
    proof: Proof, fault: str, kind: str, since: str, until: str
) -> None:
    window = window_of(proof, fault)
    require(kind == window.kind and not window.detail, f"it is {window.kind}: {window.detail}")
    _only_at_work(proof, fault, since, until)


def _only_at_work(proof: Proof, fault: str, since: str, until: str) -> None:
    begin, end = proof.anomaly.window_ns or (0, 0)
    real = moment(begin, since), moment(end, until)
    require((since, until) == real, f"it is from {real[0]} to {real[1]}")
    for one in fault_windows(proof.facts.history):
        if one.outcome == "skipped":
            continue
        during = one.from_ns <= begin and (one.until_ns is None or one.until_ns >= end)
        apart = one.from_ns >= end or (one.until_ns is not None and one.until_ns <= begin)
        require(during if one.id == fault else apart, f"{one.id} was from {one.from_ns} ns")


@sentence(
    "Then a majority of the nodes can reach each other, so within {bound:who} s one of them leads "
    "and serves."
)
def _within_bound(proof: Proof, bound: str) -> None:
    since, until = proof.anomaly.window_ns or (0, 0)
    require((until - since) / 1e9 > float(bound), f"the time is shorter than {bound} s")


@sentence("However, {n:int} operations were tried in that time, and none succeeded.")
def _were_tried(proof: Proof, n: int) -> None:
    since, until = proof.anomaly.window_ns or (0, 0)
    load = [one for one in proof.facts.history.operations if not _final(one)]
    tried = sum(since < one.invoked_ns < until for one in load)
    require(n == tried, f"{tried} were tried")
    served = [
        one
        for one in load
        if one.outcome is OpType.OK
        and one.completed_ns is not None
        and since < one.completed_ns < until
    ]
    require(not served, f"op {served[0].index if served else ''} succeeded")


def _recovery(proof: Proof) -> tuple[str, str]:
    seen = evidence(proof).recovery
    require(seen.get("recovered") is False, "it recovered, or nobody looked")
    elapsed = seen.get("elapsed_s")
    waited = f" within {elapsed:g} s" if isinstance(elapsed, int | float) else ""
    return str(seen.get("reason") or "no reason given"), waited


@summary("The cluster did not recover{what}")
def _did_not_recover(proof: Proof, what: str) -> None:
    reason, waited = _recovery(proof)
    require(what == f"{waited} after all was healed: {reason}.", f"{reason}{waited}")


@sentence(
    "Let H be the end of the healing, after which nothing of the harness kept any node from "
    "running, from reaching the others or from telling the time.",
    "Let H be the end of the healing at {at:ns}, after which nothing of the harness kept any node "
    "from running, from reaching the others or from telling the time.",
)
def _end_of_healing(proof: Proof, at: str | None = None) -> None:
    ended = next(
        (one.completed_ns for one in proof.facts.history.nemesis_operations if one.f == "recover"),
        None,
    )
    real = None if ended is None else moment(ended, at or "0.000 s")
    require(at == real, f"it ended at {real}")
    for window in fault_windows(proof.facts.history):
        late = ended is not None and window.until_ns is not None and window.until_ns > ended
        require(not late, f"{window.id} was at work until {window.until_ns} ns")
    proof.memory["healed"] = True


@sentence("Then a leader is elected, and every node catches up with it.")
def _leader_elected(proof: Proof) -> None:
    require(proof.memory.get("healed"), "nothing was healed")


@sentence("However, {what}.")
def _not_within(proof: Proof, what: str) -> None:
    if proof.anomaly.kind == "no-recovery":
        reason, waited = _recovery(proof)
        require(what == f"{reason}{waited}", f"{reason}{waited}")
    elif proof.anomaly.kind == "hard-state-regressed":
        _regressed_words(proof, what)
    else:
        raise NotThis


def member(proof: Proof, number: int) -> str:
    """What a member is called: its node's name where some log says which that is."""
    nodes = evidence(proof).nodes.values()
    named = [node.node for node in nodes if number and node.member_id == number]
    return named[-1] if named else f"member {number:x}" if number else "none"


def _regressed_words(proof: Proof, what: str) -> None:
    said = proof.memory.get("states")
    if said is None:
        raise Contradicted("nothing was said of durable states")
    old, new = said
    words = []
    if new.term < old.term:
        words.append(f"its term went back from {old.term} to {new.term}")
    if new.commit < old.commit:
        words.append(f"its commit index went back from {old.commit} to {new.commit}")
    if new.term == old.term and old.vote and new.vote != old.vote:
        to = f"one for {member(proof, new.vote)}" if new.vote else "none"
        words.append(f"its vote for {member(proof, old.vote)} in term {new.term} became {to}")
    require(what in words, f"it is so: {'; '.join(words) or 'nothing went back'}")
    proof.memory["words"] = what


# --- Raft, by what nodes left behind


@summary(
    "{names} both became leader of term {term:int}.",
    "{names} all became leader of term {term:int}.",
)
def _both_led(proof: Proof, names: str, term: int) -> None:
    leading = leading_nodes(proof, term)
    require(_split(names) == leading, f"they are {leading}")


@sentence("Let {names} be the nodes which report that they became leader of term {term:int}.")
def _report_leading(proof: Proof, names: str, term: int) -> None:
    leading = leading_nodes(proof, term)
    require(_split(names) == leading, f"they are {leading}")
    require(len(leading) > 1, "it is one")


def leading_nodes(proof: Proof, term: int) -> list[str]:
    """Which nodes said that they led a term: in their logs, or when the observer asked."""
    found = {node.node for node in evidence(proof).nodes.values() if term in node.led_terms}
    for op in proof.facts.history:
        if op.process == OBSERVER and isinstance(op.value, dict):
            found |= {name for name, seen in op.value.items() if _led(seen, term)}
    return sorted(found)


def _led(seen: Any, term: int) -> bool:
    """Whether a node, when it was asked, called itself the leader of a term."""
    if not isinstance(seen, dict) or not seen.get("reachable", True):
        return False
    return seen.get("role") == "leader" and seen.get("term") == term


@sentence("Then each had the votes of a majority, and two majorities share a node.")
@sentence("However, a node votes once a term (Raft, section 5.2).")
@sentence("Then all entries before E are equal too (Raft, section 5.3).")
@sentence("Then H2 may only go forward from H1.")
@sentence("Then S is the same on every node, because it is computed from the same commands.")
@sentence("Then they hold the same state.")
@sentence("However, they differ.")
@sentence("Then they are equal, because all nodes had applied the same index.")
def _as_raft_promises(proof: Proof) -> None:
    pass


def entry_at(proof: Proof, name: str, index: int) -> Any:
    """A node's entry at an index; raises Contradicted if it has none."""
    found = next((one for one in node_of(proof, name).entries if one.index == index), None)
    if found is None:
        raise Contradicted(f"{name} has no entry {index}")
    return found


@summary("{a:who} and {b:who} hold different entries at index {index:int}, term {term:int}.")
def _hold_different(proof: Proof, a: str, b: str, index: int, term: int) -> None:
    one, other = entry_at(proof, a, index), entry_at(proof, b, index)
    require(one.term == other.term == term, "they are of other terms")
    require(one.digest != other.digest, "they are equal")


@sentence("Let E be the entry at index {index:int} of term {term:int}.")
def _let_entry(proof: Proof, index: int, term: int) -> None:
    nodes = evidence(proof).nodes.values()
    require(
        any((one.index, one.term) == (index, term) for n in nodes for one in n.entries), "none is"
    )
    proof.memory["entry"] = (index, term)


@sentence("Then E was made by the one leader of term {term:int}, once.")
def _made_by_leader(proof: Proof, term: int) -> None:
    require(proof.memory.get("entry", (0, term))[1] == term, "E is of another term")


@sentence("However, {a:who} has {x:who} there and {b:who} has {y:who}.")
def _has_there(proof: Proof, a: str, x: str, b: str, y: str) -> None:
    index, _ = proof.memory.get("entry", (0, 0))
    real = entry_at(proof, a, index).digest, entry_at(proof, b, index).digest
    require(real == (x, y), f"they have {real[0]} and {real[1]}")
    require(x != y, "they are equal")


@summary("{a:who} and {b:who} agree on index {index:int} but not on the entry before it.")
def _agree_but(proof: Proof, a: str, b: str, index: int) -> None:
    one, other = entry_at(proof, a, index), entry_at(proof, b, index)
    require((one.term, one.digest) == (other.term, other.digest), "they do not agree on it")


@sentence(
    "Let E be the entry at index {index:int} of term {term:int}, which {a:who} and {b:who} both "
    "hold."
)
def _both_hold(proof: Proof, index: int, term: int, a: str, b: str) -> None:
    for name in (a, b):
        require(entry_at(proof, name, index).term == term, f"{name} holds another there")
    proof.memory["entry"] = (index, term)


@sentence(
    "However, the one before it is of term {x:int} on {a:who} and of term {y:int} on {b:who}."
)
def _one_before(proof: Proof, x: int, a: str, y: int, b: str) -> None:
    index, _ = proof.memory.get("entry", (0, 0))
    real = _before(proof, a, index), _before(proof, b, index)
    require(real == (x, y) and x != y, f"they are of terms {real[0]} and {real[1]}")


def _before(proof: Proof, name: str, index: int) -> int | None:
    entries = node_of(proof, name).entries
    at = next((at for at, one in enumerate(entries) if one.index == index), 0)
    return entries[at - 1].term if at else None


@summary("{a:who} and {b:who} committed different entries at index {index:int}.")
def _committed_different(proof: Proof, a: str, b: str, index: int) -> None:
    one, other = entry_at(proof, a, index), entry_at(proof, b, index)
    require((one.term, one.digest) != (other.term, other.digest), "they are equal")
    for name in (a, b):
        require(index <= node_of(proof, name).committed, f"{name} did not commit it")


@sentence(
    "Let E be the entry that {a:who} committed at index {index:int} (term {term:int}, "
    "{digest:who})."
)
def _let_committed(proof: Proof, a: str, index: int, term: int, digest: str) -> None:
    one = entry_at(proof, a, index)
    require((one.term, one.digest) == (term, digest), f"it is of term {one.term}, {one.digest}")
    require(index <= node_of(proof, a).committed, f"{a} did not commit it")
    proof.memory["entry"] = (index, term, digest)


@sentence("Then every node that commits index {index:int} commits E.")
def _commits_it(proof: Proof, index: int) -> None:
    require(proof.memory.get("entry", (index,))[0] == index, "E is at another index")


@sentence("However, {b:who} committed term {term:int}, {digest:who} there.")
def _committed_there(proof: Proof, b: str, term: int, digest: str) -> None:
    said = proof.memory.get("entry", (0, 0, ""))
    one = entry_at(proof, b, said[0])
    require((one.term, one.digest) == (term, digest), f"it committed term {one.term}, {one.digest}")
    require((term, digest) != said[1:], "that is E")


@summary("{a:who} overwrote entry {index:int}, which it had committed.")
@sentence("Let E be entry {index:int} on {a:who}.")
def _overwrote(proof: Proof, a: str, index: int) -> None:
    real = node_of(proof, a).overwrote_committed
    require(index in real, f"{a} overwrote {list(real)}")
    proof.memory["node"] = a


@sentence("Then E was committed, because {a:who}'s own hard state said so.")
def _hard_state_said(proof: Proof, a: str) -> None:
    require(node_of(proof, a).node == proof.memory.get("node", a), "E is another node's")


@sentence("However, a later record of the same WAL puts something else in its place.")
def _later_record(proof: Proof) -> None:
    require("node" in proof.memory, "nothing was said of an entry")


@summary("On {a:who} {what}.")
def _on_node(proof: Proof, a: str, what: str) -> None:
    require(node_of(proof, a).node == proof.memory.get("node"), "its proof is about another node")
    require(what == proof.memory.get("words"), "its proof says something else")


@sentence(
    "Let H1 and H2 be the durable states {i:int} and {j:int} in {a:who}'s WAL: (term {t1:int}, "
    "vote {v1}, commit {c1:int}) and (term {t2:int}, vote {v2}, commit {c2:int})."
)
def _durable_states(
    proof: Proof,
    i: int,
    j: int,
    a: str,
    t1: int,
    v1: str,
    c1: int,
    t2: int,
    v2: str,
    c2: int,
) -> None:
    states = node_of(proof, a).hard_states
    require(0 < i == j - 1 < len(states), f"{a} has {len(states)}")
    old, new = states[i - 1], states[j - 1]
    for state, told in ((old, (t1, v1, c1)), (new, (t2, v2, c2))):
        real = (state.term, member(proof, state.vote), state.commit)
        require(real == told, f"it is term {real[0]}, vote {real[1]}, commit {real[2]}")
    proof.memory["states"] = (old, new)
    proof.memory["node"] = a


@summary("{names} differ in state after applying index {index:int}.")
def _differ_in_state(proof: Proof, names: str, index: int) -> None:
    require(proof.memory.get("applied") == index, "its proof is about another index")
    for name in _split(names.removeprefix("Two passes of ")):
        node_of(proof, name)


@sentence("Let S be the state after applying index {index:int}.")
def _let_state(proof: Proof, index: int) -> None:
    nodes = evidence(proof).nodes.values()
    require(any(one.index == index for n in nodes for one in n.digests), "no digest is of it")
    proof.memory["applied"] = index


@sentence(
    "However, {a:who} had digest {x:who} at revision {r:int}, and {b:who} {y:who} at revision "
    "{s:int}."
)
def _had_digests(proof: Proof, a: str, x: str, r: int, b: str, y: str, s: int) -> None:
    index = proof.memory.get("applied")
    for name, told in ((a, (x, r)), (b, (y, s))):
        real = [(d.digest, d.revision) for d in node_of(proof, name).digests if d.index == index]
        require(told in real, f"{name} had {real}")
    require((x, r) != (y, s), "they are equal")


@summary("{a:who} had applied index {applied:int}, but its log on disk ends at {last:int}.")
def _had_applied(proof: Proof, a: str, applied: int, last: int) -> None:
    require(proof.memory.get("durable") == (a, applied, last), "its proof says something else")


@sentence("Let I be index {index:int}, which {a:who} said it had applied when the run ended.")
def _said_applied(proof: Proof, index: int, a: str) -> None:
    applied = int((node_of(proof, a).final or {}).get("applied") or 0)
    require(index == applied, f"it said {applied}")
    proof.memory["applied"] = (a, index)


@sentence(
    "Then entry I was on {a:who}'s disk, because a node applies, and vouches for, only what a "
    "power "
    "failure cannot take away."
)
def _was_on_disk(proof: Proof, a: str) -> None:
    require(proof.memory.get("applied", (a,))[0] == a, "I is another node's")


@sentence("However, its log, copied after that, ends at index {last:int}.")
def _log_ends(proof: Proof, last: int) -> None:
    said = proof.memory.get("applied")
    if said is None:
        raise Contradicted("nothing was said of what it applied")
    entries = node_of(proof, said[0]).entries
    real = entries[-1].index if entries else 0
    require(last == real, f"it ends at {real}")
    require(last < said[1], "that is far enough")
    proof.memory["durable"] = (*said, last)


@summary("At the end {a:who} and {b:who} differ in state at the same index.")
def _differ_at_end(proof: Proof, a: str, b: str) -> None:
    require(proof.memory.get("two") == (a, b), "its proof is about others")


@sentence(
    "Let I be index {index:int}, which {a:who} and {b:who} had both applied when all was healed."
)
def _both_applied(proof: Proof, index: int, a: str, b: str) -> None:
    for name in (a, b):
        real = int((node_of(proof, name).final or {}).get("applied") or 0)
        require(real == index, f"{name} had applied {real}")
    proof.memory["two"] = (a, b)


@sentence(
    "However, {a:who} had revision {r:int} and digest {x:who}, and {b:who} revision {s:int} and "
    "digest {y:who}."
)
def _had_revisions(proof: Proof, a: str, r: int, x: str, b: str, s: int, y: str) -> None:
    for name, told in ((a, (r, x)), (b, (s, y))):
        final = node_of(proof, name).final or {}
        real = (final.get("revision"), final.get("digest"))
        require(real == told, f"{name} had revision {real[0]} and digest {real[1]}")
    require((r, x) != (s, y), "they are equal")


@summary("When all was healed and every node stood at the same index, they held different states.")
def _held_different(proof: Proof) -> None:
    require(evidence(proof).recovery.get("digests_agree") is False, "they agreed, or nobody looked")


@sentence("Let D be the digests of what each node held: {held}.")
def _digests_held(proof: Proof, held: str) -> None:
    found = evidence(proof).recovery.get("digests") or {}
    real = ", ".join(
        f"{name} {facts.get('digest')} at revision {facts.get('revision')}"
        for name, facts in sorted(found.items())
    )
    require(held == real, f"they are {real}")


@summary("{a:who} would not start from its own disk, which no fault had damaged.")
def _would_not_start(proof: Proof, a: str) -> None:
    require(node_of(proof, a).refusals, f"{a} refused nothing")
    undamaged(proof, a)


def undamaged(proof: Proof, name: str) -> None:
    """Check that no fault was aimed at a node's disk."""
    disks = ("disk", "corrupt", "bitflip", "truncate", "lose")
    for window in fault_windows(proof.facts.history):
        touched = window.kind.startswith(disks) and name in window.targets
        require(not touched, f"{window.id} touched it")


@sentence(
    "Let D be the data directory of {a:who}, to which only {b:who} ever wrote and which only "
    "crashes of {c:who} touched."
)
def _data_directory(proof: Proof, a: str, b: str, c: str) -> None:
    require(a == b == c, "these are several nodes")
    node_of(proof, a)
    undamaged(proof, a)
    proof.memory["node"] = a


@sentence(
    "Then {a:who} starts from D, because what a crash may leave of unsynced writes is cut off, and "
    "all else is as it was written."
)
def _starts_from(proof: Proof, a: str) -> None:
    require(proof.memory.get("node") == a, "D is another node's")


@sentence("However, {a:who} says: {words}")
def _refuses(proof: Proof, a: str, words: str) -> None:
    require(proof.memory.get("node") == a, "D is another node's")
    said = node_of(proof, a).refusals
    require(any(one.startswith(words) for one in said), f"it said {list(said)}")


# --- what the simulator saw


@sentence("Let B be what the simulator saw {a:who} do at {at:ns}.")
def _seen_by_the_simulator(proof: Proof, a: str, at: str) -> None:
    found = [one for one in evidence(proof).breaches if one.node == a]
    found = [one for one in found if moment(one.at_ns, at) == at]
    require(found, f"it saw nothing of {a} at that moment")
    proof.memory["breaches"] = found


@sentence("Then B keeps the rule: {claim}")
def _keeps_the_rule(proof: Proof, claim: str) -> None:
    rules = [one.rule for one in proof.memory.get("breaches", ())]
    require(proof.anomaly.data.get("rule") in rules, f"the rule is {rules}")
    require(claim, "no rule is told")


@sentence("However, {a:who} {text} The simulator ended the run there.")
def _broke_the_rule(proof: Proof, a: str, text: str) -> None:
    found = [one for one in proof.memory.get("breaches", ()) if one.node == a]
    require(any(text in {one.text, f"{one.text}."} for one in found), "it saw something else")


@summary("{a:who} {text}")
def _broke_it(proof: Proof, a: str, text: str) -> None:
    found = proof.memory.get("breaches")
    if found is None:
        raise NotThis
    same = [one for one in found if one.node == a and text in {one.text, f"{one.text}."}]
    require(same, "the simulator saw something else")


@summary("{a:who} stopped by itself: {why}")
def _stopped(proof: Proof, a: str, why: str) -> None:
    words = node_of(proof, a).assertions
    require(any(why in one for one in words), f"it said {list(words)}")


@summary("The WAL of {a:who} is damaged, and no fault touched its disk.")
def _wal_damaged(proof: Proof, a: str) -> None:
    require(node_of(proof, a).damage, "it is whole")
    undamaged(proof, a)


@sentence("Let D be the damage: {damage}.")
def _the_damage(proof: Proof, damage: str) -> None:
    nodes = [node.node for node in evidence(proof).nodes.values() if node.damage == damage]
    require(nodes, "no WAL has this damage")
    proof.memory["damaged"] = nodes


@sentence("Then {a:who} wrote it, because a crash can only cut the tail of the last segment.")
def _wrote_it(proof: Proof, a: str) -> None:
    require(a in proof.memory.get("damaged", ()), "that damage is another node's")
