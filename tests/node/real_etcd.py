"""A real etcd process, to compare with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.node.server.processes import free_ports


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

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
