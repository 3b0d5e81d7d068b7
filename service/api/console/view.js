// Renders a status: banner, cards, steps, guardrails, shadow step and actions.

import { showBanner } from "./banner.js";
import { showCards, showTime } from "./cards.js";
import { CHARTS, lineChart } from "./charts.js";
import { byId, facts, say } from "./dom.js";
import { showGuardrails } from "./guardrails.js";
import { isOver } from "./outlook.js";
import { showSteps } from "./steps.js";
import { showVerbs } from "./verbs.js";
import { clockText, duration, number, now, seconds } from "./words.js";

export function showStatus(status, role, live) {
  showBanner(status);
  showCards(status);
  showSteps(status);
  showShadow(status);
  showGuardrails(status.guardrails ?? []);
  showVerbs(status, role, live);
  showClock(status);
}

// What changes by itself from second to second.
export function showClock(status) {
  const parts = status.since ? [`${status.phase} for ${duration(now() - status.since)}, since ${clockText(status.since)}`] : [];
  if (status.looked_at && !isOver(status)) parts.push(`last evaluated ${duration(now() - status.looked_at)} ago`);
  say(byId("since"), parts.join(" · "));
  showTime(status);
}

function showShadow(status) {
  const { shadow } = status;
  byId("shadow").hidden = !shadow;
  if (!shadow) return;
  const copying = status.plan?.steps?.[status.step]?.shadow;
  say(
    byId("shadow-text"),
    copying
      ? "The canary runs on copies of stable's requests. Callers never see its answers."
      : "Before it had callers, the canary ran on copies of stable's requests.",
  );
  const { answered, failed, dropped } = shadow.copies;
  const pairs = [
    ["Copies", `${answered} answered · ${failed} failed · ${dropped} dropped`],
    ["Mean cosine with stable", number(shadow.agreement)],
  ];
  for (const one of shadow.inference) {
    const { canary, stable } = one.p95_seconds;
    const p95 = `canary ${seconds(canary)} · stable ${seconds(stable)}`;
    pairs.push([`P95 in the engine, ${one.mode}`, `${p95} · ratio ${number(one.ratio)}, ${one.pairs} pairs`]);
  }
  facts(byId("shadow-facts"), pairs);
}

// `marks` are the times of transitions, in epoch seconds.
export function showCharts(points, marks) {
  byId("chart-card").hidden = points.length < 2;
  if (points.length < 2) return;
  byId("charts").replaceChildren(...CHARTS.map((chart) => lineChart(chart, points, marks)));
}
