// Every verb needs a confirmation. A preview shows what it would do, and a reason can be given.

import { change, Refused } from "./api.js";
import { byId, el, say } from "./dom.js";
import { openStart, startBody, wireStart } from "./start.js";
import { label, VERBS } from "./verbs.js";
import { number } from "./words.js";

const OVERRIDE = {
  promote: "The guardrails have not passed. Say why the canary may have more traffic all the same; the audit log keeps it.",
  start: "The canary misses the gate. Say why it may start all the same; the audit log keeps it.",
};

let asked = null;

// Open the dialog. `done` is called with the verb and the status that the service returned.
// `override` asks for a promotion before the guardrails have passed.
export function ask(verb, status, role, done, { override = false } = {}) {
  asked = { verb, generation: status.generation, role, done, override };
  byId("dialog-title").textContent = title(verb, status, override);
  say(byId("dialog-text"), VERBS[verb]?.text ?? "");
  byId("start-fields").hidden = verb !== "start";
  byId("reason").value = "";
  say(byId("preview"), "");
  problem(null);
  showOverride();
  const confirm = byId("confirm");
  confirm.textContent = verb === "start" ? "Start" : override ? "Override and promote" : label(verb, status);
  confirm.className = verb === "abort" || override ? "danger" : "primary";
  confirm.disabled = false;
  byId("dialog").dataset.verb = verb;
  byId("dialog").showModal();
  if (verb === "start") openStart(status, preview);
  else if (verb === "abort") confirm.focus();
  else {
    byId("reason").focus();
    preview();
  }
}

export function wireDialog() {
  byId("dialog-form").addEventListener("submit", (event) => {
    event.preventDefault();
    confirmed();
  });
  byId("cancel").addEventListener("click", () => byId("dialog").close());
  byId("gate-override").addEventListener("click", () => {
    asked.override = true;
    showOverride();
    byId("reason").focus();
  });
  byId("dialog").addEventListener("close", () => {
    asked = null;
  });
  wireStart();
}

// A lost connection: what is open cannot be confirmed until it is back.
export function setDialogLive(live) {
  if (byId("dialog").open) byId("confirm").disabled = !live;
}

function title(verb, status, override) {
  if (verb === "start") return "Start a rollout";
  if (override) return `Promote ${status.canary} before it has passed?`;
  return `${label(verb, status)}?`;
}

function showOverride() {
  const { verb, override } = asked;
  say(byId("override-text"), override ? OVERRIDE[verb] : "");
  byId("reason").required = override;
  byId("reason-kind").textContent = override ? "(required, kept in the audit log)" : "(kept in the audit log)";
  byId("gate-override").hidden = true;
  if (override && verb === "start") {
    byId("confirm").textContent = "Override the gate and start";
    byId("confirm").className = "danger";
  }
}

function send(dryRun) {
  const { verb, generation, override } = asked;
  const body = { reason: byId("reason").value };
  if (verb === "start") {
    Object.assign(body, startBody());
    if (override) body.override_gate = true;
    // A preview must not fail for want of a reason that is still being written.
    if (override && dryRun && !body.reason.trim()) body.reason = "preview";
  }
  return change(verb, body, generation, { dryRun, force: verb === "promote" && override });
}

async function preview() {
  const mine = asked;
  try {
    const answer = await send(true);
    if (mine !== asked) return;
    problem(null);
    const moves = (answer.transitions ?? []).map((move) =>
      el("li", {}, `${move.from} → ${move.to}, canary ${number(move.weight_percent, 4)} %: ${move.message}`),
    );
    byId("preview").replaceChildren(gateResult(answer), moves.length ? "What it does:" : "Nothing would change.", el("ul", {}, ...moves));
    byId("preview").hidden = false;
  } catch (error) {
    if (mine === asked) problem(error);
  }
}

// What the gate says of a start that would be accepted.
function gateResult(answer) {
  if (asked.verb !== "start") return "";
  if (!answer.gate) return el("p", {}, "This plan has no gate: offline figures are not checked.");
  const missed = answer.gate.missed ?? [];
  if (!missed.length) return el("p", { class: "gate", "data-tone": "good" }, "✓ The gate is passed.");
  return el("p", { class: "gate", "data-tone": "bad" }, `The gate is overridden: ${missed.map((miss) => miss.message).join("; ")}`);
}

async function confirmed() {
  const mine = asked;
  const button = byId("confirm");
  button.disabled = true;
  say(byId("dialog-problem"), "");
  try {
    const status = await send(false);
    if (mine === asked) byId("dialog").close();
    mine.done(mine.verb, status);
  } catch (error) {
    if (mine === asked) problem(error);
    if (error instanceof Refused && error.status === 412) mine.done(null, null);
  } finally {
    button.disabled = false;
  }
}

function problem(error) {
  if (error) say(byId("preview"), "");
  const advice = error instanceof Refused ? error.advice : "";
  say(byId("dialog-problem"), error ? [error.message, advice].filter(Boolean).join(" ") : "");
  const gate = error?.code === "gate_missed" && !asked.override && asked.role === "approver";
  byId("gate-override").hidden = !gate;
}
