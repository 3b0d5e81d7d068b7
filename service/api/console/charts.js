// Small line charts over the analysis runs.

import { svg } from "./dom.js";

const WIDTH = 320;
const HEIGHT = 110;
const LEFT = 6;
const RIGHT = 52;
const TOP = 10;
const BOTTOM = 14;

// Evidence as a share of what a verdict needs. The verdict is reached at the line marked 1.
export function evidenceChart(points) {
  const share = (side) => points.map((p) => ({ at: p.at, y: clip(p[side] / p[`${side}Bound`], -0.25, 1.15) }));
  return chart(
    [
      { name: "fail", className: "line-fail", points: share("fail") },
      { name: "pass", className: "line-pass", points: share("pass") },
    ],
    { low: -0.25, high: 1.15, marks: [{ y: 1, text: "verdict" }, { y: 0, text: "0" }] },
  );
}

export function durationChart(points) {
  const series = ["canary", "stable"].map((variant) => ({
    name: variant,
    className: `line-${variant}`,
    points: points
      .filter((p) => typeof p.p95?.[variant] === "number")
      .map((p) => ({ at: p.at, y: 1000 * p.p95[variant] })),
  }));
  const high = 1.15 * Math.max(0, ...series.flatMap((one) => one.points.map((p) => p.y)));
  if (high === 0) return null;
  return chart(series, { low: 0, high, marks: [{ y: 0, text: "0 ms" }] });
}

function chart(series, { low, high, marks }) {
  const times = series.flatMap((one) => one.points.map((p) => p.at));
  const first = Math.min(...times);
  const span = Math.max(Math.max(...times) - first, 1);
  const x = (at) => LEFT + ((at - first) / span) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const nodes = marks.flatMap((mark) => [
    svg("line", { class: "mark", x1: LEFT, x2: WIDTH - RIGHT, y1: y(mark.y), y2: y(mark.y) }),
    svg("text", { class: "mark-text", x: LEFT, y: y(mark.y) - 3 }, mark.text),
  ]);
  const labels = spread(
    series.filter((one) => one.points.length).map((one) => ({ one, at: y(one.points.at(-1).y) + 4 })),
  );
  for (const { one, at } of labels) {
    const last = one.points.at(-1);
    const line = one.points.map((p) => `${x(p.at).toFixed(1)},${y(p.y).toFixed(1)}`).join(" ");
    nodes.push(
      svg("polyline", { class: one.className, points: line }),
      svg("circle", { class: one.className, cx: x(last.at), cy: y(last.y), r: 3 }),
      svg("text", { class: `label ${one.className}`, x: x(last.at) + 7, y: at }, one.name),
    );
  }
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", focusable: "false" }, ...nodes);
}

// Move overlapping labels apart.
function spread(labels) {
  const sorted = [...labels].sort((a, b) => a.at - b.at);
  for (let i = 1; i < sorted.length; i += 1) {
    const under = sorted[i - 1].at + 12;
    if (sorted[i].at < under) sorted[i].at = under;
  }
  const over = (sorted.at(-1)?.at ?? 0) - (HEIGHT - 2);
  return over > 0 ? sorted.map((one) => ({ ...one, at: one.at - over })) : sorted;
}

const clip = (value, low, high) => Math.min(high, Math.max(low, Number.isFinite(value) ? value : 0));
