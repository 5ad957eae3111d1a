"""The consensus core, sans-IO.

`raft` is what goes in and out; `state` holds the state and its transitions, `leadership` what only
a leader has, `outbox` what a message waits for: a vote or an acknowledgement leaves only when what
it promises is durable. `election`, `replication`, `heartbeats` and `snapshot_transfer` handle
messages.
"""
