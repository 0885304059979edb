"""providers.yaml: read, checked like a program, and handed on as one value."""

from proxy.config.check_accounts import is_loopback
from proxy.config.check_models import missing_surface
from proxy.config.loading import Loaded, find, load
from proxy.config.models import Config, Key, Limits, ModelEntry, Price, ProviderEntry, TargetEntry, Timeouts
from proxy.config.problems import Problem
from proxy.config.schema import schema
from proxy.config.secrets import Secret

__all__ = [
    "Config",
    "Key",
    "Limits",
    "Loaded",
    "ModelEntry",
    "Price",
    "Problem",
    "ProviderEntry",
    "Secret",
    "TargetEntry",
    "Timeouts",
    "find",
    "is_loopback",
    "load",
    "missing_surface",
    "schema",
]
