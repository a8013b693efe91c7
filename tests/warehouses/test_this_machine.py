"""No test connects to a real warehouse, even if an emulator is missing."""

from __future__ import annotations

import socket

import pytest


def test_no_other_host_is_reached() -> None:
    """Neither by its address nor by its name."""
    with pytest.raises(AssertionError, match=r"would have reached '192\.0\.2\.1'"):
        socket.create_connection(("192.0.2.1", 443), timeout=1)
    with pytest.raises(AssertionError, match=r"would have reached .account"):
        socket.getaddrinfo("account.snowflakecomputing.com", 443)
