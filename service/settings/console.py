"""Settings of the console: what it is called, and where it links to."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from service.settings.urls import HttpUrl
from service.settings.values import FrozenModel


def _valid_link(text: str) -> str:
    if HttpUrl(text).credentials is not None:
        raise ValueError("must not contain a user or password: every viewer sees the link")
    return text


Link = Annotated[str, Field(max_length=2000), AfterValidator(_valid_link)]
"""An http(s) address that people open; unlike an `HttpUrl` it is shown with its query."""


class ConsoleSettings(FrozenModel):
    """The console at `/console`. A link without an address is not shown."""

    name: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Name of this installation, shown at the top of the console.",
        examples=["staging"],
    )
    grafana_url: Link | None = Field(
        None,
        description="Address of the dashboard in Grafana, which the console links to.",
        examples=["http://127.0.0.1:3000/d/nextvec"],
    )
    runbook_url: Link | None = Field(
        None,
        description="Address of the runbook, which the console links to.",
        examples=["https://wiki.example/nextvec/runbook"],
    )
