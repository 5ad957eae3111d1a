"""A session of pyetcd, a client with threads and messages of its own, told line by line.

Its compiled messages and aetcd's describe the same files, so one process can hold only one of them.
Usage: pyetcd_story.py HOST:PORT.
"""

from __future__ import annotations

import sys
import threading
import time

import grpc
import pyetcd

PATIENCE_S = 60


def tell(host: str, port: int) -> None:
    with pyetcd.client(host, port, timeout=PATIENCE_S) as client:
        keys(client)
        transactions(client)
        watches(client)
        leases(client)
        with pyetcd.client(host, port, timeout=PATIENCE_S) as other:
            locks(client, other)
        the_rest(client)


def keys(client: pyetcd.Etcd3Client) -> None:
    print("put k=1 at revision", client.put("k", "1").header.revision)
    print("put k=2 over", client.put("k", "2", prev_kv=True).prev_kv.value.decode())
    value, about = client.get("k")
    print("get k:", value.decode(), "version", about.version, "mod", about.mod_revision)
    print("get missing:", client.get("missing")[0])
    for name in ("p/a", "p/b", "p/c"):
        client.put(name, "x")
    found = client.get_prefix("p/", sort_order="descend", sort_target="key")
    print("get p/:", *[about.key.decode() for _, about in found])
    print("delete p/:", client.delete_prefix("p/").deleted, "keys")
    print("delete missing:", client.delete("missing"))


def transactions(client: pyetcd.Etcd3Client) -> None:
    txn = client.transactions
    for expected in ("2", "9"):
        succeeded, (answer,) = client.transaction(
            compare=[txn.value("k") == expected, txn.version("k") > 0],
            success=[txn.put("k", "3")],
            failure=[txn.get("k")],
        )
        if succeeded:
            print(f"txn k=={expected}: then, revision", answer.response_put.header.revision)
        else:
            print(f"txn k=={expected}: else, k is", answer[0][0].decode())
    print("replace 3 by 4:", client.replace("k", "3", "4"))


def watches(client: pyetcd.Etcd3Client) -> None:
    events, cancel = client.watch_prefix("w/", start_revision=1)
    client.put("w/1", "a")
    client.put("w/2", "b")
    client.delete("w/1")
    for _ in range(3):
        event = next(events)
        kind = type(event).__name__.removesuffix("Event").upper()
        print(f"heard {kind} {event.key.decode()}={event.value.decode()}")
    cancel()


def leases(client: pyetcd.Etcd3Client) -> None:
    lease = client.lease(600)
    client.put("leased", "x", lease=lease)
    print("lease granted for", lease.granted_ttl, "keys", *lease.keys)
    print("refreshed to", *[answer.TTL for answer in lease.refresh()])
    lease.revoke()
    print("get leased:", client.get("leased")[0])


def locks(client: pyetcd.Etcd3Client, other: pyetcd.Etcd3Client) -> None:
    mine, theirs = client.lock("lock", ttl=60), other.lock("lock", ttl=60)
    print("acquired by one:", mine.acquire())
    print("acquired by two at once:", theirs.acquire(timeout=0))
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(theirs.acquire(timeout=PATIENCE_S)))
    waiting.start()
    print("released by one:", mine.release())
    waiting.join()
    print("acquired by two then:", *answers)
    print("held by one:", mine.is_acquired())
    print("released by two:", theirs.release())


def the_rest(client: pyetcd.Etcd3Client) -> None:
    while client.status().leader is None:
        time.sleep(0.02)  # an election, on a busy machine
    print("leader known")
    print("members:", *sorted(member.name for member in client.members))
    revision = client.get_response("k").header.revision
    client.compact(revision)
    try:
        client.compact(revision)
    except grpc.RpcError as error:  # pyetcd leaves this one as gRPC raised it
        print("compacted twice:", error.details())


tell(sys.argv[1].split(":")[0], int(sys.argv[1].split(":")[1]))
