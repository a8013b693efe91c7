"""HTTP connections to the API: certificates, proxy, one time limit per exchange, one response per request.

requests applies its timeout to each read, so a server that drips single bytes could hold a run without limit. And
http.client takes the first response except a `100 Continue` for the final one, and leaves what follows to the next
request. Both are handled here, for every URL of a session.
"""

import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

from dlt.sources.helpers.requests.session import Session
from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import connection as urllib3_connection

from ..exceptions import (
    SupermetricsCertificateError,
    SupermetricsConfigurationError,
    SupermetricsConnectionError,
    SupermetricsError,
    causes,
)
from ..parsers import is_loopback

# requests lets some of urllib3's errors through, and those of a certificate file or an impossible host name
TRANSPORT_ERRORS = (RequestException, HTTPError, OSError, ValueError)
MAX_CONNECT_SECONDS = 10.0
"""Seconds for one address of a host: the next address may answer."""


class Transport:
    """The sessions of a client, one per thread.

    Args:
        base_url: URL of the API.
        timeout: Seconds for one exchange, from connecting to the last byte of the body.
    """

    def __init__(self, base_url: str, timeout: float) -> None:
        self._base_url = base_url
        self._timeout = timeout
        self._proxy = _proxy_of(base_url)
        self._local = threading.local()
        self._sessions: list[Session] = []

    def close(self) -> None:
        """Closes the connections of all threads."""
        for session in self._sessions:
            session.close()

    def disconnect(self) -> None:
        """Closes this thread's connection: after an abnormal response, the next one may be misplaced too."""
        if session := getattr(self._local, "session", None):
            session.close()

    def session(self) -> Session:
        """Returns this thread's session.

        Raises:
            OSError: The certificates cannot be read.
            ValueError: The proxy's URL is malformed.
        """
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session(timeout=(min(MAX_CONNECT_SECONDS, self._timeout), self._timeout), raise_for_status=False)
            for scheme in ("https://", "http://"):  # requests compares prefixes with the URL as it normalised it
                session.mount(scheme, DeadlineAdapter(self._timeout))
            # the environment is read once, not for each request (0.2 ms)
            session.verify = session.merge_environment_settings(self._base_url, {}, None, None, None)["verify"]
            session.trust_env = False
            if self._proxy:
                _check_proxy(self._proxy)
                session.proxies["all"] = self._proxy
            if self._base_url.lower().startswith("https:") and isinstance(session.verify, str):
                _check_certificates(session.verify)
            self._sessions.append(session)
            self._local.session = session
        return session

    def failure(
        self, error: Exception, team_id: int, request_id: str | None, mask: Callable[[str], str]
    ) -> SupermetricsError:
        """Makes the typed error of a failure of the transport.

        Args:
            error: One of `TRANSPORT_ERRORS`.
            team_id: The team of the request.
            request_id: That of a response that broke off.
            mask: Masks the key in a text.
        """
        *_, cause = causes(error)  # requests and urllib3 wrap a refused connection three times
        reason = mask(_without_credentials(f"{type(cause).__name__}: {cause}"))
        url = self._base_url
        if self._proxy:
            url += f" through the proxy {_without_credentials(self._proxy)}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SupermetricsCertificateError(f"The certificate of {url} does not verify: {reason}", team_id=team_id)
        if isinstance(error, ValueError) and not isinstance(error, InvalidHeader):  # which is the server's
            settings = "base_url, or HTTPS_PROXY or ALL_PROXY of the environment," if self._proxy else "base_url"
            return SupermetricsConfigurationError(f"{settings} cannot be used: {url}: {reason}", team_id=team_id)
        if isinstance(error, OSError) and not isinstance(error, RequestException):
            return SupermetricsConfigurationError(
                f"The certificate authorities to trust cannot be read, see REQUESTS_CA_BUNDLE: {mask(str(error))}",
                team_id=team_id,
            )
        message = f"No complete response from {url}: {reason}"
        return SupermetricsConnectionError(message, team_id=team_id, request_id=request_id)


class _Session(Session):
    def get_redirect_target(self, resp: Response) -> None:
        """Ignores `Location`: requests reads it even where it may not follow, and fails on a malformed one."""


def _without_credentials(text: str) -> str:
    """Removes what stands before the host of a URL, which may be malformed."""
    return re.sub(r"(?<=://).*@", "", text, flags=re.DOTALL)


def _proxy_of(url: str) -> str | None:
    """Returns the URL of the environment's proxy for a URL; None for this machine, even if the environment has one."""
    proxy = None if is_loopback(urlsplit(url).hostname) else select_proxy(url, get_environ_proxies(url))
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _check_proxy(proxy: str) -> None:
    """Raises a ValueError for a malformed URL. The error quotes nothing: a part that is cut wrong may be a password."""
    try:
        url = urlsplit(proxy)
        is_good = bool(url.hostname) and url.port != 0 and "@" not in url.path + url.query + url.fragment
    except ValueError:
        is_good = False
    if not is_good:
        raise ValueError("expected something like http://proxy.example:3128, special characters of a password escaped")


def _check_certificates(path: str) -> None:
    """Raises an OSError for a file or folder without certificates, which would otherwise look like a bad response."""
    try:
        if Path(path).is_dir():
            ssl.create_default_context(capath=path)
        else:
            ssl.create_default_context(cafile=path)
    except OSError as error:
        raise OSError(f"{path}: {error}") from None


# --- the time limit ---------------------------------------------------------------------------------------------------


class Deadline:
    """The end of an exchange, shared by everything that waits for a part of it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def restart(self) -> None:
        """Begins another exchange."""
        self._ends = time.monotonic() + self._seconds

    def remaining(self) -> float:
        """Returns the seconds left.

        Raises:
            TimeoutError: None are left.
        """
        if (seconds := self._ends - time.monotonic()) <= 0:
            raise TimeoutError("the response was not complete in time")
        return seconds


class DeadlineAdapter(HTTPAdapter):
    """requests' adapter with one time limit for the whole exchange. It belongs to one thread.

    Args:
        seconds: The time limit: for connecting, the request, the headers and the body together.
    """

    def __init__(self, seconds: float) -> None:
        self._deadline = Deadline(seconds)
        self._lock = threading.Lock()
        self._connections: WeakSet[HTTPConnection] = WeakSet()
        self._pools = {
            "http": self._pool(HTTPConnectionPool, _Connection),
            "https": self._pool(HTTPSConnectionPool, _SecureConnection),
        }
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Makes the pools of connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Makes the pools of connections that go through a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Sends a request; its body is read from the response later, until the same deadline."""
        self._deadline.restart()
        return super().send(request, *args, **kwargs)

    def close(self) -> None:
        """Closes every connection, also one on which a response is awaited, so that no thread waits for it."""
        super().close()
        with self._lock:
            sockets = [connection.sock for connection in self._connections]
        for sock in sockets:
            with suppress(OSError, AttributeError):  # the socket is closed, or not there yet
                sock.shutdown(socket.SHUT_RDWR)

    def _pool(self, pool: type[HTTPConnectionPool], connection: type["_Exchange"]) -> type[HTTPConnectionPool]:
        """Makes a class of pools that remembers its connections: urllib3 forgets those that are in use."""

        def connect(*args: Any, **kwargs: Any) -> HTTPConnection:
            made = connection(*args, **kwargs)
            made.limit(self._deadline)
            with self._lock:
                self._connections.add(made)
            return made

        return type(pool.__name__, (pool,), {"ConnectionCls": staticmethod(connect)})


class _Exchange(HTTPConnection):
    """A connection with a deadline."""

    debuglevel = 0  # http.client's own may be set to 1, which prints requests, and with them the token

    def limit(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self.response_class = partial(_Response, deadline)  # type: ignore[assignment]  # it is only called

    def _new_conn(self) -> socket.socket:
        """Connects to the first address that answers; urllib3 would grant the whole timeout to each of them."""
        family = urllib3_connection.allowed_gai_family()
        addresses = socket.getaddrinfo(self._dns_host.strip("[]"), self.port, family, socket.SOCK_STREAM)
        failure = OSError("the host has no address")
        for *_, address in addresses:
            timeout = min(MAX_CONNECT_SECONDS, self._deadline.remaining())
            try:
                return urllib3_connection.create_connection(
                    (str(address[0]), self.port), timeout, self.source_address, self.socket_options
                )
            except OSError as error:
                failure = error
        raise failure


class _Connection(_Exchange):
    pass


class _SecureConnection(_Exchange, HTTPSConnection):
    pass


class _Response(http.client.HTTPResponse):
    """A response that is read from the socket until the deadline and no longer."""

    def __init__(self, deadline: Deadline, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = _Stream(_UntilDeadline(self.fp.detach(), sock, deadline), sock)

    # a private name of http.client: the one place at which it skips a 100, and would take a 103 for the response, as
    # the test of Python's own client in tests/api/test_connections.py shows
    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
        while 102 <= status < 200:
            http.client.parse_headers(self.fp)
            version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
        return version, status, reason


class _UntilDeadline(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self.is_ended = False
        """Whether later bytes are ignored."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.is_ended:
            return 0
        self._sock.settimeout(self._deadline.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Stream(io.BufferedReader):
    """The bytes of one response. Bytes left over close the connection: they answer no request.

    urllib3 notices bytes that arrive later: it looks before each request whether there is anything to read.
    """

    def __init__(self, raw: _UntilDeadline, sock: socket.socket) -> None:
        super().__init__(raw)
        self._source = raw
        self._sock = sock

    def close(self) -> None:
        if not self.closed:
            self._source.is_ended = True
            decrypted = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()
            if self.peek(1) or decrypted:
                with suppress(OSError):  # the other side has closed it by now
                    self._sock.shutdown(socket.SHUT_RDWR)
        super().close()
