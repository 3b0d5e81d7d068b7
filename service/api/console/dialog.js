// Every verb is confirmed, with a reason; what it would do is shown before.

import { change, Refused, versions } from "./api.js";
import { byId, el, number, say } from "./dom.js";

const ROLES = ["viewer", "operator", "approver"];

// What is known of the verbs, in the order of their buttons. The service says which are
// legal; one that is not known here is offered without words of its own.
export const VERBS = {
  promote: {
    role: "approver",
    text: "Approve this step: the next one begins, or on the last the canary becomes stable.",
    force: "Promote before the guardrails have passed. The audit log says so.",
  },
  pause: { role: "operator", text: "Hold the weight where it is. The guardrails go on." },
  resume: { role: "approver", text: "End the pause and go on." },
  retry: { role: "operator", text: "Put the canary that was rolled back on trial once more, with the same plan." },
  undo: { role: "approver", text: "Bring back the version that was stable before the last promotion, all at once." },
  start: {
    role: "operator",
    text: "Put another version on trial.",
    force: "Start it though it misses the plan's gate. An approver may; say why. The audit log has it.",
  },
  abort: { role: "operator", text: "Give all traffic back to stable, now." },
};

export const mayAsk = (verb, role) =>
  !role || ROLES.indexOf(role) >= ROLES.indexOf(VERBS[verb]?.role ?? "viewer");

let asked = null;

// Opens the dialog; `done` gets the status that the change was answered with.
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
      moves.length ? "What would happen:" : "Nothing would change.",
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
