"""An answer without end, or too large for the memory, is refused while it is read."""

from __future__ import annotations

import gzip
import subprocess
import sys
import textwrap
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from supermetrics_connectors.api.client import SupermetricsClient
from supermetrics_connectors.api.listing import list_connectors
from supermetrics_connectors.exceptions import SupermetricsAnswerTooLargeError, SupermetricsConfigurationError
from supermetrics_connectors.settings import resolve
from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.scripted_server import Request, answer, serving

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
EMPTY = b'{"count": 0, "connectors": []}'
GZIP = {"Content-Encoding": "gzip"}


def client_of(base_url: str, token: str = "api_5ecret_5ecret", **given: Any) -> SupermetricsClient:
    """A client that would try again if that could help."""
    usual: dict[str, Any] = {"team_ids": [1], "api_key": token, "base_url": base_url, "request_backoff_factor": 0}
    return SupermetricsClient(resolve(**{**usual, **given}))


def zeros(size: int) -> bytes:
    """That many bytes of white space, packed a thousand to one."""
    return gzip.compress(b" " * MIB) * (size // MIB)


BODIES = {
    "plain": (b" " * 9 * MIB, {}),
    "a bomb": (zeros(1024 * MIB), GZIP),
    "a bomb of another kind": (zlib.compress(b" " * 256 * MIB), {"Content-Encoding": "deflate"}),
    "a bomb in a bomb": (gzip.compress(zeros(4096 * MIB)), {"Content-Encoding": "gzip, gzip"}),
    "an error": (b" " * 9 * MIB, {}),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_beyond_the_limit_is_refused_in_little_memory(sandbox: Sandbox, name: str) -> None:
    """One of a megabyte unpacked to a gigabyte; what counts is what comes out, and nothing is asked again."""
    body, headers = BODIES[name]
    sandbox.add_team(1)
    sandbox.fault(Fault(503 if name == "an error" else 200, body=body, headers=headers, request_id="req-0001"), times=9)
    with closing(client_of(sandbox.url, sandbox.token, max_answer_bytes=8 * MIB)) as client:
        tracemalloc.start()
        with pytest.raises(SupermetricsAnswerTooLargeError) as refused:
            list_connectors(client, 1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 32 * MIB
    assert len(sandbox.requests) == 1
    assert str(refused.value) == (
        f"HTTP {sandbox.requests[0].status} for team 1: The answer is larger than max_answer_bytes, 8388608 bytes. "
        "Nothing of this team was loaded or removed. (request_id=req-0001)"
    )


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_without_end_is_refused(chunked: bool) -> None:
    """Whichever way it does not end; time is not what ends it."""

    def script(_request: Request) -> Iterator[bytes]:
        yield answer(b"", Content_Length=None, **({"Transfer_Encoding": "chunked"} if chunked else {}))
        block = b" " * MIB
        while True:
            yield b"%x\r\n%s\r\n" % (MIB, block) if chunked else block

    with serving(script) as server:
        url = f"http://127.0.0.1:{server.port}"
        with (
            closing(client_of(url, max_answer_bytes=20 * MIB, request_timeout=3600)) as client,
            pytest.raises(SupermetricsAnswerTooLargeError),
        ):
            list_connectors(client, 1)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_body_of_the_limit_is_read(sandbox: Sandbox, pack: Callable[[bytes], bytes]) -> None:
    """And one of a byte more is not."""
    sandbox.add_team(1)
    headers = GZIP if pack is gzip.compress else {}
    sandbox.fault(Fault(body=pack(EMPTY + b" " * 300_000), headers=headers), times=2)
    size = len(EMPTY) + 300_000
    with closing(client_of(sandbox.url, sandbox.token, max_answer_bytes=size)) as client:
        assert list_connectors(client, 1).size == size
    with (
        closing(client_of(sandbox.url, sandbox.token, max_answer_bytes=size - 1)) as client,
        pytest.raises(SupermetricsAnswerTooLargeError),
    ):
        list_connectors(client, 1)


@pytest.mark.parametrize("value", [0, -1, "1", 2**40 + 1, float("nan")])
def test_a_limit_that_is_none_is_refused(value: object) -> None:
    """Before any request is made."""
    with pytest.raises(SupermetricsConfigurationError, match=r"^max_answer_bytes is .*, expected a number in 1 … "):
        client_of("http://127.0.0.1:1", max_answer_bytes=value)


OUT_OF_MEMORY = """
    import resource, sys
    from supermetrics_connectors.api.fetch import Fetcher
    from supermetrics_connectors.settings import resolve

    settings = resolve(
        team_ids=[1], api_key="api_5ecret_5ecret", base_url=sys.argv[1], on_team_error="skip", workers=1
    )
    fetcher = Fetcher(settings, str.lower)
    pages = int(open("/proc/self/statm").read().split()[0])
    used = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]) * 2**20, resource.RLIM_INFINITY))
    (listing,) = fetcher.listings(lambda _done, _message: None)
    print(type(listing.error).__name__, listing.error)
"""


@pytest.mark.parametrize("megabytes", [200, 700], ids=["while reading", "while decoding"])
def test_memory_that_runs_out_is_no_gateways_doing(sandbox: Sandbox, megabytes: int) -> None:
    """It says what to set, and fails the team like any other error.

    Between these two amounts lie some at which orjson 3.13 ends the process itself.
    """
    sandbox.add_team(1)
    sandbox.fault(Fault(body=b"[" + b"{}," * 50_000_000 + b"{}]"), times=9)
    command = [sys.executable, "-c", textwrap.dedent(OUT_OF_MEMORY), sandbox.url, str(megabytes)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)  # noqa: S603 - our own
    assert told.stdout.startswith(
        "SupermetricsAnswerTooLargeError Team 1: Memory ran out over an answer, of which there may be 1 at once: lower "
        "workers, or give the process more."
    )
    assert len(sandbox.requests) == 1
