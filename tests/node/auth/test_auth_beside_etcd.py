"""Users, roles and requests under them, beside a real etcd: the same refusals, the same tables."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from aetcd.rpc import auth_pb2
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from tests.node.ports import free_ports
from tests.node.real_etcd import Etcd
from tests.patience import PATIENCE_S, until

USERS = ("root", "ann", "bob", "")
ROLES = ("root", "red", "blue")
KEYS = (b"a", b"b", b"bb", b"c", b"d")
ENDS = (b"", b"\0", b"b", b"c", b"e")
GRANTED_ENDS = {b"a": b"", b"b": b"c", b"bb": b"d", b"c": b"\0", b"d": b""}


class Side:
    """One system: its stubs, and the tokens it gave."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.kv = stubs.KVStub(channel)
        self.auth = stubs.AuthStub(channel)
        self.tokens: dict[str, str] = {}

    def ask(self, user: str, service: str, method: str, request: Any) -> Any:
        """Return the answer without its header, or (code, text)."""
        call = getattr(getattr(self, service), method)
        for _ in range(2):
            token = self.tokens.get(user)
            metadata = (("token", token),) if token else ()
            try:
                answer = call(request, metadata=metadata, timeout=PATIENCE_S)
            except grpc.RpcError as error:
                if error.details() == "etcdserver: invalid auth token":
                    del self.tokens[user]  # what clients do then: authenticate again, below
                    self.log_in(user)
                    continue
                return error.code(), error.details()
            answer.ClearField("header")
            return answer
        return "no token lasts"

    def log_in(self, user: str) -> Any:
        request = pb.AuthenticateRequest(name=user, password=f"{user}-pw")
        try:
            self.tokens[user] = self.auth.Authenticate(request, timeout=PATIENCE_S).token
        except grpc.RpcError as error:
            self.tokens.pop(user, None)
            return error.code(), error.details()
        return "token"


class Pair:
    """Both systems, asked the same."""

    def __init__(self, theirs: Side, ours: Side) -> None:
        self.theirs, self.ours = theirs, ours

    def ask(self, user: str, service: str, method: str, request: Any) -> Any:
        theirs = self.theirs.ask(user, service, method, request)
        ours = self.ours.ask(user, service, method, request)
        assert ours == theirs, f"{user}: {method} {request}"
        return theirs

    def log_in(self, user: str) -> Any:
        theirs, ours = self.theirs.log_in(user), self.ours.log_in(user)
        assert ours == theirs, user
        return theirs


@pytest.fixture
def pair(program: Any, cluster_of: Any, tmp_path: Path) -> Iterator[Pair]:
    etcd = Etcd(program("etcd"), tmp_path / "etcd", free_ports(1)[0], "--bcrypt-cost=4")
    try:
        node = cluster_of(1).nodes[0]
        node.extra = ["--bcrypt-cost=4"]
        node.start(f"n1={node.peer_url}")
        until(node.has_leader, "a leader")
        etcd.wait_ready()
        with grpc.insecure_channel(etcd.endpoint) as channel:
            yield Pair(Side(channel), Side(node.channel))
    finally:
        etcd.stop()


class Requests:
    """Random requests about few names and few keys."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def interval(self) -> dict[str, bytes]:
        key, end = self.rng.choice(KEYS), self.rng.choice(ENDS)
        return {"key": key, "range_end": end if end in (b"", b"\0") or end > key else b""}

    def granted(self) -> dict[str, bytes]:
        """One interval for each key: etcd forgets to replace one of several that begin alike."""
        key = self.rng.choice(KEYS)
        return {"key": key, "range_end": GRANTED_ENDS[key]}

    def administrative(self) -> tuple[str, str, Any]:
        rng = self.rng
        user, role = rng.choice(("ann", "bob", "root", "eve", "")), rng.choice((*ROLES, ""))
        kind = rng.choice(auth_pb2.Permission.Type.values())
        permission = auth_pb2.Permission(permType=kind, **self.granted())
        interval = self.granted()
        options: list[tuple[str, Any]] = [
            ("UserAdd", pb.AuthUserAddRequest(name=user, password=f"{user}-pw")),
            ("UserGet", pb.AuthUserGetRequest(name=user)),
            ("UserList", pb.AuthUserListRequest()),
            ("UserDelete", pb.AuthUserDeleteRequest(name=rng.choice(("bob", "eve", "root")))),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user=user, role=role)),
            ("UserRevokeRole", pb.AuthUserRevokeRoleRequest(name=user, role=role)),
            ("RoleAdd", pb.AuthRoleAddRequest(name=role)),
            ("RoleGet", pb.AuthRoleGetRequest(role=role)),
            ("RoleList", pb.AuthRoleListRequest()),
            ("RoleDelete", pb.AuthRoleDeleteRequest(role=rng.choice(("blue", "root", "none")))),
            ("RoleRevokePermission", pb.AuthRoleRevokePermissionRequest(role=role, **interval)),
        ]
        grant = pb.AuthRoleGrantPermissionRequest(name=role, perm=permission)
        options += [("RoleGrantPermission", grant)] * 4
        return ("auth", *rng.choice(options))

    def operation(self) -> pb.RequestOp:
        method, request = self.simple()
        field = {"Range": "request_range", "Put": "request_put"}.get(method, "request_delete_range")
        return pb.RequestOp(**{field: request})

    def simple(self) -> tuple[str, Any]:
        rng = self.rng
        draw = rng.random()
        if draw < 0.4:
            return "Range", pb.RangeRequest(**self.interval())
        if draw < 0.7:
            return "Put", pb.PutRequest(key=rng.choice(KEYS), value=b"v")
        return "DeleteRange", pb.DeleteRangeRequest(**self.interval(), prev_kv=rng.random() < 0.5)

    def of_keys(self) -> tuple[str, str, Any]:
        if self.rng.random() < 0.7:
            return ("kv", *self.simple())
        compare = pb.Compare(target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=0)
        compare.key = self.rng.choice(KEYS)
        txn = pb.TxnRequest(success=[self.operation()], failure=[self.operation()])
        if self.rng.random() < 0.5:
            txn.compare.append(compare)
        return "kv", "Txn", txn


def test_random_users_meet_the_refusals_of_a_real_etcd(pair: Pair) -> None:
    rng = random.Random(5)
    requests = Requests(rng)
    for user in USERS[:3]:
        pair.ask("", "auth", "UserAdd", pb.AuthUserAddRequest(name=user, password=f"{user}-pw"))
    assert pair.log_in("root")[1] == "etcdserver: authentication is not enabled"
    pair.ask("", "auth", "AuthEnable", pb.AuthEnableRequest())
    for role in ROLES:
        pair.ask("", "auth", "RoleAdd", pb.AuthRoleAddRequest(name=role))
    pair.ask("", "auth", "AuthEnable", pb.AuthEnableRequest())
    grant = pb.AuthUserGrantRoleRequest(user="root", role="root")
    pair.ask("", "auth", "UserGrantRole", grant)
    pair.ask("", "auth", "AuthEnable", pb.AuthEnableRequest())
    refused = served = 0
    for _ in range(700):
        user = rng.choice(USERS)
        if user and user not in pair.theirs.tokens:
            pair.log_in(user)
        if rng.random() < 0.3:
            pair.ask(rng.choice(("root", "root", user)), *requests.administrative())
            continue
        answer = pair.ask(user, *requests.of_keys())
        refused += isinstance(answer, tuple)
        served += not isinstance(answer, tuple)
    assert refused > 50, "too few refusals to mean anything"
    assert served > 50, "too few answers to mean anything"
    pair.ask("root", "auth", "AuthDisable", pb.AuthDisableRequest())
    pair.ask("", "kv", "Range", pb.RangeRequest(key=b"\0", range_end=b"\0"))
