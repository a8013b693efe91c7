"""A local stand-in for the API, to the contract: for trying the source out without a key, and for tests."""

from .api import DEFAULT_TOKEN, ReceivedRequest, Sandbox, usage
from .faults import Fault, SandboxError
from .state import MAX_CONNECTORS, OMIT, Connector

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
