"""Bounded search for a choice of unanswered requests, where the matching of the gaps failed.

The windows of the keys (`gap_windows`) see one key at a time; a transaction over several keys and
its guards are visible in them only in part. So where few answers are at stake the choices are tried
depth first, each gap in turn with each request that can have made it, and given up at the first
answer that differs. Exponential, bounded by `STEPS_MAX`. A choice that explains everything proves
the order, however it was found. Finding none proves nothing: a request outside of the history may
have made a gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from squall.checkers.etcd.gaps import Gaps
from squall.checkers.etcd.model import KeyValue, Store, agrees
from squall.checkers.etcd.replay import Answers

STEPS_MAX: Final = 100_000
"""Answers replayed and choices prepared in all: about half a second."""

GAPS_MAX: Final = 200
"""With more gaps than this no search is tried."""


KEYS_PER_STEP: Final = 64
"""Keys that can be copied for a choice in the time of one step."""


class _Branch(NamedTuple):
    """A choice up to a gap: the store after it, and the answer at which to continue."""

    place: int
    gap: int
    now: int
    keys: dict[str, KeyValue]
    used: frozenset[int]


def some_choice_explains(answers: Answers, gaps: Gaps, first_revision: int) -> bool:
    """Whether, within the bound, a choice was found by which every answer is as given."""
    operations, claims, order = answers[:3]
    revisions = gaps.windows.gaps
    if len(revisions) > GAPS_MAX:
        return False
    steps = 0
    branches = [_Branch(0, 0, first_revision, {}, frozenset())]
    while branches:
        place, gap, now, keys, used = branches.pop()
        store = Store(now)
        store.keys.update(keys)
        while place < len(order):
            steps += 1
            if steps > STEPS_MAX:
                return False
            row = order[place]
            operation, claim = operations[row], claims[row]
            upto = (claim >> 1) - (not claim & 1)
            if now != upto:
                if now > upto:
                    break
                choices = list(_choices(gaps, gap, _Branch(place, gap, now, store.keys, used)))
                steps += sum(1 + len(one.keys) // KEYS_PER_STEP for one in choices)
                branches += choices
                break
            expected, did = store.apply(operation.f, operation.input, at=claim >> 1)
            del expected["revision"]
            if did is not (not claim & 1) or not agrees(operation.output, expected):
                break
            if did:
                now = claim >> 1
            place += 1
        else:
            return gap == len(revisions)
    return False


def _choices(gaps: Gaps, gap: int, branch: _Branch) -> Iterator[_Branch]:
    """Every choice for the next gap; the planned request is last, and so tried first."""
    revision = gaps.windows.gaps[gap]
    for one in gaps.makers(revision):
        at = one.operation.index
        if at in branch.used:
            continue
        store = Store(branch.now)
        store.keys.update(branch.keys)
        _, did = store.apply(one.operation.f, one.operation.input, at=revision)
        shown = gaps.windows.shown.get(revision, {})
        if did and all(
            key in store.keys and store.keys[key][1:4:2] == [value, revision]
            for key, value in shown.items()
        ):
            yield _Branch(branch.place, gap + 1, revision, store.keys, branch.used | {at})
