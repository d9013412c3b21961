"""A TCP proxy that can lose one reply: the server did what it was asked, and the client never hears of it."""

import contextlib
import socket
import threading
from collections.abc import Iterator

BUFFER = 1 << 16


class CuttingProxy:
    """Forwards to a port on loopback. After ``lose_reply_to(word)`` the next request that holds the word is forwarded,
    its reply is thrown away, and the connection is cut.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._word: bytes | None = None
        self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_reply_to(self, word: bytes) -> None:
        self._word = word

    def close(self) -> None:
        for opened in [self._listener, *self._open]:
            _cut(opened)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._back, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := client.recv(BUFFER):
                if self._word is not None and self._word in request:
                    self._word = None
                    self.lost += 1
                    client.shutdown(socket.SHUT_WR)  # no reply gets through any more
                server.sendall(request)
        _cut(server)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while reply := server.recv(BUFFER):
                client.sendall(reply)
        _cut(client)


def _cut(opened: socket.socket) -> None:
    with contextlib.suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)
    opened.close()


@contextlib.contextmanager
def cutting_proxy(port: int) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
