"""A time limit for a whole answer, from the last byte sent to the last byte received.

The read timeout of requests starts anew with every byte: a server that drips one at a time could hold a run for ever.
"""

import contextlib
import http.client
import io
import socket
import time
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
            with contextlib.suppress(OSError, AttributeError):  # it is closed, or not there yet
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
            self.fp = io.BufferedReader(_UntilDeadline(self.fp.detach(), sock, time.monotonic() + timeout))


class _UntilDeadline(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the answer was not complete in time")
        self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(HTTPConnection):
    response_class = _Answer
    debuglevel = 0  # whatever http.client's own is set to: at 1 it prints requests, and with them the token


class _SecureConnection(HTTPSConnection):
    response_class = _Answer
    debuglevel = 0  # as above
