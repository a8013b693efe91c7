"""Connections to the API: with the environment's certificates, through its proxy, each answer within a time."""

import re
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from dlt.sources.helpers.requests.session import Session
from requests import RequestException, Response
from requests.exceptions import InvalidHeader
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError

from ..exceptions import (
    SupermetricsCertificateError,
    SupermetricsConfigurationError,
    SupermetricsConnectionError,
    SupermetricsError,
)
from ..settings import is_loopback
from .deadline import DeadlineAdapter

# requests lets some of urllib3's errors through, and those of a certificate file or an impossible host name
TRANSPORT_ERRORS = (RequestException, HTTPError, OSError, ValueError)


class Network:
    """A connection for each thread.

    Args:
        base_url: Where the API is.
        timeout: Seconds for one answer.
    """

    def __init__(self, base_url: str, timeout: float) -> None:
        self._base_url = base_url
        self._timeout = timeout
        self._proxy = _proxy_of(base_url)
        self._local = threading.local()
        self._sessions: list[Session] = []

    def close(self) -> None:
        """Closes the connections."""
        for session in self._sessions:
            session.close()

    def disconnect(self) -> None:
        """Ends this thread's connection: after an answer that is not as it should be, the next may be misplaced too."""
        if session := getattr(self._local, "session", None):
            session.close()

    def session(self) -> Session:
        """This thread's connection.

        Raises:
            OSError: The certificates cannot be read.
            ValueError: The proxy is none.
        """
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session(timeout=(min(10.0, self._timeout), self._timeout), raise_for_status=False)
            session.mount(self._base_url, DeadlineAdapter(pool_connections=1, pool_maxsize=1))
            # what the environment names is looked up once, not for each request (0.2 ms)
            session.verify = session.merge_environment_settings(self._base_url, {}, None, None, None)["verify"]
            session.trust_env = False
            if self._proxy:
                _check_proxy(self._proxy)
                session.proxies["all"] = self._proxy
            if self._base_url.startswith("https:") and isinstance(session.verify, str):
                _check_certificates(session.verify)
            self._sessions.append(session)
            self._local.session = session
        return session

    def failure(
        self, error: Exception, team_id: int, request_id: str | None, scrub: Callable[[str], str]
    ) -> SupermetricsError:
        """The error of the transport, by what can be done about it.

        Args:
            error: One of `TRANSPORT_ERRORS`.
            team_id: Whose request it was.
            request_id: That of an answer that broke off.
            scrub: Takes the token out of a text.
        """
        cause = _root_cause(error)
        said = scrub(_without_credentials(f"{type(cause).__name__}: {cause}"))
        asked = self._base_url
        if self._proxy:
            asked += f" through the proxy {_without_credentials(self._proxy)}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SupermetricsCertificateError(f"The certificate of {asked} does not verify: {said}", team_id=team_id)
        if isinstance(error, ValueError) and not isinstance(error, InvalidHeader):  # which is the server's
            settings = "base_url, or HTTPS_PROXY or ALL_PROXY of the environment," if self._proxy else "base_url"
            return SupermetricsConfigurationError(f"{settings} cannot be used: {asked}: {said}", team_id=team_id)
        if isinstance(error, OSError) and not isinstance(error, RequestException):
            return SupermetricsConfigurationError(
                f"The certificate authorities to trust cannot be read, see REQUESTS_CA_BUNDLE: {error}", team_id=team_id
            )
        message = f"No whole answer from {asked}: {said}"
        return SupermetricsConnectionError(message, team_id=team_id, request_id=request_id)


class _Session(Session):
    def get_redirect_target(self, resp: Response) -> None:
        """Looks at no `Location`: requests reads it even where it may not follow, and fails on a malformed one."""


def _root_cause(error: BaseException) -> BaseException:
    """The innermost reason: requests and urllib3 wrap a refused connection three times."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _without_credentials(text: str) -> str:
    """The text without what stands before the host of a URL, be it malformed."""
    return re.sub(r"(?<=://).*@", "", text, flags=re.DOTALL)


def _proxy_of(url: str) -> str | None:
    """The URL of the proxy that the environment names for a URL; none for this machine, whatever it names."""
    proxy = None if is_loopback(urlsplit(url).hostname) else select_proxy(url, get_environ_proxies(url))
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _check_proxy(proxy: str) -> None:
    """Raises a ValueError for what is no URL of a proxy. It quotes nothing: what was cut wrong may show a password."""
    try:
        url = urlsplit(proxy)
        is_good = bool(url.hostname) and url.port != 0 and "@" not in url.path + url.query + url.fragment
    except ValueError:
        is_good = False
    if not is_good:
        raise ValueError("expected something like http://proxy.example:3128, special characters of a password escaped")


def _check_certificates(path: str) -> None:
    """Raises an OSError for a file or folder that has no certificates; otherwise that would look like a bad answer."""
    try:
        if Path(path).is_dir():
            ssl.create_default_context(capath=path)
        else:
            ssl.create_default_context(cafile=path)
    except OSError as error:
        raise OSError(f"{path}: {error}") from None
