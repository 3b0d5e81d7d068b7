// Three cards: how much slower, how sure, how long.

import { evidenceBar, intervalPlot } from "./charts.js";
import { byId, el, say } from "./dom.js";
import { isOver, mainGuardrail, progress } from "./outlook.js";
import { clockText, duration, factor, inUnit, now, number, points } from "./words.js";

const LEANING = 1 / 3; // as in the service: from this part of the evidence on, it leans

export const difference = (one) =>
  one.difference_kind === "points" ? points(one.difference) : factor(one.difference);

const limitValue = (one) => (one.difference_kind === "points" ? points(one.limit) : factor(one.limit));

export const limit = (one) => {
  if (typeof one.limit !== "number") return "";
  return `${one.direction === "at_least" ? "≥" : "≤"}\u00a0${limitValue(one)}`;
};

export const beyondLimit = (one) =>
  typeof one.difference === "number" &&
  typeof one.limit === "number" &&
  (one.direction === "at_least" ? one.difference < one.limit : one.difference > one.limit);

export function showCards(status) {
  const main = mainGuardrail(status);
  const shown = main !== null && status.outlook !== "idle" && status.outlook !== "promoted";
  byId("cards").hidden = !shown;
  if (!shown) return;
  showSize(main);
  showEvidence(status, main);
  byId("time-card").hidden = isOver(status);
  if (!isOver(status)) showTime(status);
}

function question(one) {
  if (one.name === "interference") return "How much slower is stable itself?";
  if (one.value_unit === "seconds") return "How much slower?";
  if (one.name === "errors") return "How many more requests fail?";
  return "How do they compare?";
}

function showSize(one) {
  byId("size-title").textContent = `${question(one)} (${one.label ?? one.name})`;
  const big = typeof one.difference === "number" ? difference(one) : "No data yet";
  byId("size-big").textContent = big;
  byId("size-big").dataset.bad = String(beyondLimit(one));
  const other = one.canary ?? one.before;
  const pair =
    one.name === "interference"
      ? `${inUnit(one.stable, one.value_unit)} now, ${inUnit(one.before, one.value_unit)} before`
      : `${inUnit(one.canary, one.value_unit)} against ${inUnit(one.stable, one.value_unit)}`;
  say(byId("size-values"), typeof other === "number" ? pair : "");
  byId("size-plot").replaceChildren(...[intervalPlot(one)].filter(Boolean));
  const valid = one.interval ? `${capital(one.interval.text)}. The interval is valid at every evaluation.` : "";
  say(byId("size-text"), valid || (one.difference_kind ? `The limit is ${limitValue(one)}.` : ""));
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function showEvidence(status, main) {
  const { pass, fail } = progress(status);
  const failed = status.guardrails.some((one) => one.outcome === "fail");
  const leans = failed || status.guardrails.some((one) => one.standing === "leaning_to_fail");
  const text = failed
    ? "Failed"
    : leans
      ? `${whole(fail)} to a fail`
      : pass >= 1
        ? "Passed"
        : pass > 0
          ? `${whole(pass)} to a pass`
          : "No evidence yet";
  byId("sure-big").textContent = text;
  byId("sure-big").dataset.tone = leans ? "bad" : pass >= LEANING ? "good" : "quiet";
  byId("sure-plot").replaceChildren(evidenceBar({ pass: leans ? 0 : pass, fail: failed ? 1 : leans ? fail : 0 }, text));
  const { canary, stable } = main.samples ?? {};
  const from = typeof canary === "number" ? `From ${canary} canary and ${stable} stable ${main.unit ?? "requests"}. ` : "";
  const alpha = status.plan?.alpha;
  // The shadow step is no sequential test, and α does not bound its errors.
  const tested = (main.log_evidence?.bound ?? 0) > 0;
  const risk = tested && typeof alpha === "number" ? `A compliant canary is rolled back at most ${number(100 * alpha)} % of the time.` : "";
  say(byId("sure-text"), from + risk);
}

const whole = (fraction) => `${Math.min(99, Math.round(100 * fraction))} %`;

export function showTime(status) {
  if (isOver(status)) return;
  const next = status.next ?? {};
  const at = now();
  const rollback = next.action === "roll_back" ? next.rollback : null;
  const expected = rollback ? rollback.expected_at : next.expected_at;
  let big = "When the evidence is in";
  if (next.action === "person") big = "When you decide";
  else if (status.outlook === "blind") big = "Unknown";
  else if (typeof expected === "number") big = expected > at + 1 ? `≈ ${duration(expected - at)}` : "Any moment";
  else if (typeof next.earliest_at === "number" && next.earliest_at > at) big = `At least ${duration(next.earliest_at - at)}`;
  byId("time-big").textContent = big;
  let title = "How long until a decision?";
  if (next.action === "person") title = "How long until it goes on?";
  else if (rollback) title = "How long until the rollback?";
  byId("time-title").textContent = title;
  const conditions = next.conditions ?? [];
  byId("conditions").replaceChildren(...conditions.map(condition));
  // They are what ends the step, not what rolls back.
  say(byId("conditions-title"), rollback && conditions.length ? "If it recovers, the step ends with:" : "");
  let deadline = "";
  if (typeof next.deadline_at === "number") {
    const left = `${clockText(next.deadline_at)} (in ${duration(next.deadline_at - at)})`;
    const then = next.on_deadline === "abort" ? "it is rolled back" : "it pauses and waits for a person";
    deadline = `Without a decision by ${left}, ${then}.`;
  }
  say(byId("deadline"), deadline);
}

function condition(one) {
  const state = one.met ? "met" : "open";
  return el(
    "li",
    { class: `condition ${state}` },
    el("span", { class: "mark", "aria-hidden": "true" }, one.met ? "✓" : "○"),
    el("span", { class: "unseen" }, one.met ? "met: " : "not yet: "),
    one.text,
  );
}
