"""What proofs say of stores with revisions: answers, changes, replays, and watches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from checkers.etcd import Store, agrees
from checkers.etcd_requests import changed, effects_of, ran
from checkers.explain import phrase, value_phrase, who
from checkers.history import Operation, OpType
from checkers.lanes import value_text
from checkers.proof_check.facts import expects, puts, sees
from checkers.proof_check.grammar import Contradicted, Unverified, require, sentence, summary
from checkers.proof_check.proof import Proof, Told
from checkers.proof_check.registers import says

REPLAY_MAX = 20_000
"""Answers replayed to check one answer; more are not checked."""


def revision_of(one: Operation) -> Any:
    """The store's revision at which an operation was answered."""
    if isinstance(one.output, dict) and "revision" in one.output:
        return one.output["revision"]
    return (one.meta or {}).get("revision")


# --- the contract of revisions, for registers


@summary("{a} and {b} were both acknowledged at revision {rev:int}.")
def _both_at(proof: Proof, a: str, b: str, rev: int) -> None:
    one, other = proof.cast.values()
    require((phrase(one.real), phrase(other.real)) == (a, b), "they are other operations")
    require({revision_of(one.real), revision_of(other.real)} == {rev}, "they have other revisions")


@sentence("Then each is the change that made the store's revision {rev:int}.")
def _each_made(proof: Proof, rev: int) -> None:
    for one in proof.cast.values():
        made = puts(one.real) is not None and one.real.outcome is OpType.OK
        require(made, f"{one.name} changed nothing")
        require(revision_of(one.real) == rev, f"{one.name} has revision {revision_of(one.real)}")
    require(len(proof.cast) == 2, "they are not two")


@sentence(
    "However, a revision is one change: the store has two pasts, or has lost one of them.",
    "However, a revision is one request's change: the store has two pasts, or has lost one of "
    "them.",
)
def _one_change(proof: Proof) -> None:
    require(len(proof.cast) == 2, "they are not two")


@summary("{b} answered with revision {rev:int}, after {a} had returned with {earlier:int}.")
def _answered_after(proof: Proof, b: str, rev: int, a: str, earlier: int) -> None:
    one, other = proof.cast.values()
    require((phrase(one.real), phrase(other.real)) == (a, b), "they are other operations")
    real = revision_of(one.real), revision_of(other.real)
    require(real == (earlier, rev), f"their revisions are {real[0]} and {real[1]}")


@sentence(
    "Then the revision of {b:op} is no smaller than that of {a:op}, because {order:order}.",
    "Then the revision of {b:op} is greater than that of {a:op}, because {order:order}.",
)
def _revision_no_smaller(proof: Proof, b: Told, a: Told, order: tuple[Told, Told]) -> None:
    require(order == (a, b), f"{order[0].name} came before {order[1].name}")
    proof.memory["pair"] = (a, b)


@sentence("However, {a:op} answered with revision {one:int} and {b:op} with {other:int}.")
def _answered_with(proof: Proof, a: Told, one: int, b: Told, other: int) -> None:
    require((a, b) == proof.memory.get("pair"), "something else was said")
    real = revision_of(a.real), revision_of(b.real)
    require(real == (one, other), f"they answered with {real[0]} and {real[1]}")
    greater = puts(b.real) is not None
    require(other < one or (greater and other == one), "that is as it must be")


@summary(
    "{p:who} read {value} as of revision {mod:int} of {key}, but {w} was acknowledged at revision "
    "{rev:int}."
)
def _read_as_of(proof: Proof, p: str, value: str, mod: int, key: str, w: str, rev: int) -> None:
    proof.about(key)
    proof.someone(p, f"read {value}", lambda one: says(sees(one.real), value) and _mod(one) == mod)
    found = [one for one in proof.cast.values() if phrase(one.real) == w]
    require(found and revision_of(found[0].real) == rev, f"{w} has another revision")


def _mod(one: Told) -> Any:
    return (one.real.meta or {}).get("mod")


@sentence("Then {key} at revision {rev:int} is {value}, by {w:op}.")
def _is_at(proof: Proof, key: str, rev: int, value: str, w: Told) -> None:
    proof.about(key)
    require(says(puts(w.real), value), f"{w.name} is {phrase(w.real)}")
    require(w.real.outcome is OpType.OK, f"{w.name} was not acknowledged")
    require(revision_of(w.real) == rev, f"{w.name} has revision {revision_of(w.real)}")
    proof.memory["at"] = (rev, value)


@sentence("However, {r:op} found {value} with revision {mod:int}.")
def _found_with(proof: Proof, r: Told, value: str, mod: int) -> None:
    require(says(sees(r.real), value), f"{r.name} is {phrase(r.real)}")
    require(_mod(r) == mod, f"{r.name} has revision {_mod(r)}")
    said = proof.memory.get("at")
    require(said is not None and (said[0] == mod) is not (said[1] == value), "that fits")


@summary(
    "{p:who} read {value} from {key} at revision {rev:int}, which leaves out {w} at revision "
    "{left:int}."
)
def _leaves_out(proof: Proof, p: str, value: str, key: str, rev: int, w: str, left: int) -> None:
    proof.about(key)
    reader = proof.someone(p, f"read {value}", lambda one: says(sees(one.real), value))
    require(revision_of(reader.real) == rev, f"it has revision {revision_of(reader.real)}")
    found = [one for one in proof.cast.values() if phrase(one.real) == w]
    require(found and revision_of(found[0].real) == left, f"{w} has another revision")


@sentence(
    "Then at revision {rev:int} the last change of {key} is of revision {last:int} or later, by "
    "{w:op}."
)
def _last_change_at(proof: Proof, rev: int, key: str, last: int, w: Told) -> None:
    proof.about(key)
    require(puts(w.real) is not None and w.real.outcome is OpType.OK, f"{w.name} changed nothing")
    require(revision_of(w.real) == last, f"{w.name} has revision {revision_of(w.real)}")
    require(last <= rev, f"{last} comes after {rev}")
    proof.memory["last"] = (rev, last)


@sentence(
    "However, {r:op} answered as of revision {rev:int}, and found the value of revision {mod:int}."
)
def _found_value_of(proof: Proof, r: Told, rev: int, mod: int) -> None:
    said = proof.memory.get("last")
    if said is None:
        raise Contradicted("nothing was said of the last change")
    require(revision_of(r.real) == rev == said[0], f"{r.name} has revision {revision_of(r.real)}")
    require((_mod(r) or 0) == mod, f"{r.name} found the value of revision {_mod(r)}")
    require(mod < said[1], f"{mod} is not before {said[1]}")


# --- etcd's requests, in order of their revisions


@summary("Two requests were both acknowledged as revision {rev:int}.")
def _two_requests(proof: Proof, rev: int) -> None:
    require([revision_of(one.real) for one in proof.cast.values()] == [rev, rev], "they were not")


@sentence("Then each is the change that made revision {rev:int}.")
def _each_is_the_change(proof: Proof, rev: int) -> None:
    for one in proof.cast.values():
        require(revision_of(one.real) == rev, f"{one.name} has revision {revision_of(one.real)}")
        made = one.real.outcome is OpType.OK and changed(
            one.real.f, one.real.input, one.real.output
        )
        require(made, f"{one.name} changed nothing")
    require(len(proof.cast) == 2, "they are not two")


@summary(
    "An answer of revision {rev:int} came after one of revision {earlier:int} had been returned."
)
def _came_after(proof: Proof, rev: int, earlier: int) -> None:
    real = [revision_of(one.real) for one in proof.cast.values()]
    require(real == [earlier, rev], f"their revisions are {real}")


@sentence(
    "Then {b:op} answers with a revision not before {rev:int}, because {order:order}.",
    "Then {b:op} answers with a revision after {rev:int}, because {order:order}.",
)
def _answers_not_before(proof: Proof, b: Told, rev: int, order: tuple[Told, Told]) -> None:
    require(order[1] is b, f"{order[1].name} is not {b.name}")
    require(revision_of(order[0].real) == rev, f"{order[0].name} has another revision")
    proof.memory["floor"] = (b, rev)


@sentence("However, {b:op} answered with revision {rev:int}.")
def _but_answered_with(proof: Proof, b: Told, rev: int) -> None:
    require(revision_of(b.real) == rev, f"{b.name} answered with revision {revision_of(b.real)}")
    said = proof.memory.get("floor")
    require(said is not None and said[0] is b, "something else was said")
    assert said is not None
    did = changed(b.real.f, b.real.input, b.real.output) and "strictly" not in proof.memory
    require(rev < said[1] or (did and rev == said[1]), f"that is not before {said[1]}")


@sentence(
    "Then {b:op} answers with at least revision {rev:int}, because the store began at {first:int}, "
    "and a change comes after that."
)
def _at_least(proof: Proof, b: Told, rev: int, first: int) -> None:
    require(first <= rev <= first + 1, f"{rev} is not the beginning")
    proof.memory["floor"] = (b, rev)
    proof.memory["strictly"] = True


@summary("The store answered with revision {rev:int}, from before its beginning.")
def _before_beginning(proof: Proof, rev: int) -> None:
    require([revision_of(one.real) for one in proof.cast.values()] == [rev], "it did not")


@summary("{key} held {value} of revision {rev:int}, which nobody wrote.")
def _held_unwritten(proof: Proof, key: str, value: str, rev: int) -> None:
    require(proof.memory.get("phantom") == (key, value, rev), "its proof says something else")


@sentence("Then some request put {value} to {key} at revision {rev:int}, because {r:op} shows it.")
def _some_request(proof: Proof, value: str, key: str, rev: int, r: Told) -> None:
    rows = list(rows_of(r.real.f, r.real.input, r.real.output))
    shown = any(row[0] == key and value_text(row[1]) == value and row[3] == rev for row in rows)
    require(shown, f"{r.name} does not show it")
    proof.memory["phantom"] = (key, value, rev)


def rows_of(f: str, request: Any, answer: Any) -> Iterator[Any]:
    """Every key with its value that an answer shows."""
    if f == "range":
        yield from answer.get("kvs") or ()
    elif f == "txn":
        for one in ran(request, answer):
            yield from rows_of(*one)


@sentence(
    "However, no request of the history, answered at that revision or never answered and called in "
    "time, does that."
)
def _no_request(proof: Proof) -> None:
    said = proof.memory.get("phantom")
    if said is None:
        raise Contradicted("nothing was said of a value")
    key, value, rev = said
    seen_ns = max(one.real.completed_ns or 0 for one in proof.cast.values())
    for one in proof.facts.history.operations:
        if one.f not in {"put", "txn"} or one.outcome is OpType.FAIL:
            continue
        if one.outcome is OpType.OK:
            at = revision_of(one)
            made = changes_of(one.f, one.input, one.output, at) if at == rev else ()
            wrote = any(made_of[1] == key and value_text(made_of[2]) == value for made_of in made)
            require(not wrote, f"op {one.index} put {value} to {key}")
            continue
        if one.invoked_ns > seen_ns:
            continue
        if key in effects_of(one.f, one.input).puts:
            mine = [value_text(v) for v in values_put(one.f, one.input, key)]
            require(
                value not in mine or _too_late(proof, one, rev),
                f"op {one.index} may have put {value} to {key}",
            )


def values_put(f: str, request: Any, key: str) -> Iterator[Any]:
    """Every value that a request may put to a key."""
    if f == "put" and request["key"] == key:
        yield request["value"]
    elif f == "txn":
        for inner, one in (*request.get("then", ()), *request.get("else", ())):
            yield from values_put(inner, one, key)


def _too_late(proof: Proof, one: Operation, rev: int) -> bool:
    """Whether an unanswered request was called after an answer of a revision, or a later one."""
    return one.outcome is not OpType.OK and any(
        (other.completed_ns or 0) < one.invoked_ns
        and isinstance(revision_of(other), int)
        and revision_of(other) >= rev
        for other in proof.facts.history.operations
        if other.outcome is OpType.OK and other.completed_ns is not None
    )


def replayed(proof: Proof, asked: Operation) -> list[Any]:
    """What a request is answered with when all acknowledged changes before it are replayed.

    Raises Unverified where unanswered requests may have made some revision before it: what was
    replayed then rests on which of them did.
    """
    answered = [
        one
        for one in proof.facts.history.operations
        if one.outcome is OpType.OK and isinstance(revision_of(one), int) and one.f != "watch"
    ]
    if len(answered) > REPLAY_MAX:
        raise Unverified("more answers than are replayed")
    makes = {one.index for one in answered if changed(one.f, one.input, one.output)}
    upto = revision_of(asked)
    changes = sorted(
        (one for one in answered if one.index in makes and revision_of(one) <= upto),
        key=revision_of,
    )
    if asked.f == "range" and asked.input.get("revision"):
        raise Unverified("it looks at the past")
    revisions = [revision_of(one) for one in changes if one.index != asked.index]
    did = asked.index in makes
    whole = range(2, upto + (0 if did else 1))
    if revisions[: len(whole)] != list(whole):
        raise Unverified("unanswered requests made some of the revisions before")
    store = Store(1)
    for one in changes:
        if one.index == asked.index or (did and revision_of(one) == upto):
            continue
        expected, _ = store.apply(one.f, one.input, at=revision_of(one))
        if not agrees(one.output, {**expected, "revision": None}):
            store.take_back()
            _do(store, one.f, one.input, one.output, revision_of(one))
    answer, _ = store.apply(asked.f, asked.input, at=upto)
    said = {name: value for name, value in answer.items() if name != "revision"}
    return [said, answer]


def _do(store: Store, f: str, request: Any, answer: Any, at: int) -> None:
    """Do what an answer says was done, where a store would have done something else."""
    if f == "txn":
        for inner, one, said in ran(request, answer):
            _do(store, inner, one, said, at)
    elif f == "put":
        store.put(request["key"], request["value"], at)
    elif f == "delete" and answer.get("deleted") != 0:
        for key in list(store.within(request)):
            store.install(key, None)


@sentence("However, {b:op} was answered with {said}.")
def _was_answered_with(proof: Proof, b: Told, said: str) -> None:
    before = proof.memory.get("expected")
    require(before is not None and before[0] is b, "something else was said")
    assert before is not None
    real = b.real.output
    forms = {value_text(real)}
    for names in (("kvs", "count"), ("deleted",), ("succeeded", "answers"), ()):
        forms.add(value_text({name: real.get(name) for name in names}))
    require(said in forms, f"{b.name} was answered with {value_text(real)}")
    require(said != before[1], "that is what it should be")


# --- watches


def event_text(event: Any) -> str:
    """A change as proofs name it."""
    kind, key, value, mod = event[:4]
    shown = "" if kind != "put" and value is None else f" {value_text(value)}"
    return f"`{kind} {key}{shown}` of revision {mod}"


def responses(one: Operation) -> list[Any]:
    """The responses of a watch, in the order of their arrival."""
    return list(one.output["responses"]) if isinstance(one.output, dict) else []


def events(one: Operation) -> list[Any]:
    """The events a watch was sent, in order."""
    return [event for response in responses(one) for event in response.get("events", ())]


def the_watch(proof: Proof) -> Told:
    """The watch a proof is about."""
    found = next((one for one in proof.cast.values() if one.real.f == "watch"), None)
    if found is None:
        raise Contradicted("no watch was introduced")
    return found


def sent(proof: Proof, text: str) -> list[int]:
    """The places at which a watch was sent a change; raises Contradicted if it never was."""
    found = [at for at, one in enumerate(events(the_watch(proof).real)) if event_text(one) == text]
    require(found, f"it was not sent {text}")
    return found


def start_of(one: Operation) -> int:
    """The first revision a watch is sent."""
    return int(one.input.get("start") or int(one.output.get("created") or 0) + 1)


def watches_of(proof: Proof, p: str) -> Operation:
    """The watch, which must be of this process."""
    real = the_watch(proof).real
    require(who(real) == p, f"the watch is {who(real)}'s")
    return real


def wants(watch: Operation, event: Any) -> bool:
    """Whether a change is among those a watch asked for."""
    asked = watch.input
    key, end = str(event[1]), asked.get("end")
    mine = key == asked["key"] if end is None else asked["key"] <= key < end
    return bool(mine and event[0] not in asked.get("filters", ()))


@summary("{p:who}'s watch was sent {event} after {first}.")
@sentence("However, {event} came after {first}, of the same key and revision.")
def _sent_another(proof: Proof, event: str, first: str, p: str = "") -> None:
    later, earlier = sent(proof, event), sent(proof, first)
    require(max(later) > min(earlier), f"{event} came before {first}")
    real = events(the_watch(proof).real)
    same = (real[later[0]][1], real[later[0]][3]) == (real[earlier[0]][1], real[earlier[0]][3])
    require(same, "they are of different keys or revisions")
    require(p in {"", who(the_watch(proof).real)}, "it is another's watch")


@summary("{p:who}'s watch was sent {event} twice.")
def _sent_twice(proof: Proof, p: str, event: str) -> None:
    watches_of(proof, p)
    _again(proof, event)


def _again(proof: Proof, event: str) -> None:
    real = events(the_watch(proof).real)
    at = sent(proof, event)
    place = (real[at[0]][1], real[at[0]][3])
    require(sum((one[1], one[3]) == place for one in real) > 1, f"{event} came once")


@sentence("Then each change is sent once.")
def _each_is_sent_once(proof: Proof) -> None:
    the_watch(proof)


@sentence("However, {event} came a second time.")
def _second_time(proof: Proof, event: str) -> None:
    _again(proof, event)


@summary("{p:who}'s watch was sent revision {rev:int} after {later:int}.")
def _sent_after(proof: Proof, p: str, rev: int, later: int) -> None:
    mods = [one[3] for one in events(watches_of(proof, p))]
    require(later == proof.memory.get("rev", later), "its proof names another revision")
    require(
        later in mods and rev in mods[mods.index(later) :] and rev < later, f"it was sent {mods}"
    )


@sentence("Then what follows revision {rev:int} is not of an earlier revision.")
def _follows_later(proof: Proof, rev: int) -> None:
    require(rev in [one[3] for one in events(the_watch(proof).real)], f"{rev} was not sent")
    proof.memory["rev"] = rev


@sentence("However, {event} followed it.")
def _followed(proof: Proof, event: str) -> None:
    real = events(the_watch(proof).real)
    rev = proof.memory.get("rev", 0)
    mods = [one[3] for one in real]
    require(rev in mods, "nothing was said of a revision")
    at = [one for one in sent(proof, event) if one > mods.index(rev) and mods[one] < rev]
    require(at, f"{event} came before it")


@summary("{p:who}'s watch was sent revision {rev:int} in two pieces.")
def _in_pieces(proof: Proof, p: str, rev: int) -> None:
    _pieces(watches_of(proof, p), rev)


def _pieces(watch: Operation, rev: int) -> None:
    having = [any(one[3] == rev for one in each.get("events", ())) for each in responses(watch)]
    require(sum(having) > 1, f"revision {rev} came in one response")


@sentence(
    "Then all changes of revision {rev:int} come in one response, because they were one request's."
)
def _in_one_response(proof: Proof, rev: int) -> None:
    _pieces(the_watch(proof).real, rev)
    proof.memory["rev"] = rev


@sentence("However, {event} came in another response than the one before it.")
def _of_its_own(proof: Proof, event: str) -> None:
    real = the_watch(proof).real
    at = sent(proof, event)
    require(events(real)[at[0]][3] == proof.memory.get("rev"), "it is of another revision")


@summary("{p:who}'s watch was sent {event} after progress to revision {rev:int}.")
def _after_progress(proof: Proof, p: str, event: str, rev: int) -> None:
    watches_of(proof, p)
    _behind_progress(proof, event, rev)


def _behind_progress(proof: Proof, event: str, rev: int) -> None:
    passed = False
    for response in responses(the_watch(proof).real):
        for one in response.get("events", ()):
            if passed and event_text(one) == event and one[3] <= rev:
                return
        passed = passed or bool(response.get("progress") and response["revision"] == rev)
    raise Contradicted(f"{event} did not come after progress to revision {rev}")


@sentence("Then everything up to revision {rev:int} had been sent, because progress said so.")
def _had_been_sent(proof: Proof, rev: int) -> None:
    found = [one["revision"] for one in responses(the_watch(proof).real) if one.get("progress")]
    require(rev in found, f"progress was to {found}")
    proof.memory["rev"] = rev


@sentence("However, {event} came after it.")
def _came_after_it(proof: Proof, event: str) -> None:
    _behind_progress(proof, event, proof.memory.get("rev", 0))


@summary("{p:who}'s watch was sent {event}, from before its start.")
def _before_start(proof: Proof, p: str, event: str) -> None:
    real = watches_of(proof, p)
    at = sent(proof, event)
    require(events(real)[at[0]][3] < start_of(real), f"it starts at {start_of(real)}")


@sentence(
    "Then nothing before revision {rev:int} is sent, because it was asked to start there.",
    "Then nothing before revision {rev:int} is sent, because it was created at revision "
    "{created:int} and asked for no past.",
)
def _nothing_before(proof: Proof, rev: int, created: int | None = None) -> None:
    real = the_watch(proof).real
    require(rev == start_of(real), f"it starts at {start_of(real)}")
    asked = real.input.get("start")
    require(bool(asked) is (created is None), f"it was asked to start at {asked}")
    require(created in {None, real.output.get("created")}, "it was created at another revision")
    proof.memory["before"] = rev


@summary("{p:who}'s watch was sent {event}, which it had not asked for.")
def _not_asked_for(proof: Proof, p: str, event: str) -> None:
    real = watches_of(proof, p)
    at = sent(proof, event)
    require(not wants(real, events(real)[at[0]]), "it had asked for it")


@sentence("Then it is sent only what it asked for: {asked}.")
def _only_what(proof: Proof, asked: str) -> None:
    real = the_watch(proof).real
    require(asked == value_text(real.input), f"it asked for {value_text(real.input)}")
    proof.memory["asked"] = True


@sentence("However, {event} was sent.")
def _was_sent(proof: Proof, event: str) -> None:
    real = the_watch(proof).real
    found = events(real)[sent(proof, event)[0]]
    if proof.memory.get("asked"):
        require(not wants(real, found), "it had asked for it")
    else:
        require(found[3] < proof.memory.get("before", 0), "it is not from before")


@summary("{p:who}'s watch was never sent {event}.")
def _never_sent(proof: Proof, p: str, event: str) -> None:
    require(event == proof.memory.get("unsent", event), "its proof is of another change")
    real = watches_of(proof, p)
    require(event not in map(event_text, events(real)), "it was sent")


@sentence(
    "Then it was sent every change from revision {since:int} to {upto:int}, because it was sent "
    "progress to revision {progress:int}.",
    "Then it was sent every change from revision {since:int} to {upto:int}, because it was sent "
    "{event}.",
)
def _sent_every(
    proof: Proof, since: int, upto: int, progress: int | None = None, event: str | None = None
) -> None:
    real = the_watch(proof).real
    require(since == start_of(real), f"it starts at {start_of(real)}")
    if progress is not None:
        found = [one["revision"] for one in responses(real) if one.get("progress")]
        require(progress == upto and upto in found, f"progress was to {found}")
    else:
        assert event is not None
        require(events(real)[sent(proof, event)[-1]][3] == upto, "it is of another revision")
    proof.memory["stretch"] = (since, upto)


def happened_changes(proof: Proof) -> Iterator[Any]:
    """Every change somebody was told of: by an acknowledgement, or by a watch."""
    for one in proof.facts.history.operations:
        if one.f == "watch" and isinstance(one.output, dict):
            yield from events(one)
        elif one.outcome is OpType.OK and isinstance(one.output, dict):
            yield from changes_of(one.f, one.input, one.output, revision_of(one))


def changes_of(f: str, request: Any, answer: Any, rev: Any) -> Iterator[Any]:
    """The changes of single keys that an acknowledged request made."""
    if f == "txn":
        for one in ran(request, answer):
            yield from changes_of(*one, rev)
    elif f == "put":
        yield ["put", str(request.get("key")), request.get("value"), rev]
    elif f == "delete" and answer.get("deleted") and not request.get("end"):
        yield ["delete", str(request.get("key")), None, rev]


@sentence("However, {event} happened, and was not sent.")
def _happened_unsent(proof: Proof, event: str) -> None:
    real = the_watch(proof).real
    require(event not in map(event_text, events(real)), "it was sent")
    found = next((one for one in happened_changes(proof) if event_text(one) == event), None)
    if found is None:
        raise Contradicted("nobody was told of it")
    require(wants(real, found), "it had not asked for it")
    proof.memory["unsent"] = event
    since, upto = proof.memory.get("stretch", (0, 0))
    require(since <= found[3] <= upto, f"it is not from {since} to {upto}")


@summary("{p:who}'s watch was told that {event} replaced {prev}.")
def _told_replaced(proof: Proof, p: str, event: str, prev: str) -> None:
    real = watches_of(proof, p)
    found = [
        value_text(events(real)[at][4] if len(events(real)[at]) > 4 else None)
        for at in sent(proof, event)
    ]
    require(prev in found, f"it was told {found}")
    proof.memory["prev"] = (event, prev)
    require(proof.memory.get("said_prev") == prev, "its proof says another value")


@sentence(
    "Then it replaced {value}, because that is what {event} left.",
    "Then it replaced {value}, because nothing had been put there yet.",
)
def _it_replaced(proof: Proof, value: str, event: str | None = None) -> None:
    if event is not None:
        found = next((one for one in happened_changes(proof) if event_text(one) == event), None)
        if found is None:
            raise Contradicted(f"nobody was told of {event}")
        left = value_text(found[2]) if found[0] == "put" else "nil"
        require(value == left, f"{event} left {left}")
    else:
        require(value == "nil", "nothing had been put there")
    proof.memory["replaced"] = value


@sentence("However, the event says {prev}.")
def _event_says(proof: Proof, prev: str) -> None:
    require(prev != proof.memory.get("replaced"), "that is what it replaced")
    found = [value_text(one[4] if len(one) > 4 else None) for one in events(the_watch(proof).real)]
    require(prev in found, f"the events say {found[:8]}")
    proof.memory["said_prev"] = prev


@summary("{p:who}'s watch was sent {event}, where {other} was seen, too.")
def _where_others(proof: Proof, p: str, event: str, other: str) -> None:
    watches_of(proof, p)
    sent(proof, event)
    require(other == proof.memory.get("known"), "its proof says something else")


@sentence(
    "Then revision {rev:int} of {key} is {event}, because it was acknowledged, or sent to this "
    "watch or another."
)
def _revision_is(proof: Proof, rev: int, key: str, event: str) -> None:
    for one in proof.facts.history.operations:
        made: Iterator[Any] = iter(())
        if one.f == "watch" and isinstance(one.output, dict):
            made = iter(events(one))
        elif one.outcome is OpType.OK and isinstance(one.output, dict):
            made = changes_of(one.f, one.input, one.output, revision_of(one))
        for change in made:
            if event_text(change) == event:
                require((change[3], str(change[1])) == (rev, key), "it is another change")
                proof.memory["known"] = event
                return
    raise Contradicted("nobody was told of it")


@sentence("However, this watch was sent {event}.")
def _this_was_sent(proof: Proof, event: str) -> None:
    require(event != proof.memory.get("known"), "that is the same")
    real = the_watch(proof).real
    found = events(real)[sent(proof, event)[0]]
    known = proof.memory.get("known", "")
    require(known.endswith(f"of revision {found[3]}"), "it is of another revision")


# --- the end of watches


def told_by(one: Operation) -> tuple[list[Any], int, int]:
    """What a node told in the end: its changes, from which revision, and up to which."""
    since = int(one.input.get("start") or 1)
    upto = max(
        [int(each["revision"]) for each in responses(one) if each.get("progress")], default=0
    )
    return [event for event in events(one) if event[3] <= upto], since, upto


def _by_node(proof: Proof, node: str, f: str) -> Operation:
    found = next(
        (
            one.real
            for one in proof.cast.values()
            if one.real.f == f and (one.real.node or "") == node
        ),
        None,
    )
    if found is None:
        raise Contradicted(f"no {f} of {node} was introduced")
    return found


def _at(changes: list[Any], place: int) -> str:
    return event_text(changes[place]) if place < len(changes) else "nothing more"


@summary("At the end {n:who} tells {mine} where {m:who} tells {its}.")
def _tells_where(proof: Proof, n: str, mine: str, m: str, its: str) -> None:
    require(proof.memory.get("differ") == (n, mine, m, its), "its proof says something else")


@sentence(
    "Then both tell the same changes from revision {since:int} to {upto:int}, because both "
    "promised that this was all."
)
def _both_tell(proof: Proof, since: int, upto: int) -> None:
    stories = [told_by(one.real) for one in proof.cast.values()]
    require(len(stories) == 2, "they are not two")
    real = max(one[1] for one in stories), min(one[2] for one in stories)
    require((since, upto) == real, f"both promised that from {real[0]} to {real[1]}")
    proof.memory["stretch"] = (since, upto)


@sentence("However, change {at:int} differs: {n:who} tells {mine}, {m:who} {its}.")
def _change_differs(proof: Proof, at: int, n: str, mine: str, m: str, its: str) -> None:
    since, upto = proof.memory.get("stretch", (0, 0))
    found = []
    for node in (n, m):
        changes, _, _ = told_by(_by_node(proof, node, "watch"))
        found.append([one for one in changes if since <= one[3] <= upto])
    real = _at(found[0], at - 1), _at(found[1], at - 1)
    require(real == (mine, its), f"they tell {real[0]} and {real[1]}")
    require(found[0][: at - 1] == found[1][: at - 1], "they differ before that")
    require(real[0] != real[1], "that is the same")
    proof.memory["differ"] = (n, mine, m, its)


@summary("At the end {n:who} holds {held} at {key}, but the last change it tells of is {last}.")
def _holds_but(proof: Proof, n: str, held: str, key: str, last: str) -> None:
    require(proof.memory.get("held") == (held, key), "its proof says something else")
    watch, held_op = _by_node(proof, n, "watch"), _by_node(proof, n, "range")
    changes = [
        one
        for one in told_by(watch)[0]
        if one[3] <= held_op.output["revision"] and str(one[1]) == key
    ]
    real = event_text(changes[-1]) if changes else "nothing more"
    require(last == real, f"it is {real}")


@sentence("Then {n:who} told every change from revision {since:int} to {upto:int}.")
def _told_every(proof: Proof, n: str, since: int, upto: int) -> None:
    _, is_since, is_upto = told_by(_by_node(proof, n, "watch"))
    require((since, upto) == (is_since, is_upto), f"it told that from {is_since} to {is_upto}")
    proof.memory["node"] = n


@sentence("However, played back they do not leave {held} at {key}.")
def _do_not_leave(proof: Proof, held: str, key: str) -> None:
    n = proof.memory.get("node", "")
    watch, range_op = _by_node(proof, n, "watch"), _by_node(proof, n, "range")
    row = next((row for row in range_op.output["kvs"] if str(row[0]) == key), None)
    text = f"{value_text(row[1])} of revision {row[3]}" if row is not None else "nothing"
    require(held == text, f"it holds {text}")
    changes, since, _ = told_by(watch)
    mine = [one for one in changes if str(one[1]) == key and one[3] <= range_op.output["revision"]]
    last = mine[-1] if mine else None
    if last is None:
        require(row is None or row[3] >= since, "that is from before")
        require(row is not None, "that fits")
    elif last[0] == "put":
        fits = row is not None and (row[1], row[3]) == (last[2], last[3])
        require(not fits, "they do")
    else:
        require(row is not None, "they do")
    proof.memory["held"] = (held, key)


# --- what replicas hold


@summary(
    "At the end {n} holds {held} for {key}, while the cluster serves {served}.",
    "At the end {n} holds {held}, while the cluster serves {served}.",
)
def _replica_holds(proof: Proof, n: str, held: str, served: str, key: str | None = None) -> None:
    said = proof.memory.get("replica")
    require(said is not None and said[0] == n, "its proof is about another node")
    assert said is not None
    read, local = said[1], said[2]
    for one, text in ((local, held), (read, served)):
        require(text in set(_held_texts(one.real, key)), f"{one.name} found something else")


def _held_texts(one: Operation, key: str | None) -> Iterator[str]:
    """How proofs may write what an answer says of a key, or as a whole."""
    output = one.output
    yield value_phrase(output)
    found = expects(one)
    if found is not None:
        yield value_phrase(found[0])
    rows: dict[str, Any] = {}
    if isinstance(output, dict) and isinstance(output.get("kvs"), list):
        rows = {str(kv[0]): kv[1:] for kv in output["kvs"]}
    elif isinstance(output, list) and all(isinstance(m, list) and len(m) == 3 for m in output):
        rows = {str(name): value for _, name, value in output}
    if key is not None:
        yield value_phrase(rows.get(key))


@sentence(
    "Then {n} holds what {r:op} found, because every node had applied all that was committed, and "
    "nobody wrote any more.",
    "Then {n} holds what {r:op} found, because both answered as of one revision, which is one "
    "state of the store.",
)
def _holds_what(proof: Proof, n: str, r: Told) -> None:
    require((r.real.meta or {}).get("final"), f"{r.name} is not of the final phase")
    proof.memory["holds"] = (n, r)


@sentence("However, {r:op}, answered from {n}'s own state, found something else.")
def _found_something_else(proof: Proof, r: Told, n: str) -> None:
    said = proof.memory.get("holds")
    require(said is not None and said[0] == n, "something else was said")
    assert said is not None
    require((r.real.node or "a node") == n, f"{r.name} was answered by {r.real.node}")
    local = r.real.f == "serializable-read" or (
        isinstance(r.real.input, dict) and r.real.input.get("serializable")
    )
    require(local, f"{r.name} was answered by the cluster")
    differ = value_phrase(r.real.output) != value_phrase(said[1].real.output)
    require(differ, f"{r.name} found the same")
    proof.memory["replica"] = (n, said[1], r)
