"""/metrics: a subset of etcd's metrics under etcd's names, in Prometheus' text format.

Most values are read from the node when it is scraped, so counting costs the request path nothing
but an addition. Every node has a registry of its own; prometheus-client's global one is not used.
"""

from __future__ import annotations

import re
import resource
import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from squall.node.bootstrap.etcd_db import about_bytes
from squall.node.config.settings import VERSION
from squall.node.mvcc.store import Store
from squall.node.replica import Status

FSYNC_BUCKETS_S: Final = tuple(0.001 * 2**n for n in range(14))  # as etcd: 1 ms doubling

HELP: Final = {
    "etcd_server_has_leader": "Whether or not a leader exists. 1 is existence, 0 is not.",
    "etcd_server_is_leader": "Whether or not this member is a leader. 1 if is, 0 otherwise.",
    "etcd_server_is_learner": "Whether or not this member is a learner. 1 if is, 0 otherwise.",
    "etcd_server_proposals_committed_total": "The total number of consensus proposals committed.",
    "etcd_server_proposals_applied_total": "The total number of consensus proposals applied.",
    "etcd_server_proposals_pending": "The current number of pending proposals to commit.",
    "etcd_server_quota_backend_bytes": "Current backend storage quota size in bytes.",
    "etcd_mvcc_db_total_size_in_bytes": "Size of the database as a file of etcd's, in bytes.",
    "etcd_mvcc_db_total_size_in_use_in_bytes": "The same: nothing of it is free.",
    "etcd_debugging_mvcc_current_revision": "The current revision of store.",
    "etcd_debugging_mvcc_compact_revision": "The revision of the last compaction in store.",
    "etcd_debugging_mvcc_watcher_total": "Total number of watchers.",
    "etcd_debugging_mvcc_keys_total": "Total number of keys.",
    "process_resident_memory_bytes": "Resident memory size in bytes.",
    "process_virtual_memory_bytes": "Virtual memory size in bytes.",
    "process_open_fds": "Number of open file descriptors.",
    "process_max_fds": "Maximum number of open file descriptors.",
    "process_start_time_seconds": "Start time of the process since unix epoch in seconds.",
    "etcd_server_leader_changes_seen_total": "The number of leader changes seen.",
    "etcd_server_proposals_failed_total": "The total number of failed proposals seen.",
    "etcd_disk_wal_fsync_duration_seconds": "The latency distributions of fsync called by WAL.",
    "process_cpu_seconds_total": "Total user and system CPU time spent in seconds.",
    "etcd_server_version": "Which version is running. 1 for 'server_version' label.",
    "etcd_cluster_version": "Which version is running. 1 for 'cluster_version' label.",
    "etcd_server_id": "Server or member ID in hexadecimal format. 1 for 'server_id' label.",
}


class Histogram:
    """Counts values in buckets. One thread observes, another may read.

    prometheus-client's own takes a lock for every value, and the disk's thread observes one between
    each fsync and telling the event loop of it.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.total = 0.0
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (upper bound, values up to it) of each bucket."""
        names = (*map(str, self._bounds), "+Inf")
        return list(zip(names, accumulate(self._counts), strict=True))


class Metrics:
    """The counters that a node keeps as it runs."""

    def __init__(self) -> None:
        self.wal_fsync = Histogram(FSYNC_BUCKETS_S)
        self.proposals_pending = 0
        self.proposals_failed = 0
        self._started_s = time.time()
        self._leader = 0
        self._leader_changes = 0

    def observe_leader(self, status: Status) -> None:
        """Count a change of leader."""
        if status.leader and status.leader != self._leader:
            self._leader = status.leader
            self._leader_changes += 1

    def exposition(self, status: Status, store: Store, quota_bytes: int) -> bytes:
        """Return the text of /metrics."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Scrape(self._families(status, store, quota_bytes)))
        # As Go writes whole numbers; scripts that read etcd's metrics match the text.
        return re.sub(rb"\.0$", b"", generate_latest(registry), flags=re.MULTILINE)

    def _families(self, status: Status, store: Store, quota_bytes: int) -> Iterator[Metric]:
        member = f"{status.member_id:x}"
        yield _labelled("etcd_server_version", "server_version", VERSION)
        yield _labelled("etcd_cluster_version", "cluster_version", VERSION.rpartition(".")[0])
        yield _labelled("etcd_server_id", "server_id", member)
        for name, value in self._gauges(status, store, quota_bytes).items():
            yield GaugeMetricFamily(name, HELP[name], value=value)
        counters: dict[str, float] = {
            "etcd_server_leader_changes_seen_total": self._leader_changes,
            "etcd_server_proposals_failed_total": self.proposals_failed,
            "process_cpu_seconds_total": time.process_time(),
        }
        for name, value in counters.items():
            yield CounterMetricFamily(name, HELP[name], value=value)
        name = "etcd_disk_wal_fsync_duration_seconds"
        yield HistogramMetricFamily(
            name, HELP[name], self.wal_fsync.cumulative(), self.wal_fsync.total
        )

    def _gauges(self, status: Status, store: Store, quota_bytes: int) -> dict[str, float]:
        virtual_bytes, resident_bytes = _memory_bytes()
        size, me = about_bytes(store), status.members.get(status.member_id)
        return {
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


class _Scrape:
    """One scrape as a collector."""

    def __init__(self, families: Iterator[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return self._families


def _labelled(name: str, label: str, value: str) -> Metric:
    family = GaugeMetricFamily(name, HELP[name], labels=[label])
    family.add_metric([value], 1)
    return family


def _memory_bytes() -> tuple[int, int]:
    """Return the process's virtual and resident sizes."""
    virtual, resident, *_ = Path("/proc/self/statm").read_text().split()
    page = resource.getpagesize()
    return int(virtual) * page, int(resident) * page
