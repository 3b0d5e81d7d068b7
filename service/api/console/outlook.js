// What a status means at a glance: the tone, the sign and the words of the banner.

// `tone` chooses colours; a sign goes with each, because colour alone says nothing to some.
const OUTLOOKS = {
  idle: { tone: "quiet", sign: "○" },
  preparing: { tone: "wait", sign: "…" },
  warming_up: { tone: "wait", sign: "…" },
  too_early: { tone: "wait", sign: "…" },
  looks_good: { tone: "good", sign: "✓" },
  leaning_to_fail: { tone: "bad", sign: "▲" },
  needs_you: { tone: "need", sign: "!" },
  paused: { tone: "need", sign: "‖" },
  blind: { tone: "need", sign: "?" },
  rolled_back: { tone: "bad", sign: "↩" },
  stopped: { tone: "quiet", sign: "■" },
  promoted: { tone: "good", sign: "✓" },
};

export const look = (status) => OUTLOOKS[status.outlook] ?? { tone: "quiet", sign: "●" };

export const isOver = (status) => status.step === null;

// The headline in two parts: the verdict, and what is behind it.
export function splitHeadline(status) {
  const whole = status.headline || status.message || "";
  const cut = whole.search(/[:;] /);
  if (cut < 0) return [whole.replace(/\.$/, ""), ""];
  const rest = whole.slice(cut + 2);
  const named = [status.canary, status.stable].some((name) => name && rest.startsWith(name));
  return [whole.slice(0, cut), named ? rest : rest.charAt(0).toUpperCase() + rest.slice(1)];
}

// The guardrail that matters most now: the one that leans to a fail or failed, else the first
// required one that compares the versions.
export function mainGuardrail(status) {
  const all = status.guardrails ?? [];
  const named = status.next?.rollback?.guardrail;
  return (
    all.find((one) => one.name === named) ??
    all.find((one) => one.outcome === "fail") ??
    all.find((one) => one.effect === "must_pass" && typeof one.difference === "number") ??
    all.find((one) => one.effect === "must_pass") ??
    all[0] ??
    null
  );
}

// How near the step is to a verdict: all required guardrails must pass, one fail is enough.
export function progress(status) {
  const all = status.guardrails ?? [];
  const needed = all.filter((one) => one.required);
  const passes = (needed.length ? needed : all).map((one) => one.progress?.pass ?? 0);
  return {
    pass: passes.length ? Math.min(...passes) : 0,
    fail: Math.max(0, ...all.map((one) => one.progress?.fail ?? 0)),
  };
}
