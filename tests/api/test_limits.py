"""A response without end, or too large for the memory, is refused while it is read."""

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
from dlt.common.exceptions import TerminalException

from supermetrics_connectors.api.client import SupermetricsClient
from supermetrics_connectors.api.listing import list_connectors
from supermetrics_connectors.exceptions import SupermetricsResponseTooLargeError
from tests.helpers.clients import KEY, settings
from tests.helpers.sandbox import Fault, Sandbox
from tests.helpers.scripted_server import Request, answer, serving

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
EMPTY = b'{"count": 0, "connectors": []}'
GZIP = {"Content-Encoding": "gzip"}


def client_of(base_url: str, token: str = KEY, **given: Any) -> SupermetricsClient:
    """A client that would retry if that could help."""
    return SupermetricsClient(settings(base_url=base_url, api_key=token, **given))


def zeros(size: int) -> bytes:
    """White space of this size, packed a thousand to one."""
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
    """A megabyte may unpack to a gigabyte; the limit applies to both, and the request is not repeated."""
    body, headers = BODIES[name]
    sandbox.add_team(1)
    sandbox.fault(Fault(503 if name == "an error" else 200, body=body, headers=headers, request_id="req-0001"), times=9)
    with closing(client_of(sandbox.url, sandbox.token, max_response_bytes=8 * MIB)) as client:
        tracemalloc.start()
        with pytest.raises(SupermetricsResponseTooLargeError) as refused:
            list_connectors(client, 1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 32 * MIB
    assert len(sandbox.requests) == 1
    assert isinstance(refused.value, TerminalException)
    assert str(refused.value) == (
        f"HTTP {sandbox.requests[0].status} for team 1: The response is larger than max_response_bytes, 8388608 bytes. "
        "Nothing of this team was loaded or removed. (request_id=req-0001)"
    )


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_without_end_is_refused(chunked: bool) -> None:
    """The time limit alone would end it much later."""

    def script(_request: Request) -> Iterator[bytes]:
        yield answer(b"", Content_Length=None, **({"Transfer_Encoding": "chunked"} if chunked else {}))
        block = b" " * MIB
        while True:
            yield b"%x\r\n%s\r\n" % (MIB, block) if chunked else block

    with serving(script) as server:
        url = f"http://127.0.0.1:{server.port}"
        with (
            closing(client_of(url, max_response_bytes=20 * MIB, request_timeout=3600)) as client,
            pytest.raises(SupermetricsResponseTooLargeError),
        ):
            list_connectors(client, 1)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_body_of_the_limit_is_read(sandbox: Sandbox, pack: Callable[[bytes], bytes]) -> None:
    """A body of one byte more is not."""
    sandbox.add_team(1)
    headers = GZIP if pack is gzip.compress else {}
    sandbox.fault(Fault(body=pack(EMPTY + b" " * 300_000), headers=headers), times=2)
    size = len(EMPTY) + 300_000
    with closing(client_of(sandbox.url, sandbox.token, max_response_bytes=size)) as client:
        assert list_connectors(client, 1).size == size
    with (
        closing(client_of(sandbox.url, sandbox.token, max_response_bytes=size - 1)) as client,
        pytest.raises(SupermetricsResponseTooLargeError),
    ):
        list_connectors(client, 1)


OUT_OF_MEMORY = """
    import resource, sys
    from supermetrics_connectors.api.fetch import Fetcher
    from tests.helpers.clients import settings

    fetcher = Fetcher(settings(base_url=sys.argv[1], on_team_error="skip", workers=1), str.lower)
    pages = int(open("/proc/self/statm").read().split()[0])
    used = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]) * 2**20, resource.RLIM_INFINITY))
    (listing,) = fetcher.listings(lambda _done, _message: None)
    print(type(listing.error).__name__, listing.error)
"""


@pytest.mark.parametrize("megabytes", [100, 350], ids=["while reading", "while decoding"])
def test_a_lack_of_memory_is_a_lasting_error_of_the_team(sandbox: Sandbox, megabytes: int) -> None:
    """The message says what to set, and the team fails like by any other error.

    Between these two amounts lie some at which orjson 3.13 ends the process itself.
    """
    sandbox.add_team(1)
    sandbox.fault(Fault(body=b"[" + b"{}," * 25_000_000 + b"{}]"), times=9)
    command = [sys.executable, "-c", textwrap.dedent(OUT_OF_MEMORY), sandbox.url, str(megabytes)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)  # noqa: S603 - our own
    assert ended.stdout.startswith(
        "SupermetricsResponseTooLargeError Team 1: Memory ran out over a response, of which there may be 1 at once: "
        "lower workers, or give the process more."
    )
    assert len(sandbox.requests) == 1
