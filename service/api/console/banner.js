// The banner: the verdict, the size, what happens next, and the most likely action.

import { byId, el, say } from "./dom.js";
import { isOver, look, splitHeadline } from "./outlook.js";
import { percent } from "./words.js";

export function showBanner(status) {
  const { tone, sign } = look(status);
  const [verdict, size] = splitHeadline(status);
  document.title = `${sign} ${verdict} · nextvec`;
  const hero = byId("hero");
  hero.dataset.tone = tone;
  hero.dataset.outlook = status.outlook ?? "";
  hero.dataset.phase = status.phase;
  byId("sign").textContent = sign;
  say(byId("verdict-text"), verdict);
  say(byId("size"), size);
  byId("next").hidden = !status.next?.text;
  byId("next-text").textContent = status.next?.text ?? "";
  say(byId("affected"), affected(status));
  say(byId("note"), note(status));
  showWarnings(status);
}

// Whom the rollout concerns now.
function affected(status) {
  if (isOver(status)) return "";
  const set = status.weight.set_percent;
  const versions = `${status.stable} → ${status.canary}`;
  const step = `step ${status.step + 1} of ${status.steps}`;
  const present = status.plan?.steps?.[status.step];
  const who = present?.shadow ? "callers get none of its answers" : `${percent(set)} of new requests go to ${status.canary}`;
  const attempt = (status.attempt ?? 1) > 1 ? [`attempt ${status.attempt}`] : [];
  return [versions, step, who, ...attempt].join(" · ");
}

// Who made the last change, and the reason they gave.
function note(status) {
  if (!status.actor || status.actor === "controller") return "";
  const said = status.note ? `: “${status.note}”` : "";
  return `Last change by ${status.actor}${said}`;
}

function showWarnings(status) {
  const found = [];
  if (status.recorded === false) {
    found.push("The state cannot be written; the service continues from memory. Free disk space, or check the path of the database.");
  }
  if (status.fleet?.withheld) found.push(`This replica keeps the canary out of traffic: ${status.fleet.withheld}.`);
  if (status.fleet && !status.fleet.leader) found.push("No replica evaluates the rollout now. Another takes over within seconds, or see the runbook.");
  for (const miss of status.gate?.missed ?? []) found.push(`Gate overridden: ${miss.message}`);
  byId("warnings").replaceChildren(...found.map((text) => el("p", { class: "warning" }, text)));
}
