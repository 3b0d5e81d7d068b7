// The start form: which version, by which plan. A change of either asks the gate again.

import { consoleData, Refused, versions } from "./api.js";
import { byId, el, say } from "./dom.js";
import { bytes, duration, number, percent, share } from "./words.js";

const DELAY = 300;

let presets = [];
let changed = () => {};
let timer = 0;

export function wireStart() {
  byId("start-fields").addEventListener("input", () => {
    byId("own-plan").hidden = chosen("plan") !== "own";
    clearTimeout(timer);
    // A plan that is not yet written is not wrong.
    if (chosen("plan") !== "own" || byId("plan").value.trim()) timer = setTimeout(changed, DELAY);
  });
}

// Fill the form; `preview` is called after each change.
export async function openStart(status, preview) {
  changed = preview;
  byId("plan").value = "";
  byId("own-plan").hidden = true;
  say(byId("start-problem"), "");
  try {
    const [rows, data] = await Promise.all([versions(), consoleData()]);
    presets = data.presets;
    showVersions(rows, status);
    showPlans();
  } catch (error) {
    say(byId("start-problem"), [error.message, error.advice].filter(Boolean).join(" "));
    return;
  }
  byId("versions").querySelector("input:checked")?.focus();
  changed();
}

// What the request says. Raises `Refused` for a plan that is not JSON, or without a version.
export function startBody() {
  const canary = chosen("canary");
  if (!canary) throw new Refused(422, { error: "There is no other version in the repository: export one." });
  const name = chosen("plan");
  if (name !== "own") {
    const { plan = null } = presets.find((one) => one.name === name) ?? {};
    return plan ? { canary, plan } : { canary };
  }
  try {
    return { canary, plan: JSON.parse(byId("plan").value) };
  } catch (error) {
    throw new Refused(422, { error: `The plan is not JSON: ${error.message}` });
  }
}

const chosen = (name) => byId("dialog-form").querySelector(`input[name="${name}"]:checked`)?.value ?? "";

function showVersions(rows, status) {
  const usable = (row) => row.version !== status.stable && !row.problem;
  const first = rows.find((row) => usable(row) && row.loaded) ?? rows.find(usable);
  byId("versions").replaceChildren(...rows.map((row) => versionRow(row, status, row === first, usable(row))));
}

function versionRow(row, status, checked, usable) {
  const id = `version-${row.version}`;
  const input = el("input", { type: "radio", name: "canary", value: row.version, id });
  input.checked = checked;
  input.disabled = !usable;
  const state = row.version === status.stable ? "stable now" : row.problem ? "cannot be read" : row.loaded ? "loaded" : "";
  const hit = row.hit_at_5;
  const name = el("label", { for: id }, row.version, state ? el("small", {}, state) : null);
  const head = el("th", { scope: "row", role: "rowheader" }, el("span", { class: "pick" }, input, name));
  if (row.problem) return el("tr", { role: "row" }, head, el("td", { role: "cell", colspan: 3 }, row.problem));
  return el(
    "tr",
    { role: "row" },
    head,
    el("td", { role: "cell" }, el("span", { class: "label" }, "size "), bytes(row.bytes)),
    el("td", { role: "cell" }, el("span", { class: "label" }, "Hit@5 "), hit ? share(hit.value) : "not evaluated", hit ? el("small", {}, `${share(hit.low)} to ${share(hit.high)}`) : null),
    el("td", { role: "cell" }, el("span", { class: "label" }, "step P95 "), typeof row.step_p95_ms === "number" ? `${number(row.step_p95_ms)}\u00a0ms` : "–"),
  );
}

function showPlans() {
  const options = presets.map((one, i) => planOption(one.name, one.title, planText(one), i === 0));
  byId("plans").replaceChildren(...options, planOption("own", "A plan of your own", "as JSON", false));
}

function planOption(value, title, text, checked) {
  const id = `plan-${value}`;
  const input = el("input", { type: "radio", name: "plan", value, id });
  input.checked = checked;
  return el("div", { class: "pick" }, input, el("label", { for: id }, title, el("small", {}, text)));
}

function planText(preset) {
  const steps = preset.steps.map((one) => (one.shadow ? "shadow" : percent(one.weight_percent)) + (one.approval ? " with approval" : ""));
  return `${steps.join(" → ")} · at least ${duration(preset.least_seconds)}`;
}
