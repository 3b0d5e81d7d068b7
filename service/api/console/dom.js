// Create and fill elements. Text is never parsed as HTML: names and reasons are untrusted.

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

const make = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child !== null).map((child) => (child instanceof Node ? child : String(child))));
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
