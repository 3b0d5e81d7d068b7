// Renders the status: versions, progress of the plan, and each guardrail's evidence.

import { durationChart, evidenceChart } from "./charts.js";
import { mayAsk, VERBS } from "./dialog.js";
import { ago, byId, el, facts, milliseconds, number, percent, say } from "./dom.js";

const SIGNS = { pass: "✓", fail: "✗", inconclusive: "…", error: "!" };
const PHASE_SIGNS = { Healthy: "✓", RolledBack: "↩", Paused: "⏸", Aborting: "✗" };
const PLAIN = new Set(["name", "outcome", "required", "message", "ratio", "threshold", "log_evidence", "samples", "p95_seconds", "strata"]);

export function showStatus(status, role) {
  document.title = `${status.phase} · nextvec rollout`;
  const phase = byId("phase");
  phase.dataset.phase = status.phase;
  phase.replaceChildren(
    el("span", { "aria-hidden": "true", class: "sign" }, PHASE_SIGNS[status.phase] ?? "●"),
    status.phase,
  );
  say(byId("message"), status.message || "No rollout yet.");
  showWarnings(status);
  showSplit(status);
  showSteps(status);
  showShadow(status.shadow);
  showVerbs(status, role);
}

export function showSince(status, now) {
  const parts = status.since ? [`${status.phase} for ${ago(now - status.since)}`] : [];
  if (status.looked_at && status.step_since) parts.push(`last evaluated ${ago(now - status.looked_at)} ago`);
  say(byId("since"), parts.join(" · "));
}

function showWarnings(status) {
  const found = [];
  if (!status.recorded) {
    found.push("The state cannot be written; the service continues from memory. Free disk space, or check the path of the database.");
  }
  for (const miss of status.gate?.missed ?? []) found.push(`Gate overridden: ${miss.message}`);
  byId("warnings").replaceChildren(...found.map((text) => el("p", { class: "warning" }, text)));
}

function showSplit(status) {
  const set = status.weight.set_percent;
  const split = byId("split");
  split.setAttribute("aria-label", `Weight: canary ${percent(set)}, stable ${percent(100 - set)}`);
  byId("split-stable").style.flexGrow = 100 - set;
  byId("split-canary").style.flexGrow = set;
  byId("split-canary").hidden = set === 0;
  const pairs = [["Stable", status.stable], ["Canary", status.canary]];
  if (status.step !== null) {
    pairs.push(["Weight", percent(set)]);
    if (set > 0) pairs.push(["Observed weight", percent(status.weight.actual_percent)]);
    pairs.push(["Step", `${status.step + 1} of ${status.steps}`]);
  }
  if ((status.attempt ?? 1) > 1) pairs.push(["Attempt", status.attempt]);
  if (status.previous) pairs.push(["Previous stable", status.previous]);
  facts(byId("facts"), pairs);
}

function showSteps(status) {
  const steps = status.step === null ? [] : (status.plan?.steps ?? []);
  byId("steps").hidden = steps.length === 0;
  byId("steps").replaceChildren(
    ...steps.map((step, i) => {
      const state = i < status.step ? "done" : i === status.step ? "present" : "ahead";
      const words = [step.shadow ? "shadow" : percent(step.weight)];
      if (step.approval) words.push("approval");
      const current = state === "present" ? "step" : null;
      return el("li", { class: state, "aria-current": current }, words.join(", "));
    }),
  );
}

function showShadow(shadow) {
  byId("shadow").hidden = !shadow;
  if (!shadow) return;
  const { answered, failed, dropped } = shadow.copies;
  const pairs = [
    ["Copies", `${answered} answered · ${failed} failed · ${dropped} dropped`],
    ["Mean cosine with stable", number(shadow.agreement)],
  ];
  for (const one of shadow.inference) {
    const { canary, stable } = one.p95_seconds;
    const p95 = `canary ${milliseconds(canary)} · stable ${milliseconds(stable)}`;
    pairs.push([`P95 in the engine, ${one.mode}`, `${p95} · ratio ${number(one.ratio)}, ${one.pairs} pairs`]);
  }
  facts(byId("shadow-facts"), pairs);
}

function showVerbs(status, role) {
  const legal = new Set(status.legal);
  const abort = byId("abort");
  abort.disabled = !legal.has("abort") || !mayAsk("abort", role);
  const names = [...new Set([...Object.keys(VERBS), ...status.legal])].filter((v) => v !== "abort");
  const place = byId("verbs");
  for (const verb of names) {
    let button = place.querySelector(`[data-verb="${CSS.escape(verb)}"]`);
    if (!button) {
      button = el("button", { type: "button", "data-verb": verb }, verb.charAt(0).toUpperCase() + verb.slice(1));
      place.append(button);
    }
    button.disabled = !legal.has(verb) || !mayAsk(verb, role);
  }
  const above = status.legal.filter((verb) => !mayAsk(verb, role));
  const notes = [];
  if (above.length) notes.push(`Your role (${role}) does not allow: ${above.join(", ")}.`);
  if (!status.legal.length) notes.push("No actions right now: the service is changing the split.");
  say(byId("verbs-note"), notes.join(" "));
}

// `points` maps a guardrail's name to its points so far.
export function showGuardrails(guardrails, points) {
  byId("no-guardrails").hidden = guardrails.length > 0;
  const place = byId("guardrails");
  const cards = new Map([...place.children].map((card) => [card.dataset.name, card]));
  for (const one of guardrails) {
    const card = cards.get(one.name) ?? newCard(one.name, place);
    cards.delete(one.name);
    fillCard(card, one, points.get(one.name) ?? []);
  }
  for (const gone of cards.values()) gone.remove();
}

function newCard(name, place) {
  const card = el(
    "article",
    { class: "card guardrail", "data-name": name },
    el("h3", {}, name, " ", el("span", { class: "outcome" })),
    el("p", { class: "message" }),
    el("figure", { class: "evidence-chart" }, el("figcaption", {}, "Evidence, as a share of what a verdict needs"), el("div", { class: "plot" })),
    el("figure", { class: "duration-chart" }, el("figcaption", {}, "P95 of the mode with the most evidence"), el("div", { class: "plot" })),
    el("dl", { class: "facts" }),
    el("details", {}, el("summary", {}, "By mode"), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${name} by mode` })),
  );
  place.append(card);
  return card;
}

function fillCard(card, one, points) {
  const outcome = card.querySelector(".outcome");
  outcome.dataset.outcome = one.outcome;
  outcome.textContent = `${SIGNS[one.outcome] ?? ""} ${one.outcome}`;
  say(card.querySelector(".message"), one.message);
  const { fail, pass, bound, pass_bound: passBound } = one.log_evidence;
  const pairs = [[one.unit === "keys" ? "Keys" : "Samples", `canary ${one.samples.canary} · stable ${one.samples.stable}`]];
  // The shadow step is not a sequential test and collects no evidence.
  if (bound > 0) {
    pairs.unshift(
      ["ln E, fail", `${number(fail)} of ${number(bound)}`],
      ["ln E, pass", `${number(pass)} of ${number(passBound ?? bound)}`],
    );
  }
  if (typeof one.ratio === "number") pairs.push(["Ratio", `${number(one.ratio)}, limit ${number(one.threshold)}`]);
  if (one.p95_seconds) {
    pairs.push(["P95", `canary ${milliseconds(one.p95_seconds.canary)} · stable ${milliseconds(one.p95_seconds.stable)}`]);
  }
  if (one.required === false) pairs.push(["Required", "no: it can roll back, but no step waits for it"]);
  pairs.push(...others(one));
  facts(card.querySelector("dl"), pairs);
  plot(card.querySelector(".evidence-chart"), points.length && bound > 0 ? evidenceChart(points) : null);
  plot(card.querySelector(".duration-chart"), one.p95_seconds ? durationChart(points) : null);
  showModes(card.querySelector("details"), one.strata ?? []);
}

function plot(figure, drawing) {
  figure.hidden = !drawing;
  if (drawing) figure.querySelector(".plot").replaceChildren(drawing);
}

// Other figures of a guardrail: numbers, and pairs of canary and stable.
function others(one) {
  const shown = (name, value) =>
    /_rate$|^hit_at_/.test(name) && typeof value === "number" ? percent(100 * value) : number(value);
  return Object.entries(one)
    .filter(([name]) => !PLAIN.has(name))
    .flatMap(([name, value]) => {
      const term = name.replaceAll("_", " ");
      if (typeof value === "number") return [[term, number(value)]];
      if (value && typeof value === "object" && "canary" in value && "stable" in value) {
        return [[term, `canary ${shown(name, value.canary)} · stable ${shown(name, value.stable)}`]];
      }
      return [];
    });
}

function showModes(details, strata) {
  details.hidden = strata.length === 0;
  if (!strata.length) return;
  const head = ["Mode", "τ", "Canary", "Stable", "Slow canary", "Slow stable", "P95 canary", "P95 stable"];
  const row = (one) => [
    one.mode,
    milliseconds(one.tau_seconds),
    one.samples?.canary ?? "–",
    one.samples?.stable ?? "–",
    one.slow?.canary ?? "–",
    one.slow?.stable ?? "–",
    milliseconds(one.p95_seconds?.canary),
    milliseconds(one.p95_seconds?.stable),
  ];
  details.querySelector(".scroll").replaceChildren(
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, ...strata.map((one) => el("tr", {}, ...row(one).map((text) => el("td", {}, text))))),
    ),
  );
}
