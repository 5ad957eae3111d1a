"""A real etcd process, to compare with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import grpc
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from tests.node.ports import free_ports
from tests.patience import until


class Etcd:
    """A real etcd on a data directory."""

    def __init__(self, program: str, data_dir: Path, peer: int, *extra: str) -> None:
        (self.client,) = free_ports(1)
        client, peer_url = f"http://{self.endpoint}", f"http://127.0.0.1:{peer}"
        self.log_path = data_dir.with_suffix(".log")
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(program, "--name", "r1", "--data-dir", str(data_dir)),
                    *("--listen-client-urls", client, "--advertise-client-urls", client),
                    *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
                    *("--initial-cluster", f"r1={peer_url}", *extra),
                ],
                stdout=log,
                stderr=log,
            )

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.client}"

    def wait_ready(self) -> None:
        """Wait until it answers a linearizable read."""
        with grpc.insecure_channel(self.endpoint) as channel:
            until(lambda: self._answers(stubs.KVStub(channel)), "an etcd that serves")

    def _answers(self, kv: stubs.KVStub) -> bool:
        assert self.process.poll() is None, self.log_path.read_text()[-2000:]
        try:
            kv.Range(pb.RangeRequest(key=b"x"), timeout=5, wait_for_ready=True)
        except grpc.RpcError:
            return False
        return True

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
