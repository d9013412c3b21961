"""TLS for tests: an authority of our own, and a front that speaks TLS before a server that does not."""

import asyncio
import ssl
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
BUFFER = 1 << 16
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_EXTENSIONS = """subjectAltName=IP:127.0.0.1,DNS:localhost
basicConstraints=CA:FALSE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """An authority, and what it signed: a server on loopback, and one client (whose file also holds its key)."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    client_both: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        _openssl(
            folder, "req", "-x509", *_NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=a test"
        )
        (folder / "extensions").write_text(_EXTENSIONS)
        for name in ("server", "client"):
            _openssl(
                folder,
                "req",
                *_NEW_KEY,
                "-keyout",
                f"{name}.key",
                "-out",
                f"{name}.csr",
                "-subj",
                f"/CN={name}",
            )
            _openssl(
                folder,
                *("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "extensions"),
                *("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"),
            )
        both = folder / "client-both.pem"
        both.write_text((folder / "client.pem").read_text() + (folder / "client.key").read_text())
        return cls(
            ca=folder / "ca.pem",
            server=folder / "server.pem",
            server_key=folder / "server.key",
            client=folder / "client.pem",
            client_key=folder / "client.key",
            client_both=both,
        )

    def in_query(self) -> str:
        """As the URL of a Redis names them."""
        return f"ssl_ca_certs={self.ca}&ssl_certfile={self.client}&ssl_keyfile={self.client_key}"


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


class TlsFront:
    """Speaks TLS on a port of loopback for a server behind it, and demands a certificate of our authority.

    A process of its own: asyncio leaves the sockets of failed handshakes to the garbage collector, whose warning would
    meet whichever test runs then.
    """

    def __init__(self, target: int, certificates: Certificates) -> None:
        files = (certificates.server, certificates.server_key, certificates.ca)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.tls", str(target), *map(str, files)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """It ends with its standard input, as it would with its parent."""
        self._process.communicate(timeout=10)


async def _front(target: int, server: str, server_key: str, authority: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server, server_key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # who is turned away tells it himself

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_pump(reader, behind_writer), _pump(behind_reader, writer))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(listening.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - to the parent
    await loop.run_in_executor(None, sys.stdin.read)
    listening.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await reader.read(BUFFER):
            writer.write(part)
            await writer.drain()
    with suppress(OSError):
        writer.close()


if __name__ == "__main__":
    port, *certificate_files = sys.argv[1:]
    asyncio.run(_front(int(port), *certificate_files))
