// The plan as a line: warm-up, steps, and what the canary becomes at its end.

import { byId, el } from "./dom.js";
import { isOver } from "./outlook.js";
import { duration, percent } from "./words.js";

export function showSteps(status) {
  const plan = status.plan;
  const shown = !isOver(status) && (plan?.steps?.length ?? 0) > 0;
  byId("plan-card").hidden = !shown;
  if (!shown) return;
  const warming = isWarming(status);
  const items = [warmUp(status, plan, warming)];
  plan.steps.forEach((step, i) => {
    const state = warming || i > status.step ? "ahead" : i < status.step ? "done" : "present";
    const name = step.shadow ? "Shadow" : percent(parseFloat(step.weight));
    items.push(item(state, name, state === "present" ? presentText(status) : stepText(step)));
  });
  items.push(item("ahead", `${status.canary} is stable`, `${status.stable} is kept for an undo`));
  byId("steps").replaceChildren(...items);
}

const isWarming = (status) =>
  ["Pending", "WarmingUp"].includes(status.phase) ||
  (status.next?.conditions ?? []).some((one) => one.name.startsWith("warm_up"));

function warmUp(status, plan, warming) {
  if (!warming) return item("done", "Warm-up", `${duration(plan.warm_up_seconds)}, ${plan.warm_up_requests} requests`);
  return item("present", status.phase === "Pending" ? "Loading" : "Warm-up", presentText(status));
}

const presentText = (status) => {
  const open = (status.next?.conditions ?? []).filter((one) => !one.met);
  return open.length ? open.map((one) => one.text).join(" · ") : "";
};

function stepText(step) {
  const words = [`at least ${duration(step.min_dwell_seconds)}`];
  if (step.approval) words.push("waits for an approver");
  return words.join(" · ");
}

function item(state, name, text) {
  const sign = { done: "✓ ", present: "● ", ahead: "" }[state];
  return el(
    "li",
    { class: state, "aria-current": state === "present" ? "step" : null },
    el("b", {}, sign && el("span", { "aria-hidden": "true" }, sign), state === "done" ? el("span", { class: "unseen" }, "done: ") : null, name),
    text ? el("span", { class: "detail" }, text) : null,
  );
}
