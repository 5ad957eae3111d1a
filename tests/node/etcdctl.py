"""The real etcdctl."""

from __future__ import annotations

import os
import subprocess

from tests.node.server.processes import Cluster
from tests.patience import PATIENCE_S

COMMAND_TIMEOUT_S = 60
"""Its own is 5 s, which a busy machine may need for one election."""


class Etcdctl:
    """Runs its commands against a cluster, or against whatever the words say."""

    def __init__(self, program: str, cluster: Cluster | None = None, endpoints: str = "") -> None:
        self.program = program
        self._cluster = cluster
        self._endpoints = endpoints

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None, "this one was given no cluster"
        return self._cluster

    def command(
        self, *words: str, endpoints: str = "", user: str = "", timeout_s: int = COMMAND_TIMEOUT_S
    ) -> list[str]:
        """Return a command line; `user` is name:password."""
        if not endpoints:
            endpoints = self._endpoints if self._cluster is None else self._cluster.endpoints
        where = [f"--endpoints={endpoints}"] if endpoints else []
        who = [f"--user={user}"] if user else []
        # Dialling includes the authentication; a silent server is one that has no core just then.
        limits = [f"--command-timeout={timeout_s}s", f"--dial-timeout={timeout_s}s"]
        limits += [f"--keepalive-timeout={COMMAND_TIMEOUT_S}s"]
        return [self.program, *limits, *where, *who, *words]

    def run(
        self,
        *words: str,
        stdin: str = "",
        endpoints: str = "",
        user: str = "",
        timeout_s: int = COMMAND_TIMEOUT_S,
    ) -> tuple[int, str]:
        """Return the exit code and everything it printed."""
        done = subprocess.run(
            self.command(*words, endpoints=endpoints, user=user, timeout_s=timeout_s),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
        return done.returncode, done.stdout + done.stderr

    def __call__(self, *words: str, stdin: str = "", endpoints: str = "", user: str = "") -> str:
        """Return what a command that succeeds says; its client's own log is no part of that."""
        code, text = self.run(*words, stdin=stdin, endpoints=endpoints, user=user)
        assert code == 0, text
        return "".join(line for line in text.splitlines(True) if not line.startswith('{"level"'))

    def refused(self, text: str, *words: str, stdin: str = "", user: str = "") -> None:
        """Run a command that fails with this text."""
        code, said = self.run(*words, stdin=stdin, user=user)
        assert code != 0, said
        assert text in said
