"""The peer port in one process: TLS between transports, and strangers that stay silent."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from squall.node.config.endpoints import Endpoint
from squall.node.peer import transport
from squall.node.peer.handshake import PeerNames
from squall.node.raft.messages import Heartbeat
from tests.node.peer.test_transport import CLUSTER, Peer, until
from tests.node.tls.authority import Authority


def contexts(authority: Authority, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a member listens and dials with."""
    pair = authority.issue(name)
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.verify_mode = ssl.CERT_REQUIRED
    listening.load_verify_locations(authority.file)
    dialling = ssl.create_default_context(cafile=str(authority.file))
    for context in (listening, dialling):
        context.load_cert_chain(*pair)
    return listening, dialling


class SecurePeer(Peer):
    """A transport with certificates."""

    def __init__(self, member: int, authority: Authority, cluster: int = CLUSTER) -> None:
        super().__init__(member, cluster)
        self.transport = transport.Transport(
            cluster,
            member,
            self.got.append,
            self.transport.log,
            contexts(authority, f"m{member}"),
        )

    async def listen(self, port: int = 0) -> Endpoint:
        await self.transport.listen((Endpoint("127.0.0.1", port, tls=True),))
        self.port = self.transport._servers[0].sockets[0].getsockname()[1]
        return Endpoint("127.0.0.1", self.port, tls=True)


async def test_messages_arrive_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, two = SecurePeer(1, authority), SecurePeer(2, authority)
    one.transport.set_peers({2: await two.listen()})
    await until(lambda: one.connected(2))
    sent = [Heartbeat(1, 1, commit) for commit in range(200)]
    for message in sent:
        one.send(2, message)
    await until(lambda: len(two.got) == len(sent))
    assert two.got == sent
    await one.transport.close()
    await two.transport.close()


async def test_a_certificate_of_another_authority_does_not_get_a_message_in(
    tmp_path: Path,
) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "other")
    one, two, known = SecurePeer(1, theirs), SecurePeer(2, ours), SecurePeer(3, ours)
    where = await two.listen()
    one.transport.set_peers({2: where})
    known.transport.set_peers({2: where})
    await until(lambda: known.connected(2))
    known.send(2, Heartbeat(1, 3, 0))
    await until(lambda: two.got)
    assert not one.connected(2)
    assert two.got == [Heartbeat(1, 3, 0)]
    for peer in (one, two, known):
        await peer.transport.close()


async def test_silent_strangers_do_not_keep_a_member_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "MAX_UNIDENTIFIED", 3)
    member, busy = Peer(1), Peer(2)
    where = await busy.listen()
    silent = [await asyncio.open_connection(where.host, where.port) for _ in range(8)]
    await until(lambda: len(busy.transport._unidentified) == 3)
    reader, _ = silent[0]
    assert await reader.read() == b"", "the first to come is the first to go"
    member.transport.set_peers({2: where})
    await until(lambda: member.connected(2))
    member.send(2, Heartbeat(1, 1, 0))
    await until(lambda: busy.got)
    for _, writer in silent:
        writer.close()
    await member.transport.close()
    await busy.transport.close()


async def test_more_senders_than_any_cluster_has_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "MAX_INBOUND", 1)
    first, second, busy = Peer(1), Peer(3), Peer(2)
    where = await busy.listen()
    first.transport.set_peers({2: where})
    await until(lambda: 1 in busy.transport._inbound)
    second.transport.set_peers({2: where})
    await until(lambda: "members have connections already" in busy.lines.getvalue())
    assert set(busy.transport._inbound) == {1}
    for peer in (first, second, busy):
        await peer.transport.close()


@pytest.mark.parametrize(
    ("names", "certificate", "is_admitted"),
    [
        (PeerNames(), None, True),
        (PeerNames(common_name="m1"), None, False),
        (PeerNames(common_name="m1"), "m1", True),
        (PeerNames(common_name="m1"), "m2", False),
        (PeerNames(host="localhost"), "m2", True),
        (PeerNames(host="elsewhere"), "m2", False),
        (PeerNames(common_name="m2", host="elsewhere"), "m2", False),
    ],
)
def test_a_member_must_have_the_name_that_is_asked_for(
    names: PeerNames, certificate: str | None, is_admitted: bool
) -> None:
    decoded = certificate and {
        "subject": ((("commonName", certificate),),),
        "subjectAltName": (("DNS", "localhost"), ("DNS", "*.example")),
    }
    assert names.admits(decoded or None) is is_admitted  # type: ignore[arg-type]


@pytest.mark.parametrize(("host", "is_covered"), [("a.example", True), ("a.b.example", False)])
def test_a_wildcard_covers_one_label(host: str, is_covered: bool) -> None:
    assert PeerNames(host=host).admits({"subjectAltName": (("DNS", "*.example"),)}) is is_covered


async def test_a_member_with_another_name_is_hung_up_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, two = SecurePeer(1, authority), SecurePeer(2, authority)
    two.transport.names = PeerNames(common_name="m9")
    one.transport.set_peers({2: await two.listen()})
    await until(lambda: "its certificate is for somebody else" in two.lines.getvalue())
    one.send(2, Heartbeat(1, 1, 0))
    assert not two.got
    await one.transport.close()
    await two.transport.close()
