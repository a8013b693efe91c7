"""A local stand-in for the API, to the contract: for trying the source out without a key, and for tests."""

from .server import (
    DEFAULT_TOKEN,
    MAX_CONNECTORS,
    OMIT,
    Connector,
    Fault,
    ReceivedRequest,
    Sandbox,
    SandboxError,
    usage,
)

__all__ = [
    "DEFAULT_TOKEN",
    "MAX_CONNECTORS",
    "OMIT",
    "Connector",
    "Fault",
    "ReceivedRequest",
    "Sandbox",
    "SandboxError",
    "usage",
]
