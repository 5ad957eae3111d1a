"""Real node processes on loopback, for tests: started, killed, asked over HTTP and gRPC."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

import grpc
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from tests.node.ports import free_ports
from tests.patience import PATIENCE_S, until

ROOT = Path(__file__).resolve().parents[3]


class Node:
    """One node's ports, its data directory and, while it runs, its process."""

    scheme = "http"

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.client, self.peer, self.http = free_ports(3)
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = directory / f"{name}.log"
        self.extra: list[str] = []
        self.program = ["-m", "squall.node"]
        self._channel: grpc.Channel | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.client}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer}"

    def start(self, initial_cluster: str) -> None:
        client, http = f"http://{self.endpoint}", f"http://127.0.0.1:{self.http}"
        command = [
            *(sys.executable, *self.program),
            *("--name", self.name, "--data-dir", str(self.directory / self.name)),
            *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-metrics-urls", http, "--initial-cluster", initial_cluster),
            *self.extra,
        ]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=ROOT, env={**os.environ}
            )

    def stop(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    @property
    def channel(self) -> grpc.Channel:
        if self._channel is None:
            self._channel = grpc.insecure_channel(
                self.endpoint,
                options=[
                    ("grpc.enable_retries", 0),
                    ("grpc.max_reconnect_backoff_ms", 200),
                    ("grpc.max_receive_message_length", -1),
                    ("grpc.max_send_message_length", -1),
                ],
            )
        return self._channel

    @property
    def kv(self) -> Any:
        return stubs.KVStub(self.channel)

    def put(self, key: bytes, value: bytes) -> Any:
        request = pb.PutRequest(key=key, value=value)
        return self.kv.Put(request, timeout=PATIENCE_S, wait_for_ready=True)

    def get(self, key: bytes, **options: Any) -> Any:
        request = pb.RangeRequest(key=key, **options)
        return self.kv.Range(request, timeout=PATIENCE_S, wait_for_ready=True)

    def tls(self) -> ssl.SSLContext | None:
        """What its pages are asked for with."""
        return None

    def http_get(self, path: str) -> tuple[int, str]:
        url = f"{self.scheme}://127.0.0.1:{self.http}{path}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S, context=self.tls()) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def peek(self) -> dict[str, Any]:
        """Return /debug/status; empty while nobody answers."""
        try:
            return json.loads(self.http_get("/debug/status")[1])
        except (OSError, HTTPException):  # it does not listen yet, or ends in mid-answer
            return {}

    def status(self) -> dict[str, Any]:
        """Return /debug/status; raises AssertionError when the process has ended."""
        return until(lambda: self.runs() and self.peek(), f"{self.name}'s status")

    def runs(self) -> bool:
        """Return True; raises AssertionError when the process has ended."""
        assert self.process is not None
        if self.process.poll() is not None:
            words = self.log_path.read_text()[-2000:]
            raise AssertionError(f"{self.name} ended with {self.process.returncode}: {words}")
        return True

    def has_leader(self) -> bool:
        """Tell whether it knows a leader; raises AssertionError when its process has ended."""
        return self.runs() and bool(self.peek().get("leader"))

    def ended(self) -> int:
        """Wait until the process ends by itself; returns its exit code."""
        assert self.process is not None
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def log(self) -> list[dict[str, Any]]:
        whole, _, _ = self.log_path.read_text().rpartition("\n")  # the last may be half there
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == name]


class Cluster:
    """Several nodes that know of each other."""

    def __init__(self, size: int, directory: Path) -> None:
        self.nodes = [Node(f"n{number}", directory) for number in range(1, size + 1)]
        self.initial = ",".join(f"{node.name}={node.peer_url}" for node in self.nodes)

    @property
    def endpoints(self) -> str:
        return ",".join(node.endpoint for node in self.nodes)

    @property
    def running(self) -> list[Node]:
        return [node for node in self.nodes if node.process is not None]

    def start(self, *nodes: Node) -> None:
        for node in nodes or self.nodes:
            node.start(self.initial)
        self.wait_ready()

    def wait_ready(self) -> None:
        until(lambda: all(node.has_leader() for node in self.running), "a leader")

    def leader(self) -> Node:
        return until(self._leader, "a leader that leads")

    def _leader(self) -> Node | None:
        leading = [node for node in self.running if node.peek().get("role") == "leader"]
        return leading[0] if len(leading) == 1 else None

    def kill(self, *nodes: Node) -> None:
        for node in nodes:
            node.stop(signal.SIGKILL)

    def stop(self) -> None:
        for node in self.running:
            node.stop(signal.SIGKILL)
