"""A session of aetcd's own client, told line by line. Usage: aetcd_story.py HOST:PORT."""

from __future__ import annotations

import asyncio
import sys

import aetcd

PATIENCE_S = 60


async def tell(host: str, port: int) -> None:
    async with aetcd.Client(host, port, timeout=PATIENCE_S) as client:
        await keys(client)
        await transactions(client)
        await watches(client)
        await leases(client)
        async with aetcd.Client(host, port, timeout=PATIENCE_S) as other:
            await locks(client, other)
        await the_rest(client)


async def keys(client: aetcd.Client) -> None:
    put = await client.put(b"k", b"1")
    print("put k=1 at revision", put.header.revision)
    put = await client.put(b"k", b"2", prev_kv=True)
    print("put k=2 over", put.prev_kv.value.decode())
    got = await client.get(b"k")
    print("get k:", got.value.decode(), "version", got.version, "mod", got.mod_revision)
    print("get missing:", await client.get(b"missing"))
    for name in (b"p/a", b"p/b", b"p/c"):
        await client.put(name, b"x")
    found = await client.get_prefix(b"p/", sort_order="descend", sort_target="key")
    print("get p/:", *[kv.key.decode() for kv in found])
    print("delete p/:", (await client.delete_prefix(b"p/")).deleted, "keys")
    print("delete missing:", await client.delete(b"missing") is not None)


async def transactions(client: aetcd.Client) -> None:
    txn = client.transactions
    for expected in (b"2", b"9"):
        succeeded, (answer,) = await client.transaction(
            compare=[txn.value(b"k") == expected, txn.version(b"k") > 0],
            success=[txn.put(b"k", b"3")],
            failure=[txn.get(b"k")],
        )
        if succeeded:
            print(
                f"txn k=={expected.decode()}: then, revision", answer.response_put.header.revision
            )
        else:
            print(f"txn k=={expected.decode()}: else, k is", answer[0][0].decode())
    print("replace 3 by 4:", await client.replace(b"k", b"3", b"4"))


async def watches(client: aetcd.Client) -> None:
    watch = await client.watch_prefix(b"w/", start_revision=1)
    await client.put(b"w/1", b"a")
    await client.put(b"w/2", b"b")
    await client.delete(b"w/1")
    heard = 0
    async for event in watch:
        print(f"heard {event.kind} {event.kv.key.decode()}={event.kv.value.decode()}")
        heard += 1
        if heard == 3:
            break
    await watch.cancel()


async def leases(client: aetcd.Client) -> None:
    lease = await client.lease(600)
    await client.put(b"leased", b"x", lease=lease)
    print("lease granted for", await lease.granted_ttl(), "keys", *await lease.keys())
    print("refreshed to", (await lease.refresh()).TTL)
    await lease.revoke()
    print("get leased:", await client.get(b"leased"))


async def locks(client: aetcd.Client, other: aetcd.Client) -> None:
    mine, theirs = client.lock(b"lock", ttl=60), other.lock(b"lock", ttl=60)
    print("acquired by one:", await mine.acquire())
    print("acquired by two at once:", await theirs.acquire(timeout=0))
    waiting = asyncio.create_task(theirs.acquire(timeout=PATIENCE_S))
    print("released by one:", await mine.release())
    print("acquired by two then:", await waiting)
    print("held by one:", await mine.is_acquired())
    print("released by two:", await theirs.release())


async def the_rest(client: aetcd.Client) -> None:
    while (await client.status()).leader is None:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.02)  # an election, on a busy machine
    print("leader known")
    members = [member async for member in client.members()]
    print("members:", *sorted(member.name for member in members))
    revision = (await client.get(b"k")).header.revision
    await client.compact(revision)
    try:
        await client.compact(revision)
    except aetcd.ClientError as error:
        print("compacted twice:", error)


asyncio.run(tell(sys.argv[1].split(":")[0], int(sys.argv[1].split(":")[1])))
