"""All settings: a file and the environment, read once at start, then immutable.

| module | has |
|---|---|
| `values` | types of values: secrets, seconds, bytes |
| `urls` | types of values: addresses of servers, with hidden credentials |
| `access`, `console`, `fleet`, `http`, `rollout`, `rpc`, `sessions`, `telemetry` | settings |
| `groups` | further groups, and the tree of all |
| `catalog` | every setting by its key and its variable |
| `config_file`, `environment` | what the file and the environment set |
| `loader` | the settings from all sources, and the source of each value |
"""

from service.settings.access import AdminSettings, CallerSettings, ProxySettings, TlsSettings
from service.settings.console import ConsoleSettings
from service.settings.fleet import FleetSettings
from service.settings.groups import (
    EngineSettings,
    FeedbackSettings,
    LimitSettings,
    PrefixCacheSettings,
    Settings,
)
from service.settings.http import HttpSettings
from service.settings.rollout import FloorSettings, RolloutSettings, WebhookSettings
from service.settings.rpc import RpcSettings
from service.settings.sessions import SessionSettings

__all__ = [
    "AdminSettings",
    "CallerSettings",
    "ConsoleSettings",
    "EngineSettings",
    "FeedbackSettings",
    "FleetSettings",
    "FloorSettings",
    "HttpSettings",
    "LimitSettings",
    "PrefixCacheSettings",
    "ProxySettings",
    "RolloutSettings",
    "RpcSettings",
    "SessionSettings",
    "Settings",
    "TlsSettings",
    "WebhookSettings",
]
