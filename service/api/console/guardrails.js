// The guardrails as a table, the nearest to a verdict first, each with its arithmetic.

import { beyondLimit, difference, limit } from "./cards.js";
import { evidenceBar } from "./charts.js";
import { byId, el, facts } from "./dom.js";
import { factor, inUnit, number, seconds, share } from "./words.js";

const STANDINGS = {
  passed: ["✓ passed", "good"],
  leaning_to_pass: ["leaning to pass", "good"],
  collecting: ["collecting", "quiet"],
  watching: ["watching", "quiet"],
  no_data: ["no data yet", "quiet"],
  leaning_to_fail: ["▲ leaning to fail", "bad"],
  failed: ["✗ failed", "bad"],
  error: ["! cannot be read", "bad"],
};
const EFFECTS = { must_pass: "must pass", can_roll_back: "can roll back" };
const ORDER = ["failed", "error", "leaning_to_fail", "leaning_to_pass", "collecting", "watching", "no_data", "passed"];
const COLUMNS = 6;

const rank = (one) => {
  const place = ORDER.indexOf(one.standing);
  const near = Math.max(one.progress?.pass ?? 0, one.progress?.fail ?? 0);
  // Undecided ones are ordered by how near they are, whatever they lean to.
  return [place < 0 ? ORDER.length : ["leaning_to_pass", "collecting", "watching"].includes(one.standing) ? 3 : place, -near];
};

export const sorted = (guardrails) =>
  [...guardrails].sort((a, b) => {
    const [one, other] = [rank(a), rank(b)];
    return one[0] - other[0] || one[1] - other[1];
  });

export function showGuardrails(guardrails) {
  byId("guardrail-card").hidden = guardrails.length === 0;
  const body = byId("guardrails");
  const rows = new Map([...body.querySelectorAll("tr.guardrail")].map((row) => [row.dataset.name, row]));
  const wanted = sorted(guardrails).flatMap((one) => {
    const row = rows.get(one.name) ?? newRow(one.name);
    fillRow(row, one);
    fillMore(row.more, one);
    return [row, row.more];
  });
  // Moving a row would take the focus from a button in it.
  if (wanted.length !== body.children.length || wanted.some((node, i) => body.children[i] !== node)) {
    const focused = document.activeElement;
    body.replaceChildren(...wanted);
    if (body.contains(focused)) focused.focus();
  }
}

function newRow(name) {
  const id = `arithmetic-${name}`;
  const toggle = el("button", { type: "button", class: "plain more", "aria-expanded": "false", "aria-controls": id }, "Arithmetic");
  const row = el("tr", { class: "guardrail", "data-name": name, role: "row" });
  for (const place of ["name", "now", "canary", "stable", "difference", "evidence"]) {
    row.append(place === "name" ? el("th", { scope: "row", role: "rowheader", class: place }) : el("td", { role: "cell", class: place }));
  }
  row.more = el("tr", { id, role: "row", class: "arithmetic", hidden: "" }, el("td", { colspan: COLUMNS, role: "cell" }));
  row.toggle = toggle;
  toggle.addEventListener("click", () => {
    row.more.hidden = !row.more.hidden;
    toggle.setAttribute("aria-expanded", String(!row.more.hidden));
  });
  return row;
}

function fillRow(row, one) {
  const [standing, tone] = STANDINGS[one.standing] ?? [one.standing ?? one.outcome, "quiet"];
  const cell = (place) => row.querySelector(`.${place}`);
  cell("name").replaceChildren(el("b", {}, one.label ?? one.name), el("small", {}, EFFECTS[one.effect] ?? ""));
  row.toggle.setAttribute("aria-label", `Arithmetic of ${one.label ?? one.name}`);
  cell("now").replaceChildren(el("span", { class: "pill", "data-tone": tone }, standing));
  const [canary, stable] = one.name === "interference" ? [null, one.stable] : [one.canary, one.stable];
  const value = (label, figure) => [el("span", { class: "label" }, label), typeof figure === "number" ? inUnit(figure, one.value_unit) : "–"];
  cell("canary").replaceChildren(...value("canary ", canary));
  cell("stable").replaceChildren(...value("stable ", stable));
  const own = one.name === "interference" ? " its own before" : "";
  const figure = typeof one.difference === "number" ? `${difference(one)}${own}` : "–";
  cell("difference").replaceChildren(
    el("b", { "data-bad": String(beyondLimit(one)) }, figure),
    one.difference_kind ? ` (${limit(one)})` : "",
    one.interval ? el("small", {}, range(one)) : "",
  );
  const label = evidenceText(one);
  // The button stays in place, so that it keeps the focus.
  const evidence = cell("evidence");
  if (!evidence.contains(row.toggle)) evidence.replaceChildren(el("span", { class: "bar-place" }), row.toggle);
  evidence.firstChild.replaceChildren(evidenceBar(one.progress ?? {}, label, { faint: !["leaning_to_fail", "failed"].includes(one.standing) }));
}

function range({ interval: { low, high } }) {
  if (low === null) return `up to ${factor(high)}`;
  return high === null ? `${factor(low)} or more` : `${factor(low)} to ${factor(high)}`;
}

function evidenceText(one) {
  const { pass = 0, fail = 0 } = one.progress ?? {};
  if (pass <= 0 && fail <= 0) return "no evidence";
  return fail >= pass ? `${Math.round(100 * fail)} % of the way to a fail` : `${Math.round(100 * pass)} % of the way to a pass`;
}

const PLAIN = new Set([
  ...["name", "outcome", "required", "message", "ratio", "threshold", "log_evidence", "samples", "p95_seconds", "strata", "unit"],
  ...["label", "summary", "standing", "effect", "stable", "canary", "before", "value_unit", "difference", "difference_kind"],
  ...["limit", "direction", "interval", "progress"],
]);

function fillMore(more, one) {
  const { fail, pass, bound, pass_bound: passBound } = one.log_evidence ?? {};
  const pairs = [[one.unit === "keys" ? "Keys" : "Samples", `canary ${one.samples?.canary ?? "–"} · stable ${one.samples?.stable ?? "–"}`]];
  // The shadow step is not a sequential test and collects no evidence.
  if (bound > 0) {
    pairs.push(["ln E, fail", `${number(fail)} of ${number(bound)}`], ["ln E, pass", `${number(pass)} of ${number(passBound ?? bound)}`]);
  }
  if (one.interval) pairs.push(["Confidence of the interval", share(one.interval.confidence)]);
  pairs.push(...others(one));
  const list = el("dl", { class: "facts" });
  facts(list, pairs);
  const table = one.strata?.length ? modes(one) : null;
  more.firstChild.replaceChildren(el("p", {}, one.summary ?? ""), el("p", { class: "quiet" }, one.message), list, ...(table ? [table] : []));
}

// Other figures of a guardrail: numbers, and pairs of canary and stable.
function others(one) {
  const shown = (name, value) => (/_rate$|^hit_at_/.test(name) && typeof value === "number" ? share(value) : number(value));
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

function modes(one) {
  const head = ["Mode", "τ", "Canary", "Stable", "Slow canary", "Slow stable", "P95 canary", "P95 stable"];
  const row = (stratum) => [
    stratum.mode,
    seconds(stratum.tau_seconds),
    stratum.samples?.canary ?? "–",
    stratum.samples?.stable ?? "–",
    stratum.slow?.canary ?? "–",
    stratum.slow?.stable ?? "–",
    seconds(stratum.p95_seconds?.canary),
    seconds(stratum.p95_seconds?.stable),
  ];
  const table = el(
    "table",
    {},
    el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...one.strata.map((each) => el("tr", {}, ...row(each).map((text) => el("td", {}, text))))),
  );
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${one.label ?? one.name} by mode` }, table);
}
