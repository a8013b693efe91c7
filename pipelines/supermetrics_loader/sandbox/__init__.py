"""A local sandbox of the API, for trying the source out without a key."""

from .api import DEFAULT_TOKEN, Sandbox
from .responses import SandboxError
from .state import OMIT, Connector

__all__ = ["DEFAULT_TOKEN", "OMIT", "Connector", "Sandbox", "SandboxError"]
