"""Is the canary fit? The verdict, when it falls, the sizes, and how they got there."""

from __future__ import annotations

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import (
    GREY,
    GUARDRAIL_COLOURS,
    HUES,
    RED,
    banded,
    dashed,
    instant_query,
    limited,
    logarithmic,
    query,
    stacked,
    stat_panel,
    state_timeline,
    table_panel,
    time_series,
    traced_query,
    word_panel,
)
from deploy.grafana.promql import (
    FAULTS,
    LIMITED_P95,
    RATIO_LIMIT,
    SERVED,
    answered_quantile,
    request_rate,
)

OUTLOOKS = {
    "idle": ("No rollout", GREY),
    "preparing": ("Loading", "blue"),
    "warming_up": ("Warming up", "blue"),
    "too_early": ("Too early to tell", "blue"),
    "looks_good": ("Looks good", "green"),
    "leaning_to_fail": ("Leaning to fail", "red"),
    "needs_you": ("Needs you", "orange"),
    "paused": ("Paused by a person", "orange"),
    "blind": ("Blind: no evidence", "orange"),
    "rolled_back": ("Rolled back", "dark-red"),
    "stopped": ("Stopped by a person", GREY),
    "promoted": ("Promoted", "green"),
}
"""Each outlook of the status in words, on its colour."""

PHASES = {
    "Healthy": "green",
    "Pending": GREY,
    "WarmingUp": "super-light-blue",
    "Progressing": "blue",
    "Paused": "yellow",
    "Promoting": "light-green",
    "Aborting": "dark-red",
    "RolledBack": "red",
}

_WITH_CANARY = ' and on () max(nextvec_rollout_weight_ratio{variant="canary"}) > 0'
_KEY_SHARE = "nextvec_online_key_share"
_SMALL = 6
"""Height of the panels that need little room."""


def panels() -> list[Builder[Panel]]:
    return [*_answers(), *_sizes(), *_course(), *_events()]


def _answers() -> list[Builder[Panel]]:
    return [
        word_panel(
            "Verdict",
            5,
            "How the rollout stands, in the words of the console and of `nextvec rollout status`, "
            "which also say why. It comes from sequential tests, so it is right at any moment.",
            "max by (outlook) (nextvec_rollout_outlook_info == 1)",
            OUTLOOKS,
        ),
        stat_panel(
            "Time to a decision",
            5,
            "At the present pace, and at the earliest. Without a decision before the deadline, "
            "the rollout pauses or is aborted, as its plan says.",
            [
                _until("expected", "expected"),
                _until("earliest", "earliest"),
                _until("deadline", "deadline"),
            ],
        ).unit("dtdurations"),
        stat_panel(
            "P95, canary over stable",
            5,
            "The guardrail's estimate in this step, and the ends of its interval, which is valid "
            "at every evaluation. A missing end has no bound yet. Absent without a canary in "
            "traffic.",
            [
                _interval_end("low", "at least"),
                instant_query(
                    f'max(nextvec_guardrail_ratio{{guardrail="latency"}}){_WITH_CANARY}', "estimate"
                ),
                _interval_end("high", "at most"),
            ],
        ).decimals(2),
        stat_panel(
            "Errors",
            3,
            "Errors and timeouts as a share of the requests that reached the engine, over the "
            "chosen window.",
            [instant_query(_error_share(f'variant="{variant}"'), variant) for variant in HUES],
            colours=HUES,
        ).unit("percentunit"),
        stat_panel(
            "Quality, Hit@5",
            3,
            "The share of predictions whose true next vector was among the five nearest, each "
            "routing key counted once, over the chosen window.",
            [
                instant_query(
                    f'sum(increase({_KEY_SHARE}_sum{{variant="{variant}"}}[$window]))'
                    f' / sum(increase({_KEY_SHARE}_count{{variant="{variant}"}}[$window]) > 0)',
                    variant,
                )
                for variant in HUES
            ],
            colours=HUES,
        ).unit("percentunit"),
        stat_panel(
            "Canary weight",
            3,
            "The share of new requests that the split sends to the canary.",
            [instant_query('max(nextvec_rollout_weight_ratio{variant="canary"})', "canary")],
        ).unit("percentunit"),
    ]


def _error_share(variant: str) -> str:
    faults, served = (request_rate(f"{kind}, {variant}", "variant") for kind in (FAULTS, SERVED))
    return f"{faults} / ({served} > 0)"


def _until(bound: str, name: str) -> prometheus.Dataquery:
    series = f'max(nextvec_rollout_decision_timestamp_seconds{{bound="{bound}"}})'
    return instant_query(f"clamp_min({series} - time(), 0)", name)


def _interval_end(end: str, name: str) -> prometheus.Dataquery:
    series = f'nextvec_guardrail_ratio_interval{{guardrail="latency", end="{end}"}}'
    return instant_query(f"max({series}){_WITH_CANARY}", name)


def _sizes() -> list[Builder[Panel]]:
    return [
        dashed(
            logarithmic(
                time_series(
                    "P95 per variant",
                    12,
                    "95th percentile of the duration of answered requests over the chosen window; "
                    "the dashed line is what the plan allows, by default 1.2 × stable. Variants "
                    "share the machine, so a slow canary can slow down stable too.",
                    [
                        traced_query(answered_quantile(), "{{variant}} P95"),
                        query(LIMITED_P95, "limit"),
                    ],
                    {"^stable": HUES["stable"], "^canary": HUES["canary"], "^limit": RED},
                    from_zero=False,
                )
            ),
            "^limit",
        ),
        dashed(
            banded(
                time_series(
                    "P95 ratio with its interval, canary over stable",
                    12,
                    "The guardrails' estimates in this step, and the latency guardrail's interval: "
                    "the ratios that its test has not rejected. The canary passes when the whole "
                    "interval is below the dashed line, the plan's limit, and fails when it is "
                    "above. Absent without a canary in traffic.",
                    [
                        query(
                            "max by (guardrail) (nextvec_guardrail_ratio"
                            f'{{guardrail=~"latency|inference"}}){_WITH_CANARY}',
                            "{{guardrail}}",
                        ),
                        query(f"{_bound('high')}{_WITH_CANARY}", "at most"),
                        query(f"{_bound('low')}{_WITH_CANARY}", "at least"),
                        query(RATIO_LIMIT, "limit"),
                    ],
                    {
                        **GUARDRAIL_COLOURS,
                        "^at ": GUARDRAIL_COLOURS["latency"],
                        "^limit": RED,
                    },
                    from_zero=False,
                ).decimals(2),
                "at most",
                "at least",
            ),
            "^limit",
        ),
    ]


def _bound(end: str) -> str:
    return f'max(nextvec_guardrail_ratio_interval{{guardrail="latency", end="{end}"}})'


def _course() -> list[Builder[Panel]]:
    return [
        limited(
            time_series(
                "Evidence of each guardrail, from pass to fail",
                12,
                "A line at 1 is a fail and rolls back; a line at -1 is a pass; at 0 there is no "
                "evidence. It is ln E of the sequential test as a share of its bound. A flat line "
                "while the canary has traffic means that the test is still learning stable's P95 "
                "(it needs 1,000 stable requests) or that the guardrail does not run.",
                [
                    query(
                        f"max by (guardrail) ({_evidence('fail')})"
                        f" - max by (guardrail) ({_evidence('pass')})",
                        "{{guardrail}}",
                    )
                ],
                GUARDRAIL_COLOURS,
                from_zero=False,
            )
            .decimals(2)
            .min(-1)
            .max(1),
            1,
        ),
        stacked(
            time_series(
                "Weight per variant",
                12,
                "The split of new requests, stacked to 100 %. A step up comes from the plan or a "
                "person. A fall of the canary to 0 is an abort or a rollback.",
                [query("max by (variant) (nextvec_rollout_weight_ratio)", "{{variant}}")],
            )
            .unit("percentunit")
            .max(1)
        ),
    ]


def _evidence(side: str) -> str:
    """A guardrail's evidence for one side, 0..1; absent for a guardrail that is off."""
    evidence = f'nextvec_guardrail_log_evidence{{side="{side}"}}'
    bound = f'nextvec_guardrail_log_bound{{side="{side}"}}'
    share = f"clamp({evidence} / clamp_min({bound}, 0.001), 0, 1) * ({bound} > bool 0)"
    on = 'nextvec_guardrail_log_bound{side="fail"} > 0'
    return f"{share} and on (instance, guardrail) {on}"


def _events() -> list[Builder[Panel]]:
    return [
        state_timeline(
            "Phase",
            12,
            "One row for each phase of the rollout. The annotations name the guardrail that "
            "rolled back and the reasons of other changes.",
            [query("max by (phase) (nextvec_rollout_info == 1)", "{{phase}}")],
            {f"^{phase}$": colour for phase, colour in PHASES.items()},
        ).height(_SMALL),
        stat_panel(
            "Versions",
            4,
            "The version in service, and the one on trial.",
            [
                instant_query(
                    "max by (stable, canary) (nextvec_rollout_info == 1)",
                    "{{stable}} → {{canary}}",
                )
            ],
            names=True,
        ).height(_SMALL),
        stat_panel(
            "Last reason",
            4,
            "Why the rollout last changed its phase or step. A final phase keeps the reason that "
            "led to it.",
            [instant_query("max by (reason) (nextvec_rollout_reason_info == 1)", "{{reason}}")],
            names=True,
        ).height(_SMALL),
        table_panel(
            "Alerts firing",
            4,
            "The alerts that fire now; an empty table is good. The runbook, linked at the top of "
            "the dashboard, explains each of them.",
            'max by (alertname, severity) (ALERTS{alertstate="firing"})',
        ).height(_SMALL),
    ]
