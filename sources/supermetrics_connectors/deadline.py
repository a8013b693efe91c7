"""A time limit for a whole answer, from the last byte sent to the last byte received.

The read timeout of requests starts anew with every byte: a server that drips one at a time could hold a run for ever.
"""

import http.client
import io
import socket
import time
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class DeadlineAdapter(HTTPAdapter):
    """requests' adapter, with the read timeout as the time limit of each answer, headers included.

    An answer that is not all there in time fails like any other read timeout.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Makes the pools of connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Makes the pools of connections that go through a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


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


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}
