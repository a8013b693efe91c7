"""The API key: how it is found, where it was set, and how it is kept out of logs."""

import inspect
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, ParamSpec, get_args, get_origin

from dlt.common.configuration import configspec
from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.configuration.utils import get_resolved_traces
from dlt.common.reflection.spec import spec_from_signature
from dlt.extract import DltResource, DltSource
from dlt.extract.decorators import DltSourceFactoryWrapper
from dlt.extract.reference import SourceFactory

API_KEY_VARIABLE = "SUPERMETRICS_API_KEY"
"""The environment variable of the vendor's own tools, the fallback for the key."""
MIN_KEY_CHARS = 8
"""The API has no shorter keys, and masking a shorter text would hide parts of ordinary words."""
SECTIONS = ("sources", "supermetrics_connectors", "supermetrics")
"""dlt's sections of the settings. dlt looks in all three, then in the first two, then in the first and the last."""
_PLACEHOLDER = re.compile(r"(?:bearer +)?(?:(?:api|otok)_)?(?:\.\.\.|…|<[^<>]*>)", re.IGNORECASE)
_P = ParamSpec("_P")


class ApiKey(str):
    """An API key or OAuth token that does not show itself in a repr, a traceback's locals or a log of arguments.

    Attributes:
        source: Where it was set, in words.
    """

    source: str = "the argument api_key"

    def __new__(cls, key: str, source: str | None = None) -> "ApiKey":
        """Makes a key; the source is that of `key` where none is given."""
        made = super().__new__(cls, key)
        made.source = source or (key.source if isinstance(key, ApiKey) else cls.source)
        return made

    def __repr__(self) -> str:
        return "'***'"

    @property
    def is_placeholder(self) -> bool:
        """Whether this is what examples have in the place of a key: `api_...`, or dlt's own `<configure me>`."""
        return _PLACEHOLDER.fullmatch(self) is not None


@configspec
class SupermetricsConfiguration(BaseConfiguration):
    """dlt's specification of the settings. `dlt_source` adds the fields, the arguments of `supermetrics_source`."""

    def on_partial(self) -> None:
        """Takes the key from the vendor's own variable when dlt's configuration has none."""
        self["api_key"] = self["api_key"] or _environment_key()
        if not self.is_partial():
            self.resolve()

    def on_resolved(self) -> None:
        """Hides the key from reprs, and prefers the vendor's own variable to an example's placeholder."""
        key = self["api_key"]
        if not isinstance(key, ApiKey):
            key = ApiKey(key, _configured_source(self))
        self["api_key"] = (_environment_key() or key) if key.is_placeholder else key


def _environment_key() -> ApiKey | None:
    key = os.environ.get(API_KEY_VARIABLE)
    return ApiKey(key, f"{API_KEY_VARIABLE} in the environment") if key else None


def _configured_source(config: SupermetricsConfiguration) -> str:
    """Describes where dlt found the key. dlt traces each value that it looks up, so an argument has no trace."""
    for found in reversed(get_resolved_traces().resolved_traces):
        if found.config is config and found.key == "api_key":
            if found.provider_name == EnvironProvider().name:
                return f"{EnvironProvider.get_key_name(found.key, *found.sections)} in the environment"
            section = f" under [{'.'.join(found.sections)}]" if found.sections else ""
            return f"api_key{section} in {found.provider_name}"
    return ApiKey.source


class _SourceFactory(DltSourceFactoryWrapper[_P, DltSource]):
    """Hides the key of a call before a frame of dlt holds it: error trackers record the variables of every frame."""

    def __call__(self, *args: Any, **kwargs: Any) -> DltSource:
        place = [*inspect.signature(self).parameters].index("api_key")
        args = (*args[:place], *map(_hidden, args[place : place + 1]), *args[place + 1 :])
        kwargs |= {"api_key": _hidden(kwargs["api_key"])} if "api_key" in kwargs else {}
        return super().__call__(*args, **kwargs)


def _hidden(key: Any) -> Any:
    return ApiKey(key) if isinstance(key, str) else key


def dlt_source(function: Callable[_P, Iterable[DltResource]]) -> SourceFactory[_P, DltSource]:
    """Makes a dlt source of a function, whose arguments are the settings: names, types and defaults.

    `dlt init` writes its slots to [sources.supermetrics_connectors], named for this folder. dlt reads settings there,
    and under the source's name, [sources.supermetrics].
    """
    signature = inspect.signature(function)
    arguments = [each.replace(annotation=_lookup_type(each.annotation)) for each in signature.parameters.values()]
    spec, _ = spec_from_signature(function, signature.replace(parameters=arguments), base=SupermetricsConfiguration)
    _, section, name = SECTIONS
    return _SourceFactory[_P]().clone(name=name, section=section, spec=spec).bind(function)


def _lookup_type(annotation: Any) -> Any:
    """Returns `str` for a Literal: dlt's own error for an unexpected text does not name the expected ones."""
    options = (annotation, *get_args(annotation))
    if not any(get_origin(option) is Literal for option in options):
        return annotation
    return str | None if type(None) in options else str
