"""A bank judged linearizably: every read of the accounts shows one moment between call and answer.

Transfers commute, so what a read shows is settled by *which* of them came before it. Let S(r) be
the transfers before a read r. A history is linearizable iff the reads can be put in one order, with
sets that only grow along it, such that

* S(r) holds every transfer that had returned when r, or a transfer in S(r), was called;
* no transfer in S(r), and no read put before r, was called after r or a read put behind it had
  returned;
* what r shows is what the accounts held at first, moved by S(r).

Only the reads are searched over, in Wing and Gong's manner; which of the open transfers lead from
one read's balances to the next's is a sum over a few of them, found account by account. The search
remembers where it failed and honours its budget. Where nobody says what the accounts held at first,
the first read of the order does, and a transfer that was open then may have come before it.

That a transfer leaves an account below zero is not asked here: `bank` judges what reads show.
"""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from checkers.bank import check_bank
from checkers.budget import Meter, OutOfBudget
from checkers.explain import Cast, anomaly, who
from checkers.history import History, MalformedHistory, Operation, OpType
from checkers.registers import FOREVER
from checkers.verdict import Anomaly, Budget, Validity, Verdict
from checkers.words import counted

CLAIM: Final = "Every read of the accounts shows one moment between its call and its answer."

READS_BACK: Final = 12
"""Earlier reads with which each is compared, account by account, before any search."""

PATIENCE: Final = 40
"""Transfers called since, after which one that nobody answered is first taken to have failed."""

_Vector = tuple[int, ...]


class _Transfer(NamedTuple):
    """One transfer that may have happened; `moves` are (account, change) of accounts read."""

    call: int
    ret: int
    moves: tuple[tuple[int, int], ...]
    operation: Operation


class _Read(NamedTuple):
    call: int
    ret: int
    shows: _Vector
    operation: Operation


class _State(NamedTuple):
    """A configuration of the search.

    `low`: all reads before this place in order of call are done, and so are those in `done`.
    `open` are transfers called so far that are not settled, `called` how many were called.
    `balances` is None until the first read. `doubtful` are transfers of which nobody knows whether
    the first read came before them: they may count once, or never. Of those, `counted` did and
    `before` did not.
    """

    low: int
    done: frozenset[int]
    open: tuple[int, ...]
    called: int
    balances: _Vector | None
    doubtful: frozenset[int]
    counted: frozenset[int]
    before: frozenset[int]


def check_bank_order(
    history: History,
    budget: Budget,
    *,
    opening: Mapping[str, int] | None = None,
    overdraft: bool = False,
) -> Verdict:
    """Judge the sums first, then the order; `opening` is what the accounts held at first.

    The history has the operations of one bank. Raises MalformedHistory.
    """
    sums = check_bank(
        history, total=None if opening is None else sum(opening.values()), overdraft=overdraft
    )
    name = "bank-linearizable"
    if sums.validity is not Validity.VALID:
        return msgspec.structs.replace(sums, checker=name)
    bank = _Bank(history, opening)
    meter = Meter(budget)
    evidence = (
        f"{counted(len(bank.reads), 'read')}, {counted(len(bank.transfers), 'transfer')}, "
        f"{counted(len(bank.accounts), 'account')}"
    )
    anomalies: tuple[Anomaly, ...] = ()
    reason, method = None, "search over the reads"
    try:
        short = bank.out_of_bounds()
        if short is not None:
            anomalies, method = (short,), "bounds"
        elif bank.search(meter, PATIENCE) is not None:
            stuck = bank.search(meter)
            if stuck is not None:
                anomalies = (bank.tell(stuck, meter),)
    except OutOfBudget as spent:
        reason = str(spent)
    return Verdict(
        checker=name,
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=evidence,
        reason=reason,
        method=method,
        anomalies=anomalies,
        stats={**sums.stats, "anomalies": len(anomalies), "states_visited": meter.states},
    )


class _Bank:
    """The reads and transfers of one bank as numbers."""

    def __init__(self, history: History, opening: Mapping[str, int] | None) -> None:
        ok = [one for one in history.operations if one.f == "read" and one.outcome is OpType.OK]
        self.accounts = sorted(ok[0].output)
        place = {account: at for at, account in enumerate(self.accounts)}
        self.reads = [
            _Read(
                one.invoked_ns,
                one.completed_ns if one.completed_ns is not None else FOREVER,
                tuple(one.output[account] for account in self.accounts),
                one,
            )
            for one in sorted(ok, key=lambda one: one.invoked_ns)
        ]
        self.transfers = []
        for one in sorted(history.operations, key=lambda one: one.invoked_ns):
            if one.f != "transfer" or one.outcome is OpType.FAIL:
                continue
            asked = one.input
            if not isinstance(asked, dict) or not isinstance(asked.get("amount"), int):
                raise MalformedHistory(f"op {one.index}: a transfer has from, to and amount")
            changes: dict[int, int] = {}
            for account, change in (
                (asked.get("from"), -asked["amount"]),
                (asked.get("to"), asked["amount"]),
            ):
                at = place.get(str(account))
                if at is not None:
                    changes[at] = changes.get(at, 0) + change
            moves = tuple((at, change) for at, change in sorted(changes.items()) if change)
            ret = one.completed_ns if one.outcome is OpType.OK else None
            if not moves:
                continue  # it changes nothing, so it has a place whatever else has
            self.transfers.append(
                _Transfer(one.invoked_ns, FOREVER if ret is None else ret, moves, one)
            )
        self.opening = (
            None
            if opening is None
            else tuple(int(opening.get(account, 0)) for account in self.accounts)
        )

    def search(self, meter: Meter, patience: int | None = None) -> _Read | None:
        """Return None if there is an order, else a read that was reached and has no place.

        With `patience` a transfer that nobody answered is not tried once that many were called
        after it: an order found so is one, and nothing follows if there is none.
        """
        self._patience = len(self.transfers) if patience is None else patience
        nobody: frozenset[int] = frozenset()
        start = _State(0, nobody, (), 0, self.opening, nobody, nobody, nobody)
        stack = [(start, self._next(start, meter))]
        seen = {start}
        best = (-1, 0)
        while stack:
            state, following = stack[-1]
            if state.low == len(self.reads):
                return None
            progress = state.low + len(state.done)
            if progress > best[0]:
                first_out = min(self._waiting(state)[0], key=lambda at: self.reads[at].ret)
                best = (progress, first_out)
            step = next(following, None)
            if step is None:
                stack.pop()
            elif step not in seen:
                seen.add(step)
                stack.append((step, self._next(step, meter)))
        return self.reads[best[1]]

    def _waiting(self, state: _State) -> tuple[list[int], int]:
        """Return the reads that may come next, and when the first of all that wait returned."""
        reads = self.reads
        limit = FOREVER
        window = []
        for at in range(state.low, len(reads)):
            if reads[at].call > limit:
                break
            if at not in state.done:
                window.append(at)
                limit = min(limit, reads[at].ret)
        return [at for at in window if reads[at].call <= limit], limit

    def _next(self, state: _State, meter: Meter) -> Iterator[_State]:
        """Yield what a configuration can go on to: one more read, with what leads to it."""
        meter.spend()
        candidates, limit = self._waiting(state)
        transfers = self.transfers
        called = state.called
        while called < len(transfers) and transfers[called].call <= limit:
            called += 1
        open_ = (*state.open, *range(state.called, called))
        at_rest: list[tuple[int, int, list[int]]] = []
        for at in candidates:
            read = self.reads[at]
            must = [one for one in open_ if transfers[one].ret < read.call]
            if state.balances == read.shows and not must:
                # Nothing need happen before it, and it keeps nothing else from happening.
                yield self._after(state, at, open_, called, state)
                return
            at_rest.append((read.ret, at, must))
        for _, at, must in sorted(at_rest):
            read = self.reads[at]
            if state.balances is None:
                begun = state._replace(
                    balances=read.shows,
                    doubtful=frozenset(open_).difference(must),
                    before=frozenset(),
                )
                left = tuple(one for one in open_ if one not in must)
                yield self._after(begun, at, left, called, begun)
                continue
            for chosen in self._leading(state, read, open_, must, meter):
                settled = self._settled(state, read, open_, chosen)
                if settled is not None:
                    left, changed = settled
                    yield self._after(state, at, left, called, changed)

    def _after(
        self, state: _State, at: int, open_: tuple[int, ...], called: int, changed: _State
    ) -> _State:
        low, done = state.low, state.done | {at}
        while low in done:
            done -= {low}
            low += 1
        return changed._replace(low=low, done=done, open=open_, called=called)

    def _settled(
        self, state: _State, read: _Read, open_: tuple[int, ...], chosen: frozenset[int]
    ) -> tuple[tuple[int, ...], _State] | None:
        """Apply transfers before a read; None if real time forbids it."""
        transfers = self.transfers
        latest = max((transfers[one].call for one in chosen), default=0)
        until = max(read.call, latest)
        left = [one for one in open_ if one not in chosen]
        late = [one for one in left if transfers[one].ret < until]
        counted_ = state.counted | (chosen & state.doubtful)
        before = state.before
        if late:
            if not state.doubtful.issuperset(late):
                return None
            before |= frozenset(late)
            left = [one for one in left if one not in before]
        if before and counted_:
            first = min(transfers[one].ret for one in counted_)
            if any(transfers[one].call > first for one in before):
                return None
        return tuple(left), state._replace(balances=read.shows, counted=counted_, before=before)

    def _leading(
        self,
        state: _State,
        read: _Read,
        open_: tuple[int, ...],
        must: Sequence[int],
        meter: Meter,
    ) -> Iterator[frozenset[int]]:
        """Yield the sets of open transfers that lead from the balances there are to a read's."""
        assert state.balances is not None
        if not open_:
            if state.balances == read.shows:
                yield frozenset()
            return
        missing = [shows - has for shows, has in zip(read.shows, state.balances, strict=True)]
        sure = [one for one in must if one not in state.doubtful]
        for one in sure:
            for account, change in self.transfers[one].moves:
                missing[account] -= change
        oldest = open_[-1] - self._patience
        free = [
            one
            for one in open_
            if one not in sure and (one >= oldest or self.transfers[one].ret != FOREVER)
        ]
        order = self._by_account(free)
        moves = [self.transfers[one].moves for one in order]
        up = [[0] * len(missing) for _ in range(len(order) + 1)]
        down = [[0] * len(missing) for _ in range(len(order) + 1)]
        for at in range(len(order) - 1, -1, -1):
            up[at], down[at] = list(up[at + 1]), list(down[at + 1])
            for account, change in moves[at]:
                (up if change > 0 else down)[at][account] += change
        if any(
            not low <= want <= high for low, want, high in zip(down[0], missing, up[0], strict=True)
        ):
            return
        taken: list[int] = list(sure)
        # Depth first; each entry is (place, whether to take, phase).
        stack: list[tuple[int, int]] = [(0, 0)]
        while stack:
            at, phase = stack.pop()
            if phase == 3:  # undo a taken one
                taken.pop()
                for account, change in moves[at]:
                    missing[account] += change
                continue
            if at == len(order):
                yield frozenset(taken)
                continue
            meter.spend()
            above, below = up[at + 1], down[at + 1]
            if phase == 0:
                stack.append((at, 1))
                if all(below[a] <= missing[a] - c <= above[a] for a, c in moves[at]):
                    taken.append(order[at])
                    for account, change in moves[at]:
                        missing[account] -= change
                    stack.append((at, 3))
                    stack.append((at + 1, 0))
            elif all(below[a] <= missing[a] <= above[a] for a, _ in moves[at]):
                stack.append((at + 1, 0))

    def _by_account(self, free: Sequence[int]) -> list[int]:
        """Order transfers so that accounts are settled one after the other, the rarest first."""
        times: dict[int, int] = {}
        for one in free:
            for account, _ in self.transfers[one].moves:
                times[account] = times.get(account, 0) + 1

        def rank(one: int) -> tuple[int, int]:
            accounts = [(times[account], account) for account, _ in self.transfers[one].moves]
            return min(accounts, default=(0, -1))

        return sorted(free, key=lambda one: (*rank(one), self.transfers[one].ret))

    def tell(self, stuck: _Read, meter: Meter) -> Anomaly:
        """Say why a read has no place: by one account and one earlier read if that is enough."""
        stuck = self._cut(stuck, meter)
        until = stuck.ret
        shown = [one.operation for one in self.reads if one.ret <= until]
        shown += [one.operation for one in self.transfers if one.call <= until]
        shown.sort(key=lambda one: one.index)
        cast = Cast([stuck.operation])
        name = cast.name(stuck.operation)
        found = ", ".join(
            f"{balance} in {account}"
            for account, balance in zip(self.accounts, stuck.shows, strict=True)
        )
        return anomaly(
            "not-linearizable",
            f"No order of the transfers explains what {who(stuck.operation)} found.",
            [
                (
                    f"Then {name} shows what the accounts held at one moment from "
                    f"{cast.at(stuck.call)} to {cast.at(stuck.ret)}."
                ),
                (
                    f"However, {name} found {found}, and no order of the {len(shown)} operations "
                    f"called by {cast.at(until)} that respects real time and explains every "
                    f"read that had answered by then allows that."
                ),
            ],
            cast,
            shown=shown,
            data={"operations": len(shown)},
        )

    def _cut(self, hint: _Read, meter: Meter) -> _Read:
        """Find the read with whose answer the history stops having an order.

        What is known when an answer comes only grows with time, so halving finds it.
        """
        reads = sorted(self.reads, key=lambda one: one.ret)
        fine, wrong = -1, len(reads) - 1
        middle = reads.index(hint)
        try:
            while wrong - fine > 1:
                if not fine < middle < wrong:
                    middle = (fine + wrong) // 2
                if self._until(reads[middle].ret).search(meter) is None:
                    fine = middle
                else:
                    wrong = middle
        except OutOfBudget:
            pass  # what is wrong by then is wrong still
        return reads[wrong]

    def _until(self, time: int) -> _Bank:
        """The same bank as it was known when an answer came."""
        bank = copy.copy(self)
        bank.reads = [one for one in self.reads if one.ret <= time]
        bank.transfers = [
            one if one.ret <= time else one._replace(ret=FOREVER)
            for one in self.transfers
            if one.call <= time
        ]
        return bank

    def out_of_bounds(self) -> Anomaly | None:
        """Compare each read with earlier ones, account by account; tell the smallest proof."""
        best: tuple[int, _Read, _Read, int, list[_Transfer], list[_Transfer]] | None = None
        answered = sorted(self.reads, key=lambda one: one.ret)
        returned = [one.ret for one in answered]
        ended = [one for one in self.transfers if one.ret != FOREVER]
        open_ = [one for one in self.transfers if one.ret == FOREVER]
        called, opened = [one.call for one in ended], [one.call for one in open_]
        longest = max((one.ret - one.call for one in ended), default=0)
        for read in self.reads:
            at = bisect_left(returned, read.call)
            never = open_[: bisect_right(opened, read.ret)]
            until = bisect_right(called, read.ret)
            for first in answered[max(0, at - READS_BACK) : at]:
                # Called by the end of the later read, not returned before the earlier was called.
                since = bisect_left(called, first.call - longest)
                between = [*never, *(o for o in ended[since:until] if o.ret >= first.call)]
                low = [0] * len(self.accounts)
                high = [0] * len(self.accounts)
                for one in between:
                    sure = one.call > first.ret and one.ret < read.call
                    for account, change in one.moves:
                        if sure or change < 0:
                            low[account] += change
                        if sure or change > 0:
                            high[account] += change
                for account, (least, most) in enumerate(zip(low, high, strict=True)):
                    changed = read.shows[account] - first.shows[account]
                    if least <= changed <= most:
                        continue
                    mine = [one for one in between if any(of == account for of, _ in one.moves)]
                    if best is None or len(mine) < best[0]:
                        certain = [o for o in mine if o.call > first.ret and o.ret < read.call]
                        maybe = [o for o in mine if not (o.call > first.ret and o.ret < read.call)]
                        best = (len(mine), read, first, account, certain, maybe)
        return None if best is None else self._tell_bounds(*best[1:])

    def _tell_bounds(
        self,
        stuck: _Read,
        first: _Read,
        at: int,
        sure: Sequence[_Transfer],
        maybe: Sequence[_Transfer],
    ) -> Anomaly:
        def change(one: _Transfer) -> int:
            return dict(one.moves)[at]

        cast = Cast([first.operation, *(one.operation for one in (*sure, *maybe)), stuck.operation])
        name, its, account = (
            cast.name(stuck.operation),
            cast.name(first.operation),
            self.accounts[at],
        )
        low = sum(map(change, sure)) + sum(min(change(one), 0) for one in maybe)
        high = sum(map(change, sure)) + sum(max(change(one), 0) for one in maybe)
        why = cast.order(first.operation, stuck.operation)
        sentences = [f"Then {its} came before {name}, because {why}."]
        if sure:
            names = ", ".join(f"{cast.name(one.operation)} ({change(one):+})" for one in sure)
            sentences.append(
                f"And between the two came what was called after {its} had answered and had "
                f"returned when {name} was called: {names}."
            )
        if maybe:
            names = ", ".join(f"{cast.name(one.operation)} ({change(one):+})" for one in maybe)
            sentences.append(
                f"And between the two may have come what overlaps one of them or both, or was "
                f"never answered: {names}."
            )
        sentences.append(
            f"And no {'other ' if sure or maybe else ''}transfer changes account {account} between "
            f"them, so from {its} to {name} it changed by at least {low} and at most {high}."
        )
        had, has = first.shows[at], stuck.shows[at]
        sentences.append(
            f"However, {its} found {had} in account {account}, and {name} found {has}: a change "
            f"of {has - had}."
        )
        least = first.call
        shown = [first.operation, stuck.operation]
        shown += [
            one.operation for one in self.transfers if one.call <= stuck.ret and not one.ret < least
        ]
        return anomaly(
            "stale-balance",
            f"{who(stuck.operation)} found {has} in account {account}, which was at least "
            f"{had + low} and at most {had + high} then.",
            sentences,
            cast,
            shown=sorted(shown, key=lambda one: one.index),
            data={"account": account, "least": had + low, "most": had + high},
        )
