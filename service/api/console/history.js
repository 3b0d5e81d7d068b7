// The audit log, newest first.

import { byId, el } from "./dom.js";
import { number, time } from "./words.js";

export function showHistory(rows, limit) {
  byId("history-card").hidden = rows.length === 0;
  byId("history").replaceChildren(...rows.map(row));
  byId("more").hidden = rows.length < limit;
}

function row(one) {
  const why = el("td", { role: "cell", class: "why" }, one.headline || one.message);
  if (one.note) why.append(el("q", { class: "note" }, one.note));
  if (one.evidence) why.append(details(one));
  const move = one.from && one.from !== one.to ? `${one.from} → ${one.to}` : one.to;
  return el(
    "tr",
    { role: "row" },
    el("td", { class: "nowrap", role: "cell" }, time(one.at)),
    el("td", { role: "cell" }, one.actor),
    el("td", { class: "nowrap", role: "cell" }, move),
    el("td", { class: "nowrap", role: "cell" }, `${number(one.weight_percent, 4)} %`),
    why,
  );
}

function details(one) {
  return el("details", {}, el("summary", {}, "Arithmetic"), el("p", { class: "quiet" }, one.message), ...(one.evidence ?? []).map(evidence));
}

function evidence({ name, outcome, log_evidence: { fail, pass, bound, pass_bound: passBound } }) {
  const figures = `, ln E fail ${number(fail)} of ${number(bound)}, pass ${number(pass)} of ${number(passBound ?? bound)}`;
  return el("span", { class: "evidence-line" }, `${name}: ${outcome}${bound > 0 ? figures : ""}`);
}
