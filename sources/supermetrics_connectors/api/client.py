"""One request a team: an answer, or a typed error that carries the request id."""

import logging
import re
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dlt.common.exceptions import TransientException
from dlt.sources.helpers.requests.session import Session
from requests import PreparedRequest, RequestException, Response
from requests.auth import AuthBase
from requests.exceptions import InvalidHeader
from requests.utils import get_environ_proxies, select_proxy
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import HTTPError

from ..documents.json_paths import render
from ..documents.json_text import NotJsonError, RefusedJsonError, parse_json
from ..exceptions import (
    SupermetricsAnswerTooLargeError,
    SupermetricsCertificateError,
    SupermetricsConfigurationError,
    SupermetricsConnectionError,
    SupermetricsContractError,
    SupermetricsError,
    SupermetricsUnreadableError,
    api_error_class,
)
from ..settings import ApiKey, Settings, is_loopback
from .deadline import DeadlineAdapter

logger = logging.getLogger(__name__)

_SHORTEST_KEY = 8
"""Characters. A shorter one is no key of the API's, and would be found in every other word."""
_READ_BYTES = 2**18
"""Unpacked bytes that are read at once. Fewer cost time: for each, a thread waits for its turn."""


@dataclass(frozen=True)
class Answer:
    """A 200 of the API, decoded but not yet checked.

    Attributes:
        payload: The decoded JSON.
        status_code: HTTP status, 200.
        request_id: From `X-Request-Id`; None when the header is absent.
        rate_limit_remaining: Requests left in this hour, from `X-RateLimit-Remaining`; None when absent.
        size: Bytes of the body.
        may_have_nul: Whether the body may hold a NUL character.
    """

    payload: Any
    status_code: int
    request_id: str | None
    rate_limit_remaining: int | None
    size: int
    may_have_nul: bool = False


class Pause:
    """The rate limit belongs to the token: when one request is told to wait, all of them wait here."""

    def __init__(self) -> None:
        self._until = 0.0
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def hold(self, seconds: float) -> None:
        """Makes everyone wait for at least this long from now."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds still to wait; 0 when nothing holds."""
        return max(0.0, self._until - time.monotonic())

    def wait(self) -> None:
        """Blocks until the pause is over. Returns at once after `cancel`."""
        while (seconds := self.remaining) > 0 and not self._cancelled.wait(seconds):
            pass

    def sleep(self, seconds: float) -> None:
        """Sleeps alone, for a retry that concerns nobody else."""
        self._cancelled.wait(seconds)

    def cancel(self) -> None:
        """Wakes everyone: the run is over."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the run is over."""
        return self._cancelled.is_set()


class SupermetricsClient:
    """Lists a team's connectors. Safe to use from several threads: each has its connection, and they share the pause.

    A connection is kept only after an answer that is whole and good.
    """

    def __init__(self, settings: Settings) -> None:
        self.base_url = settings.base_url
        self.pause = Pause()
        self._auth = _BearerAuth(settings.api_key)
        self._include_configs = "true" if settings.include_configs else "false"
        self._timeout = settings.request_timeout
        self._retries = settings.retries
        self._jitter = wait_random_exponential(multiplier=self._retries.backoff_factor, max=self._retries.max_delay)
        self._max_bytes = settings.max_answer_bytes
        self._proxy = _proxy_of(self.base_url)
        self._local = threading.local()
        self._sessions: list[Session] = []
        self._answered: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def close(self) -> None:
        """Cancels whoever waits and closes the connections."""
        self.pause.cancel()
        for session in self._sessions:
            session.close()

    def list_connectors(self, team_id: int) -> Answer:
        """Asks for the connectors of a team, retrying what may pass.

        Raises:
            SupermetricsError: As its subclass for what went wrong, with the request id where the answer had one.
        """
        retrying = Retrying(
            stop=stop_after_attempt(self._retries.max_attempts),
            retry=retry_if_exception(self._worth_retrying),
            wait=self._delay,
            sleep=self.pause.sleep,
            reraise=True,
        )
        return retrying(self._ask, team_id)

    def disconnect(self) -> None:
        """Ends this thread's connection: after an answer that is not as it should be, the next may be misplaced too."""
        if session := getattr(self._local, "session", None):
            session.close()

    def _ask(self, team_id: int) -> Answer:
        self.pause.wait()
        answer = self._exchange(team_id)
        if self._is_of_another(answer, team_id):  # where nothing can be left over from another request
            self.disconnect()
            answer = self._exchange(team_id)
        return answer

    def _exchange(self, team_id: int) -> Answer:
        response = self._get(team_id)
        if isinstance(response, SupermetricsError):
            raise response
        try:
            return self._read(response, team_id)
        except SupermetricsError:
            self.disconnect()
            raise

    def _is_of_another(self, answer: Answer, team_id: int) -> bool:
        """Whether the answer's request id is that of another team's answer: an answer that was sent twice."""
        return answer.request_id is not None and self._answered.setdefault(answer.request_id, team_id) != team_id

    def _get(self, team_id: int) -> Response | SupermetricsError:
        """Sends the request. Returns a failure instead of raising it: urllib3's frames hold headers with the token."""
        response: Response | None = None
        try:
            response = self._session().get(
                f"{self.base_url}/v1/teams/{team_id}/connector_builder/connectors",
                params={"include_configs": self._include_configs},
                auth=self._auth,
                allow_redirects=False,  # the API never redirects, and a token must not follow one elsewhere
                stream=True,  # so that there is a head, with the request id, even if the body is cut short
            )
            with response:
                body = self._body(response)
        # requests lets some of urllib3's errors through, and those of a certificate file or an impossible host name
        except (RequestException, HTTPError, OSError, ValueError) as error:
            return self._failure(error, team_id, response)
        if body is None:
            return SupermetricsAnswerTooLargeError(
                f"The answer is larger than max_answer_bytes, {self._max_bytes} bytes",
                team_id=team_id,
                status_code=response.status_code,
                request_id=self._scrubbed_request_id(response),
            )
        response._content = body
        self._scrub_answer(response)
        return response

    def _body(self, response: Response) -> bytes | None:
        """The body, unpacked; None if it goes beyond the limit, packed or unpacked."""
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_content(_READ_BYTES):
            size += len(chunk)
            if max(size, response.raw.tell()) > self._max_bytes:
                return None
            chunks.append(chunk)
        return b"".join(chunks)

    def _failure(self, error: Exception, team_id: int, response: Response | None) -> SupermetricsError:
        """The error of the transport, by what can be done about it."""
        cause = _root_cause(error)
        said = self._scrub(_without_credentials(f"{type(cause).__name__}: {cause}"))
        asked = self.base_url
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
        request_id = None if response is None else self._scrubbed_request_id(response)
        message = f"No whole answer from {asked}: {said}"
        return SupermetricsConnectionError(message, team_id=team_id, request_id=request_id)

    def _session(self) -> Session:
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session(timeout=(min(10.0, self._timeout), self._timeout), raise_for_status=False)
            session.mount(self.base_url, DeadlineAdapter(pool_connections=1, pool_maxsize=1))
            # what the environment names is looked up once, not for each request (0.2 ms)
            session.verify = session.merge_environment_settings(self.base_url, {}, None, None, None)["verify"]
            session.trust_env = False
            if self._proxy:
                _check_proxy(self._proxy)
                session.proxies["all"] = self._proxy
            if self.base_url.startswith("https:") and isinstance(session.verify, str):
                _check_certificates(session.verify)
            self._sessions.append(session)
            self._local.session = session
        return session

    def _read(self, response: Response, team_id: int) -> Answer:
        request_id = _request_id(response.headers.get("X-Request-Id"))
        if response.status_code >= 400:
            raise self._api_error(response, team_id, request_id)
        if response.status_code != 200:
            raise SupermetricsContractError(
                f"Expected status 200, the API answered {response.status_code}"
                + (" (a redirect, which is not followed)" if response.is_redirect else ""),
                team_id=team_id,
                status_code=response.status_code,
                request_id=request_id,
            )
        try:
            payload = parse_json(response.content)
        except NotJsonError:
            payload = None
        except RefusedJsonError as refused:
            raise SupermetricsContractError(
                f"Expected JSON that can be stored, {refused.what} arrived in {render(refused.path)[:300]}",
                team_id=team_id,
                status_code=response.status_code,
                request_id=request_id,
            ) from None
        if payload is None:
            raise SupermetricsUnreadableError(
                f"Expected JSON, {_described(response)} arrived",
                team_id=team_id,
                status_code=response.status_code,
                request_id=request_id,
            )
        remaining = _count(response.headers.get("X-RateLimit-Remaining"))
        body = response.content
        return Answer(payload, response.status_code, request_id, remaining, len(body), rb"\u0000" in body)

    def _api_error(self, response: Response, team_id: int, header_request_id: str | None) -> SupermetricsError:
        """The error envelope as a typed error. Texts of the server are scrubbed: one may quote the token back."""
        envelope = _decoded(response)
        error, meta = _member(envelope, "error"), _member(envelope, "meta")
        message = _text(error.get("message")) or f"{response.reason or 'Error'} ({_described(response)})"
        description = _text(error.get("description"))
        return api_error_class(response.status_code)(
            self._scrub(message[:1000]),
            team_id=team_id,
            status_code=response.status_code,
            code=_code(error.get("code")),
            description=self._scrub(description[:2048]) if description else None,
            request_id=_request_id(meta.get("request_id")) or header_request_id,
            retry_after=_retry_after(response.headers.get("Retry-After")),
            key_from=self._auth.api_key.came_from if response.status_code == 401 else None,
        )

    def _scrub_answer(self, response: Response) -> None:
        """Takes the token out of an answer that quotes it back, before any of it reaches a message, a row or a file."""
        if len(self._auth.api_key) < _SHORTEST_KEY:
            return
        response._content = response.content.replace(self._auth.api_key.encode(), b"***")
        response.reason = self._scrub(response.reason or "")
        for name, value in response.headers.items():
            response.headers[name] = self._scrub(value)

    def _scrubbed_request_id(self, response: Response) -> str | None:
        return _request_id(self._scrub(response.headers.get("X-Request-Id", "")))

    def _scrub(self, text: str) -> str:
        return text.replace(self._auth.api_key, "***")

    def _worth_retrying(self, error: BaseException) -> bool:
        if self.pause.cancelled or not isinstance(error, TransientException):
            return False
        retry_after = getattr(error, "retry_after", None)
        return retry_after is None or retry_after <= self._retries.max_retry_wait

    def _delay(self, attempt: RetryCallState) -> float:
        """Seconds to sleep before the next attempt. A Retry-After is waited out by everyone, in the shared pause."""
        error = attempt.outcome.exception() if attempt.outcome else None
        retry_after: float | None = getattr(error, "retry_after", None)
        delay = self._jitter(attempt) if retry_after is None else retry_after
        number, of = attempt.attempt_number, self._retries.max_attempts
        logger.info("Attempt %s of %s failed, %.1f s before a next one: %s", number, of, delay, error)
        if retry_after is None:
            return delay
        self.pause.hold(delay)
        return 0.0


class _Session(Session):
    def get_redirect_target(self, resp: Response) -> None:
        """Looks at no `Location`: requests reads it even where it may not follow, and fails on a malformed one."""


class _BearerAuth(AuthBase):
    """Sets the header per request: dlt logs session headers at DEBUG, and a repr must not show the token."""

    def __init__(self, api_key: ApiKey) -> None:
        self.api_key = api_key

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.api_key}"
        return request


def _decoded(response: Response) -> Any:
    """The body's JSON; None when it is none."""
    try:
        return parse_json(response.content)
    except (NotJsonError, RefusedJsonError):
        return None


def _described(response: Response) -> str:
    content_type = response.headers.get("Content-Type", "no content type").split(";")[0][:100]
    return f"{len(response.content)} bytes of {content_type}"


def _member(envelope: Any, name: str) -> Mapping[str, Any]:
    member = envelope.get(name) if isinstance(envelope, dict) else None
    return member if isinstance(member, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _code(value: Any) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", value) else None


def _request_id(value: Any) -> str | None:
    """A request id: 8 to 64 of `[A-Za-z0-9_-]` by contract; a gateway's own may be a little freer."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:=/+-]{1,128}", value) else None


def _count(value: str | None) -> int | None:
    return int(value) if value and re.fullmatch(r"[0-9]{1,18}", value) else None


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, of several headers the longest; None when there is none, or none that can be read.

    requests joins them by commas. A date, whose first comma comes after its weekday, can be read without that.
    """
    waits = [_seconds(part.strip()) for part in (value or "").split(",")]
    return max((wait for wait in waits if wait is not None), default=None)


def _seconds(value: str) -> float | None:
    """Seconds until what a `Retry-After` says, which is a number of seconds or an HTTP date; None for neither."""
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    return max(0.0, round((at - datetime.now(timezone.utc)).total_seconds(), 3))


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
