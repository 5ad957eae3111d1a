"""The text of /metrics: names, types and values as etcd has them."""

from __future__ import annotations

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from squall.node.mvcc.store import Store
from squall.node.replica import Member, Status
from squall.node.server.metrics import FSYNC_BUCKETS_S, Metrics


def scraped(metrics: Metrics) -> str:
    status = Status(1, "leader", 2, 1, 9, 9, 9, 12_345_678, "", {1: Member(1)})
    return metrics.exposition(status, Store(), 100).decode()


def test_whole_numbers_are_written_as_go_writes_them() -> None:
    lines = scraped(Metrics()).splitlines()
    for line in ("etcd_server_has_leader 1", "etcd_server_quota_backend_bytes 100"):
        assert line in lines
    assert "# TYPE etcd_server_leader_changes_seen_total counter" in lines
    assert "# TYPE etcd_server_proposals_committed_total gauge" in lines
    assert "# TYPE etcd_disk_wal_fsync_duration_seconds histogram" in lines
    assert 'etcd_server_version{server_version="3.5.0"} 1' in lines


def test_a_histogram_has_etcds_buckets_and_counts_cumulatively() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.003, 100.0):
        metrics.wal_fsync.observe(seconds)
    name = "etcd_disk_wal_fsync_duration_seconds"
    (family,) = (f for f in text_string_to_metric_families(scraped(metrics)) if f.name == name)
    buckets = [s for s in family.samples if s.name == f"{name}_bucket"]
    assert [float(s.labels["le"]) for s in buckets] == [*FSYNC_BUCKETS_S, float("inf")]
    assert [s.value for s in buckets] == [1, 1, 2, *[2] * 11, 3]
    assert {s.name for s in family.samples} == {
        f"{name}_{end}" for end in ("bucket", "count", "sum")
    }


def test_two_nodes_in_one_process_share_no_registry() -> None:
    one, two = Metrics(), Metrics()
    one.wal_fsync.observe(1.0)
    assert "seconds_count 1" in scraped(one)
    assert "seconds_count 0" in scraped(two)
    assert "etcd" not in prometheus_client.generate_latest().decode()
