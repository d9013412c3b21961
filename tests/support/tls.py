"""TLS for tests: an authority of our own, and a front that speaks TLS before a server that does not."""

import asyncio
import ssl
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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
    """Speaks TLS on a port of loopback for a server behind it, and demands a certificate of our authority."""

    def __init__(self, target: int, certificates: Certificates) -> None:
        self._target = target
        self._open: list[asyncio.StreamWriter] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.server, certificates.server_key)
        self._context.load_verify_locations(certificates.ca)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # who is turned away tells it himself
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._open:
            writer.transport.abort()
        for _ in range(10):  # a transport closes its socket in a later turn of the loop
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._open.append(behind_writer)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(_pump(reader, behind_writer), _pump(behind_reader, writer))
        for each in (behind_writer, writer):
            each.transport.abort()
            self._open.remove(each)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await reader.read(BUFFER):
            writer.write(part)
            await writer.drain()
    with suppress(OSError):
        writer.close()
