// The audit log, newest first, and the evidence it holds from before this page was opened.

import { byId, el, number, time } from "./dom.js";

export function showHistory(rows, limit) {
  byId("history").replaceChildren(...rows.map(row));
  byId("more").hidden = rows.length < limit;
}

function row(one) {
  const why = el("td", { role: "cell" }, one.message);
  if (one.note) why.append(el("q", { class: "note" }, one.note));
  for (const guardrail of one.evidence ?? []) {
    const { fail, pass, bound, pass_bound: passBound } = guardrail.log_evidence;
    const figures = `, ln E fail ${number(fail)} of ${number(bound)}, pass ${number(pass)} of ${number(passBound ?? bound)}`;
    const words = `${guardrail.name}: ${guardrail.outcome}${bound > 0 ? figures : ""}`;
    why.append(el("span", { class: "evidence" }, words));
  }
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

// Returns the id of the row that started the rollout (null if it is older than `rows`), and the
// evidence at each transition since, oldest first.
export function sinceStart(rows) {
  const begun = rows.findIndex((one) => one.to === "Pending");
  const evidence = rows
    .slice(0, begun < 0 ? rows.length : begun)
    .filter((one) => one.evidence)
    .map((one) => ({ at: one.at, guardrails: one.evidence }))
    .reverse();
  return { start: begun < 0 ? null : rows[begun].id, evidence };
}
