"""What the cases of `outlook_cases` say, and the page of the documentation that shows it."""

from __future__ import annotations

import sys
from typing import Any

from service.rollout.controller.status import status
from service.rollout.outlook.outlook import Outlook
from service.rollout.state.record import RolloutRecord
from tests.support.outlook_cases import cases


def said(found: RolloutRecord) -> dict[str, Any]:
    """The record's status."""
    return status(found, recorded=True)


def every_sentence(found: RolloutRecord) -> list[str]:
    """Every text of the record's status that a person reads."""
    told = said(found)
    ahead = told["next"]
    return [
        told["headline"],
        *filter(None, [ahead["text"]]),
        *(condition["text"] for condition in ahead["conditions"]),
        *([ahead["rollback"]["text"]] if ahead["rollback"] else []),
        *(each["summary"] for each in told["guardrails"]),
        *(each["interval"]["text"] for each in told["guardrails"] if each["interval"]),
    ]


def page() -> str:
    """The page of the documentation with the headline and the next action of every case."""
    lines = [_PAGE]
    found = [(name, said(each)) for name, each in cases().items()]
    for outlook in Outlook:
        lines += [f"## {outlook}", ""]
        for name, told in found:
            if told["outlook"] == outlook:
                lines += [f"*{name[:1].upper()}{name[1:]}*", "", f"> {told['headline']}"]
                lines += ["> <br>Next: " + told["next"]["text"]] if told["next"]["text"] else []
                lines.append("")
    return "\n".join(lines)


_PAGE = """# What the status says

An example of every headline, with what happens next, by
[outlook](rollout-status.md#how-it-stands). The console, the command line, the audit log, webhooks
and the log all use these sentences.
"""

if __name__ == "__main__":
    sys.stdout.write(page())
