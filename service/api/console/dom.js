// Create and fill elements. Text is never parsed as HTML: names and reasons are untrusted.

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

const make = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  node.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return node;
};

export const el = (tag, attributes = {}, ...children) =>
  make(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) =>
  make(document.createElementNS(SVG, tag), attributes, children);

// Fill a list of terms and values. A value is text or an element.
export function facts(list, pairs) {
  list.replaceChildren(
    ...pairs.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value ?? "–"))),
  );
}

export function say(node, text) {
  node.hidden = !text;
  if (node.textContent !== text) node.textContent = text;
}

export function number(value, digits = 3) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  return Math.abs(value) < 1e-9 ? "0" : String(Number(value.toPrecision(digits)));
}

export const percent = (value) => (value === null || value === undefined ? "–" : `${number(value, 4)}\u00a0%`);

export const milliseconds = (seconds) =>
  typeof seconds === "number" ? `${number(seconds * 1000)}\u00a0ms` : "–";

export function ago(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

export function time(epoch) {
  const date = new Date(epoch * 1000);
  const text = date.toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
  return el("time", { datetime: date.toISOString() }, text);
}
