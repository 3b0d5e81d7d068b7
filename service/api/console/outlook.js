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
  const cut = clauseEnd(whole);
  let [verdict, rest] = cut < 0 ? [whole.replace(/\.$/, ""), ""] : [whole.slice(0, cut), whole.slice(cut + 2)];
  // The reason that a person gave has a line of its own.
  const reason = `, saying “${status.note}”`;
  if (status.note && verdict.endsWith(reason)) verdict = verdict.slice(0, -reason.length);
  const named = [status.canary, status.stable].some((name) => name && rest.startsWith(name));
  return [verdict, named ? rest : rest.charAt(0).toUpperCase() + rest.slice(1)];
}

// Where the first clause ends: at a colon or semicolon in no parentheses and no quotation; -1 without.
function clauseEnd(text) {
  let depth = 0;
  for (let i = 0; i < text.length; i += 1) {
    if (/[(“]/.test(text[i])) depth += 1;
    else if (/[)”]/.test(text[i])) depth -= 1;
    else if (depth === 0 && /[:;]/.test(text[i]) && text[i + 1] === " ") return i;
  }
  return -1;
}

// The guardrail that matters most now: the one that leans to a fail or failed, else the first
// required one.
export function mainGuardrail(status) {
  const all = status.guardrails ?? [];
  const named = status.next?.rollback?.guardrail;
  return (
    all.find((one) => one.name === named) ??
    all.find((one) => one.outcome === "fail") ??
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
