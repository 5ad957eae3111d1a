"""A store that is obviously right: a whole dictionary for every revision, and no index at all."""

from __future__ import annotations

from typing import Any

from squall.node.mvcc import errors
from squall.node.mvcc.commands import Compact, Compare, DeleteRange, Put, Range, Txn

State = dict[bytes, tuple[int, int, int, bytes]]
"""key -> (create_revision, mod_revision, version, value)"""


class RefusedError(Exception):
    pass


def inside(key: bytes, start: bytes, end: bytes) -> bool:
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


class Model:
    def __init__(self) -> None:
        self.states: list[State] = [{}, {}]  # revisions 0 and 1
        self.compacted = -1
        self.draft: State = {}
        self.changed = False

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def run(self, command: Any) -> Any:
        self.draft, self.changed = dict(self.states[-1]), False
        try:
            if isinstance(command, Compact):
                answer = self._compact(command)
            elif isinstance(command, Txn):
                answer = self._txn(command)
            else:
                answer = self._step(command)
        except RefusedError as refusal:
            return str(refusal)
        if self.changed:
            self.states.append(self.draft)
        return answer

    def _compact(self, command: Compact) -> str:
        if command.revision <= self.compacted:
            raise RefusedError(errors.COMPACTED)
        if command.revision > self.revision:
            raise RefusedError(errors.FUTURE_REVISION)
        self.compacted = command.revision
        return "compacted"

    def _txn(self, txn: Txn) -> Any:
        plan = self._plan(txn)
        for op in self._flat(plan):
            if isinstance(op, Put):
                if (op.ignore_value or op.ignore_lease) and op.key not in self.draft:
                    raise RefusedError(errors.KEY_NOT_FOUND)
                if op.lease:
                    raise RefusedError(errors.LEASE_NOT_FOUND)
        for op in self._flat(plan):
            if isinstance(op, Range):
                self._check_revision(op.revision)
        return self._run_plan(plan)

    def _plan(self, txn: Txn) -> Any:
        ok = all(self._holds(compare) for compare in txn.compares)
        branch = txn.success if ok else txn.failure
        return ok, [self._plan(op) if isinstance(op, Txn) else op for op in branch]

    def _flat(self, plan: Any) -> list[Any]:
        out: list[Any] = []
        for op in plan[1]:
            out += self._flat(op) if isinstance(op, tuple) else [op]
        return out

    def _run_plan(self, plan: Any) -> Any:
        ok, steps = plan
        return ok, [self._run_plan(s) if isinstance(s, tuple) else self._step(s) for s in steps]

    def _holds(self, compare: Compare) -> bool:
        found = [v for k, v in self.draft.items() if inside(k, compare.key, compare.range_end)]
        if not found:
            if compare.target == 3:
                return False
            found = [(0, 0, 0, b"")]
        for create, mod, version, value in found:
            have: Any = (version, create, mod, value, 0)[compare.target]
            want: Any = compare.operand
            if not (have == want, have > want, have < want, have != want)[compare.result]:
                return False
        return True

    def _check_revision(self, revision: int) -> None:
        if revision > self.revision + (1 if self.changed else 0):
            raise RefusedError(errors.FUTURE_REVISION)
        if 0 < revision < self.compacted:
            raise RefusedError(errors.COMPACTED)

    def _step(self, op: Any) -> Any:
        if isinstance(op, Put):
            return self._put(op)
        if isinstance(op, DeleteRange):
            gone = {k: v for k, v in self.draft.items() if inside(k, op.key, op.range_end)}
            for key in gone:
                del self.draft[key]
                self.changed = True
            return sorted(gone.items())
        return self._range(op)

    def _put(self, op: Put) -> Any:
        if op.lease:
            raise RefusedError(errors.LEASE_NOT_FOUND)
        previous = self.draft.get(op.key)
        if (op.ignore_value or op.ignore_lease) and previous is None:
            raise RefusedError(errors.KEY_NOT_FOUND)
        now = self.revision + 1
        create, version = (previous[0], previous[2] + 1) if previous else (now, 1)
        value = previous[3] if op.ignore_value and previous else op.value
        self.draft[op.key] = (create, now, version, value)
        self.changed = True
        return previous

    def _range(self, op: Range) -> Any:
        self._check_revision(op.revision)
        state = self.states[op.revision] if 0 < op.revision < len(self.states) else self.draft
        found = sorted((k, v) for k, v in state.items() if inside(k, op.key, op.range_end))
        count = len(found)
        if op.count_only:
            return count, False, []
        if op.min_mod_revision:
            found = [kv for kv in found if kv[1][1] >= op.min_mod_revision]
        if op.max_mod_revision:
            found = [kv for kv in found if kv[1][1] <= op.max_mod_revision]
        if op.min_create_revision:
            found = [kv for kv in found if kv[1][0] >= op.min_create_revision]
        if op.max_create_revision:
            found = [kv for kv in found if kv[1][0] <= op.max_create_revision]
        if op.sort_order or op.sort_target:
            field = {
                0: lambda kv: kv[0],
                1: lambda kv: kv[1][2],
                2: lambda kv: kv[1][0],
                3: lambda kv: kv[1][1],
                4: lambda kv: kv[1][3],
            }[op.sort_target]
            found.sort(key=field, reverse=op.sort_order == 2)
        more = bool(op.limit) and len(found) > op.limit
        if op.limit:
            found = found[: op.limit]
        if op.keys_only:
            found = [(k, (*v[:3], b"")) for k, v in found]
        return count, more, found
