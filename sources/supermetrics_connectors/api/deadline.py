"""Answers that end in time, and connections that carry one answer a request.

The read timeout of requests starts anew with every byte: a server that drips one at a time could hold a run for ever.
And http.client takes the first answer but a `100 Continue` for the whole, and leaves what follows to the next request.
"""

import http.client
import io
import socket
import ssl
import time
from contextlib import suppress
from threading import Lock
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class DeadlineAdapter(HTTPAdapter):
    """requests' adapter, with the read timeout as the time limit of each answer, headers included.

    An answer that is not all there in time fails like any other read timeout.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Makes the pools of connections."""
        self._lock = Lock()
        self._connections: WeakSet[HTTPConnection] = WeakSet()
        self._pools = {
            "http": self._pool(HTTPConnectionPool, _Connection),
            "https": self._pool(HTTPSConnectionPool, _SecureConnection),
        }
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Makes the pools of connections that go through a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def close(self) -> None:
        """Closes every connection. On answers that are awaited it hangs up, so that nobody waits for them."""
        super().close()
        with self._lock:
            sockets = [connection.sock for connection in self._connections]
        for sock in sockets:
            with suppress(OSError, AttributeError):  # it is closed, or not there yet
                sock.shutdown(socket.SHUT_RDWR)

    def _pool(self, pool: type[HTTPConnectionPool], connection: type[HTTPConnection]) -> type[HTTPConnectionPool]:
        """A class of pools whose connections are remembered: urllib3 forgets those that are in use."""

        def connect(*args: Any, **kwargs: Any) -> HTTPConnection:
            made = connection(*args, **kwargs)
            with self._lock:
                self._connections.add(made)
            return made

        return type(pool.__name__, (pool,), {"ConnectionCls": staticmethod(connect)})


class _Answer(http.client.HTTPResponse):
    """An answer that is read from the socket until its deadline and no longer."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        if timeout := sock.gettimeout():
            self.fp = _Stream(_UntilDeadline(self.fp.detach(), sock, time.monotonic() + timeout), sock)

    # a private name of http.client: the one place at which it skips a 100, and would take a 103 for the answer, as the
    # test of Python's own client in tests/api/test_connections.py shows
    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
        while 102 <= status < 200:
            http.client.parse_headers(self.fp)
            version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
        return version, status, reason


class _UntilDeadline(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ended:
            return 0
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the answer was not complete in time")
        self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def end(self) -> None:
        """Reads nothing more, whatever may come."""
        self._ended = True

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Stream(io.BufferedReader):
    """The bytes of one answer. If there are more than it took, the connection is ended: they answer no request.

    What has not arrived by then is seen by urllib3, which looks before each request whether there is anything to read.
    """

    def __init__(self, raw: _UntilDeadline, sock: socket.socket) -> None:
        super().__init__(raw)
        self._source = raw
        self._sock = sock

    def close(self) -> None:
        if not self.closed:
            self._source.end()
            decrypted = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()
            if self.peek(1) or decrypted:
                with suppress(OSError):  # the other side has ended it by now
                    self._sock.shutdown(socket.SHUT_RDWR)
        super().close()


class _Connection(HTTPConnection):
    response_class = _Answer
    debuglevel = 0  # whatever http.client's own is set to: at 1 it prints requests, and with them the token


class _SecureConnection(HTTPSConnection):
    response_class = _Answer
    debuglevel = 0  # printing requests, it would print the token
