"""What /metrics shows: a few numbers under etcd's names, in Prometheus' text format."""

from __future__ import annotations

import resource
import time
from bisect import bisect_left
from pathlib import Path

from squall.node.bootstrap.etcd_db import about_bytes
from squall.node.config.settings import VERSION
from squall.node.mvcc.store import Store
from squall.node.replica import Status

_FSYNC_BUCKETS_S = tuple(0.001 * 2**n for n in range(14))  # as etcd: 1 ms doubling


class Histogram:
    """Counts observations in cumulative buckets. Observed by one thread, read by another."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        """Return the exposition of this histogram."""
        out, total = [f"# TYPE {name} histogram"], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            out.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*out, f"{name}_sum {self._sum}", f"{name}_count {total}"]


class Metrics:
    """What a node counts as it runs."""

    def __init__(self) -> None:
        self.wal_fsync = Histogram(_FSYNC_BUCKETS_S)
        self.proposals_pending = 0
        self.proposals_failed = 0
        self._started_s = time.time()
        self._leader = 0
        self._leader_changes = 0

    def saw(self, status: Status) -> None:
        """Notice a change of leader."""
        if status.leader and status.leader != self._leader:
            self._leader = status.leader
            self._leader_changes += 1

    def exposition(self, status: Status, store: Store, quota_bytes: int) -> str:
        """Return the text of /metrics."""
        virtual_bytes, resident_bytes = _memory_bytes()
        size, me = about_bytes(store), status.members.get(status.member_id)
        gauges: dict[str, float] = {
            "etcd_server_has_leader": int(bool(status.leader)),
            "etcd_server_is_leader": int(status.leader == status.member_id),
            "etcd_server_is_learner": int(me is not None and me.is_learner),
            "etcd_server_proposals_committed_total": status.commit,
            "etcd_server_proposals_applied_total": status.applied,
            "etcd_server_proposals_pending": self.proposals_pending,
            "etcd_server_quota_backend_bytes": quota_bytes,
            "etcd_mvcc_db_total_size_in_bytes": size,
            "etcd_mvcc_db_total_size_in_use_in_bytes": size,
            "etcd_debugging_mvcc_current_revision": status.revision,
            "etcd_debugging_mvcc_compact_revision": store.compacted,
            "etcd_debugging_mvcc_watcher_total": store.watches.count,
            "etcd_debugging_mvcc_keys_total": store.key_count,
            "process_resident_memory_bytes": resident_bytes,
            "process_virtual_memory_bytes": virtual_bytes,
            "process_open_fds": len(list(Path("/proc/self/fd").iterdir())),
            "process_max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "process_start_time_seconds": self._started_s,
        }
        counters: dict[str, float] = {
            "etcd_server_leader_changes_seen_total": self._leader_changes,
            "etcd_server_proposals_failed_total": self.proposals_failed,
            "process_cpu_seconds_total": time.process_time(),
        }
        lines = [
            "# TYPE etcd_server_version gauge",
            f'etcd_server_version{{server_version="{VERSION}"}} 1',
            "# TYPE etcd_cluster_version gauge",
            f'etcd_cluster_version{{cluster_version="{VERSION.rpartition(".")[0]}"}} 1',
            "# TYPE etcd_server_id gauge",
            f'etcd_server_id{{server_id="{status.member_id:x}"}} 1',
        ]
        for kind, numbers in (("gauge", gauges), ("counter", counters)):
            for name, number in numbers.items():
                lines += [f"# TYPE {name} {kind}", f"{name} {number}"]
        lines += self.wal_fsync.lines("etcd_disk_wal_fsync_duration_seconds")
        return "\n".join(lines) + "\n"


def _memory_bytes() -> tuple[int, int]:
    """Return what this process has mapped, and what of it is in memory."""
    virtual, resident, *_ = Path("/proc/self/statm").read_text().split()
    page = resource.getpagesize()
    return int(virtual) * page, int(resident) * page
