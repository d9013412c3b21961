"""A stack as it runs among strangers: Redis with a user for each role, behind TLS, every URL in a file of its own."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from tests.support import servers
from tests.support.tls import Certificates, TlsFront
from worker.stack import Stack

ROOT = Path(__file__).parents[2]
USERS = ROOT / "deploy/redis/users.acl"
ROLES = ("api", "worker", "steward", "requests", "flower", "poster", "reader", "doctor")


def password_of(role: str) -> str:
    return f"hunter2-of-{role}"


def users_file(folder: Path, *, everything: bool = False) -> Path:
    """deploy/redis/users.acl with passwords in it. ``everything``: each user may do all, to see what it does."""
    text = USERS.read_text()
    for placeholder in set(re.findall(r"@([A-Z]+)@", text)):
        text = text.replace(
            f"@{placeholder}@", f"#{hashlib.sha256(password_of(placeholder.lower()).encode()).hexdigest()}"
        )
    lines = [line for line in text.splitlines() if line.startswith("user ")]
    if everything:
        lines = [re.sub(r"(#[0-9a-f]{64}).*", r"\1 ~* &* +@all", line) for line in lines]
    path = folder / "users.acl"
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass(slots=True)
class GuardedStack(Stack):
    """Redis is a real server with the users of deploy/redis/users.acl; our processes reach it over TLS only.

    ``redis_port`` is the plain one, for those whom the test plays itself.
    """

    redis_port: int = 0
    certificates: Certificates | None = None
    everything: bool = False
    _tls_port: int = 0
    _held: ExitStack = field(default_factory=ExitStack)

    def url_of(self, role: str) -> str:
        """As the outside would use it, without TLS."""
        return f"redis://trimtab-{role}:{password_of(role)}@127.0.0.1:{self.redis_port}/0"

    def url_file(self, role: str) -> str:
        """The file with the URL of a role, as our processes use it."""
        return str((self._runtime_dir or Path()) / role)

    def client_of(self, role: str) -> Redis:
        return Redis.from_url(self.url_of(role), protocol=2)

    def stop(self) -> None:
        Stack.stop(self)
        self._held.close()

    def _start_broker(self, binary: Path, runtime_dir: Path) -> None:
        self.certificates = Certificates.make(runtime_dir / "tls")
        self.redis_port = servers.free_port()
        users = users_file(runtime_dir, everything=self.everything)
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self.redis_port),
            "--dir": str(self.state_dir),
            "--save": "",
            "--appendonly": "no",
            "--aclfile": str(users),
        }
        self._start_child("broker", [str(binary), *(word for option in options.items() for word in option)])
        self._wait("broker", lambda: servers.accepts(self.redis_port))
        self._tls_port = self._front(self.redis_port)
        for role in ROLES:
            (runtime_dir / role).write_text(self._tls_url(role) + "\n")

    def _start_sandbox(self) -> None:
        """The accounting service is asked over TLS, and wants to know who asks."""
        Stack._start_sandbox(self)
        assert self.certificates is not None
        port = self._front(int(self.settings["accounting_url"].rpartition(":")[2]))
        self.settings["accounting_url"] = f"https://desk:hunter2-of-accounting@127.0.0.1:{port}"
        self.settings["upstream_ca_file"] = str(self.certificates.ca)
        self.settings["upstream_cert_file"] = str(self.certificates.client)
        self.settings["upstream_key_file"] = str(self.certificates.client_key)

    def _run(
        self, name: str, *command: str, settings: Mapping[str, str], pass_fds: tuple[int, ...] = ()
    ) -> None:
        own = {"broker_url_file": self.url_file(command[0])}
        given = settings if command[0] == "sandbox" else {**own, **settings}
        Stack._run(self, name, *command, settings=given, pass_fds=pass_fds)

    def _tls_url(self, role: str) -> str:
        assert self.certificates is not None
        place = f"127.0.0.1:{self._tls_port}"
        return f"rediss://trimtab-{role}:{password_of(role)}@{place}/0?{self.certificates.in_query()}"

    def _front(self, port: int) -> int:
        assert self.certificates is not None
        front = TlsFront(port, self.certificates)
        self._held.callback(front.close)
        return front.port
