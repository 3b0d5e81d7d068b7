// Every verb needs a confirmation. A preview shows what it would do, and a reason can be given.

import { change, Refused, versions } from "./api.js";
import { byId, el, number, say } from "./dom.js";

const ROLES = ["viewer", "operator", "approver"];

// Role and text of each verb, in the order of the buttons. The service says which verbs are legal. A
// verb that is not listed here gets a button without a text.
export const VERBS = {
  promote: {
    role: "approver",
    text: "Approve this step. The next step starts; on the last step the canary becomes stable.",
    force: "Promote before the guardrails have passed. This is recorded in the audit log.",
  },
  pause: { role: "operator", text: "Hold the weight. Guardrails keep running." },
  resume: { role: "approver", text: "End the pause and continue." },
  retry: { role: "operator", text: "Start the canary that was rolled back again, with the same plan." },
  undo: { role: "approver", text: "Send all traffic back to the version that was stable before the last promotion." },
  start: {
    role: "operator",
    text: "Start a rollout of another version.",
    force: "Start despite a failed gate (approver role). This is recorded in the audit log; say why above.",
  },
  abort: { role: "operator", text: "Send all traffic to stable now and end the rollout." },
};

export const mayAsk = (verb, role) =>
  !role || ROLES.indexOf(role) >= ROLES.indexOf(VERBS[verb]?.role ?? "viewer");

let asked = null;

// Open the dialog. `done` is called with the verb and the status that the service returned.
export function ask(verb, status, role, done) {
  asked = { verb, generation: status.generation, done };
  const known = VERBS[verb] ?? { text: "" };
  const what = status.canary && verb !== "start" && verb !== "undo" ? ` ${status.canary}` : "";
  byId("dialog-title").textContent = verb === "start" ? "Start a rollout" : `${title(verb)}${what}?`;
  byId("dialog-text").textContent = known.text;
  byId("start-fields").hidden = verb !== "start";
  byId("canary").required = verb === "start";
  byId("reason").value = "";
  byId("force").checked = false;
  byId("force-label").textContent = known.force ?? "";
  byId("force-row").hidden = !known.force || role === "operator";
  byId("preview").hidden = true;
  say(byId("dialog-problem"), "");
  const confirm = byId("confirm");
  confirm.textContent = title(verb);
  confirm.className = verb === "abort" ? "danger" : "primary";
  confirm.disabled = false;
  byId("dialog").showModal();
  if (verb === "start") {
    fillVersions(status.stable);
    byId("canary").focus();
  } else if (verb === "abort") {
    confirm.focus();
  } else {
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
  byId("try").addEventListener("click", preview);
}

const title = (verb) => verb.charAt(0).toUpperCase() + verb.slice(1);

async function fillVersions(stable) {
  const names = await versions().catch(() => []);
  const others = names.filter((name) => name !== stable);
  byId("versions").replaceChildren(...others.map((name) => el("option", { value: name })));
}

function body() {
  const content = { reason: byId("reason").value };
  if (asked.verb !== "start") return content;
  content.canary = byId("canary").value.trim();
  if (byId("force").checked) content.override_gate = true;
  const plan = byId("plan").value.trim();
  if (plan) {
    try {
      content.plan = JSON.parse(plan);
    } catch (error) {
      throw new Refused(422, { error: `The plan is not JSON: ${error.message}` });
    }
  }
  return content;
}

const send = (dryRun) => {
  const force = asked.verb === "promote" && byId("force").checked;
  return change(asked.verb, body(), asked.generation, { dryRun, force });
};

async function preview() {
  const mine = asked;
  try {
    const answer = await send(true);
    if (mine !== asked) return;
    const moves = (answer.transitions ?? []).map((move) =>
      el("li", {}, `${move.from} → ${move.to}, canary ${number(move.weight_percent, 4)} %: ${move.message}`),
    );
    say(byId("dialog-problem"), "");
    byId("preview").replaceChildren(
      moves.length ? "Preview:" : "Nothing would change.",
      el("ul", {}, ...moves),
    );
    byId("preview").hidden = false;
  } catch (error) {
    if (mine === asked) problem(error);
  }
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
  byId("preview").hidden = true;
  const advice = error instanceof Refused ? error.advice : "";
  say(byId("dialog-problem"), [error.message, advice].filter(Boolean).join(" "));
}
