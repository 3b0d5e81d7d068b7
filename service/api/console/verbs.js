// Which actions there are now, where they stand, and why one is disabled.

import { byId, el, say } from "./dom.js";
import { percent } from "./words.js";

const ROLES = ["viewer", "operator", "approver"];

// Role and text of each verb. The service says which verbs are legal. A verb that is not listed
// here gets a button without a text.
export const VERBS = {
  promote: { role: "approver", text: "Approve this step. The next step starts; on the last step the canary becomes stable." },
  pause: { role: "operator", text: "Hold the weight. Guardrails keep running and can still roll back." },
  resume: { role: "approver", text: "End the pause and continue." },
  retry: { role: "operator", text: "Start the canary that was rolled back again, with the same plan." },
  undo: { role: "approver", text: "Send all traffic back to the version that was stable before the last promotion." },
  start: { role: "operator", text: "" },
  abort: { role: "operator", text: "Send all traffic to stable now and end the rollout." },
};

export const mayAsk = (verb, role) => !role || ROLES.indexOf(role) >= ROLES.indexOf(VERBS[verb]?.role ?? "viewer");

// What a promotion leads to.
export function promoteLabel(status) {
  const following = status.plan?.steps?.[(status.step ?? 0) + 1];
  return following ? `Promote to ${percent(parseFloat(following.weight))}` : `Make ${status.canary} stable`;
}

const LABELS = {
  promote: promoteLabel,
  retry: (status) => `Retry ${status.canary}`,
  undo: (status) => (status.previous ? `Undo: back to ${status.previous}` : "Undo"),
  start: () => "Start a rollout",
  abort: () => "Abort now",
};

export const label = (verb, status) => LABELS[verb]?.(status) ?? verb.charAt(0).toUpperCase() + verb.slice(1);

const list = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);

// The guardrail's label as the conditions write it: without a capital unless it is a name.
const inSentence = (status, one) =>
  (status.next?.conditions ?? []).find((each) => each.name === `guardrail:${one.name}`)?.label ?? one.label ?? one.name;

// What a promotion still waits for; empty where it is possible without an override.
export function blockers(status) {
  if (status.reason === "approval" && status.phase === "Paused") return [];
  const step = status.plan?.steps?.[status.step];
  if (!step) return [];
  const all = parseFloat(step.weight) >= 100;
  const open = all ? [] : (status.guardrails ?? []).filter((one) => one.required && one.outcome !== "pass");
  const samples = (status.next?.conditions ?? []).filter((one) => /_samples$/.test(one.name) && !one.met);
  const found = [];
  if (open.length) found.push(`${list(open.map((one) => inSentence(status, one)))} ${open.length > 1 ? "have" : "has"} passed`);
  if (samples.length) found.push(`there are ${list(samples.map((one) => `${one.required} ${one.name.replace("_samples", "")} ${one.unit}`))}`);
  return found;
}

// The verb that a person most likely came for.
function primary(status) {
  if (status.legal.includes("promote") && blockers(status).length === 0) return "promote";
  // A canary that failed fails again; one that a person stopped may be fine.
  const order = status.outlook === "stopped" ? ["retry", "start"] : ["resume", "start", "retry"];
  return order.find((verb) => status.legal.includes(verb)) ?? null;
}

export function showVerbs(status, role, live) {
  const first = primary(status);
  const legal = status.legal ?? [];
  const inHero = [first, "abort"].filter((verb) => verb && legal.includes(verb));
  const rest = legal.filter((verb) => !inHero.includes(verb));
  const notes = [];
  const why = (verb) => {
    if (!live) return "not connected";
    if (!mayAsk(verb, role)) return `needs the role ${VERBS[verb]?.role}`;
    if (verb === "promote" && blockers(status).length) return `possible when ${list(blockers(status))}`;
    return "";
  };
  place(byId("hero-actions"), inHero, (verb) => button(verb, status, why(verb), verb === "abort" ? "danger" : "primary"));
  const wanted = rest.flatMap((verb) => {
    const reason = why(verb);
    if (reason) notes.push(`${label(verb, status)}: ${reason}.`);
    return [verb, ...(verb === "promote" && blockers(status).length && mayAsk(verb, role) ? ["override"] : [])];
  });
  for (const verb of inHero) if (why(verb) && live) notes.push(`${label(verb, status)}: ${why(verb)}.`);
  place(byId("verbs"), wanted, (verb) =>
    verb === "override" ? overrideButton(live) : button(verb, status, why(verb), ""),
  );
  if (!legal.length && live) notes.push("No action is possible right now: the service is changing the split.");
  say(byId("verbs-note"), live ? notes.join(" ") : "Actions are disabled until the connection is back.");
  byId("verbs-card").hidden = wanted.length === 0 && !byId("verbs-note").textContent;
}

// Keep the buttons that stay, so that they keep the focus.
function place(parent, verbs, make) {
  const old = new Map([...parent.children].map((one) => [one.dataset.verb, one]));
  const made = verbs.map((verb) => {
    const fresh = make(verb);
    const kept = old.get(verb);
    if (!kept) return fresh;
    kept.className = fresh.className;
    kept.disabled = fresh.disabled;
    if (kept.textContent !== fresh.textContent) kept.textContent = fresh.textContent;
    return kept;
  });
  if (made.length !== parent.children.length || made.some((one, i) => parent.children[i] !== one)) parent.replaceChildren(...made);
}

function button(verb, status, why, kind) {
  const made = el("button", { type: "button", class: kind, "data-verb": verb, "aria-describedby": "verbs-note" }, label(verb, status));
  made.disabled = why !== "";
  return made;
}

function overrideButton(live) {
  const made = el("button", { type: "button", class: "plain", "data-verb": "override" }, "Override…");
  made.disabled = !live;
  return made;
}
