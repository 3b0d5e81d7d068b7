// Drawings: the interval of a ratio, the bar of evidence, and lines over time.

import { el, svg } from "./dom.js";
import { clockText, factor, minuteText, number, percent, points, seconds, zoneName } from "./words.js";

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// --- the interval ---

// The estimate, its interval and the limit on one axis: a ratio's is logarithmic around 1.
export function intervalPlot(one) {
  const { difference, limit, interval } = one;
  if (typeof difference !== "number" || typeof limit !== "number") return null;
  const ratio = one.difference_kind !== "points";
  if (ratio && difference <= 0) return null;
  const scale = ratio ? Math.log : (value) => value;
  const known = [difference, limit, ratio ? 1 : 0, interval?.low, interval?.high].filter((v) => typeof v === "number" && (!ratio || v > 0));
  const low = Math.min(...known.map(scale));
  const high = Math.max(...known.map(scale));
  const pad = Math.max(0.15 * (high - low), ratio ? 0.05 : 0.5);
  const x = (value) => 10 + (300 * (clamp(scale(value), low - pad, high + pad) - low + pad)) / (high - low + 2 * pad);
  const text = ratio ? factor : points;
  const bad = one.direction === "at_least" ? difference < limit : difference > limit;
  const nodes = [svg("line", { class: "axis", x1: 10, x2: 310, y1: 16, y2: 16 })];
  if (interval) {
    // An open end runs to the edge of the axis.
    const from = interval.low === null ? 10 : x(interval.low);
    const to = interval.high === null ? 310 : x(interval.high);
    nodes.push(svg("rect", { class: `range ${bad ? "bad" : "good"}`, x: from, y: 11, width: Math.max(to - from, 2), height: 10, rx: interval.high === null || interval.low === null ? 0 : 4 }));
  }
  nodes.push(
    svg("line", { class: "limit", x1: x(limit), x2: x(limit), y1: 2, y2: 30 }),
    svg("rect", { class: `point ${bad ? "bad" : "good"}`, x: x(difference) - 2, y: 8, width: 4, height: 16 }),
  );
  const labels = [{ at: x(limit), text: `limit ${text(limit)}`, strong: true }];
  if (typeof interval?.low === "number") labels.push({ at: x(interval.low), text: text(interval.low) });
  if (typeof interval?.high === "number") labels.push({ at: x(interval.high), text: text(interval.high) });
  nodes.push(...labelsWithoutOverlap(labels));
  const range = interval ? `, interval ${interval.text}` : "";
  return svg("svg", { viewBox: "0 0 320 46", class: "interval", role: "img", "aria-label": `${text(difference)}, limit ${text(limit)}${range}` }, ...nodes);
}

// The limit's label always; another one only where it does not touch the ones before.
function labelsWithoutOverlap(labels) {
  const kept = [];
  for (const one of labels) {
    const half = 3.4 * one.text.length;
    const at = clamp(one.at, half, 320 - half);
    if (kept.some((other) => Math.abs(other.at - at) < other.half + half + 4)) continue;
    kept.push({ ...one, at, half });
  }
  return kept.map((one) => svg("text", { class: one.strong ? "strong" : "", x: one.at, y: 42, "text-anchor": "middle" }, one.text));
}

// --- the evidence ---

// One bar: empty in the middle, a pass fills it to the left and a fail to the right. A fail that
// nothing leans to yet is `faint`.
export function evidenceBar({ pass = 0, fail = 0 }, label, { faint = false } = {}) {
  const half = 98;
  const p = half * clamp(pass, 0, 1);
  const f = half * clamp(fail, 0, 1);
  return svg(
    "svg",
    { viewBox: "0 0 200 10", preserveAspectRatio: "none", class: "evidence-bar", role: "img", "aria-label": label },
    svg("rect", { class: "track", x: 0, y: 0, width: half, height: 10, rx: 2 }),
    svg("rect", { class: "track", x: 102, y: 0, width: half, height: 10, rx: 2 }),
    svg("rect", { class: "good", x: half - p, y: 0, width: p, height: 10, rx: 2 }),
    svg("rect", { class: faint ? "faint" : "bad", x: 102, y: 0, width: f, height: 10, rx: 2 }),
  );
}

// --- lines over time ---

const WIDTH = 360;
const HEIGHT = 150;
const LEFT = 52;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 22;
const GAP_SECONDS = 60;

export const CHARTS = [
  { name: "P95 latency", read: (arm) => arm?.p95_seconds, log: true, text: seconds },
  { name: "P50 latency", read: (arm) => arm?.p50_seconds, log: true, text: seconds },
  { name: "P99 latency", read: (arm) => arm?.p99_seconds, log: true, text: seconds },
  { name: "Requests per second", read: (arm) => arm?.requests_per_second, text: (value) => number(value) },
  { name: "Weight of the canary", weight: true, text: percent },
];

// A figure with a chart of `points`, and a vertical line at each of `marks` (epoch seconds).
export function lineChart(chart, timeline, marks) {
  const series = chart.weight
    ? [{ name: "canary", values: timeline.map((p) => ({ at: p.at, y: p.weight_percent })) }]
    : ["stable", "canary"].map((name) => ({ name, values: timeline.map((p) => ({ at: p.at, y: chart.read(p[name]) })) }));
  const known = series.flatMap((one) => one.values.filter((v) => typeof v.y === "number" && (!chart.log || v.y > 0)));
  const shown = series.filter((one) => lastValue(one) !== undefined);
  const keys = shown.map((one) => el("span", { class: `key key-${one.name}` }));
  const when = el("span", { class: "quiet" });
  const label = (at) => shown.forEach((one, i) => keys[i].replaceChildren(`${one.name} ${chart.text(valueAt(one, at))} `));
  label(null);
  const figure = el("figure", { class: "chart" }, el("figcaption", {}, el("b", {}, chart.name), " ", when, ...keys));
  if (!known.length) {
    figure.append(el("p", { class: "quiet" }, "No requests in these minutes."));
    return figure;
  }
  const plot = drawing(chart, series, known, timeline, marks);
  figure.append(plot);
  readUnderPointer(plot, timeline, (at) => {
    when.textContent = at === null ? "" : `${clockText(at)} `;
    label(at);
  });
  return figure;
}

// A pointer over the plot reads the values at its time; `read` is called with null when it leaves.
function readUnderPointer(plot, timeline, read) {
  const cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM });
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const inside = clamp((((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT), 0, 1);
    const [first, last] = [timeline[0].at, timeline.at(-1).at];
    const wanted = first + inside * (last - first);
    const at = timeline.reduce((best, p) => (Math.abs(p.at - wanted) < Math.abs(best - wanted) ? p.at : best), first);
    const x = LEFT + ((at - first) / Math.max(last - first, 1)) * (WIDTH - LEFT - RIGHT);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    plot.append(cursor);
    read(at);
  });
  plot.addEventListener("pointerleave", () => {
    cursor.remove();
    read(null);
  });
}

// The value at that time, or the last one.
const valueAt = (one, at) => (at === null ? lastValue(one) : one.values.find((v) => v.at === at)?.y);

const lastValue = (one) => one.values.findLast((v) => typeof v.y === "number")?.y;

function drawing(chart, series, known, timeline, marks) {
  const first = timeline[0].at;
  const last = Math.max(timeline.at(-1).at, first + 1);
  const ticks = chart.log ? logTicks(known.map((v) => v.y)) : linearTicks(chart.weight ? 100 : Math.max(...known.map((v) => v.y)));
  const scale = chart.log ? Math.log : (value) => value;
  const [low, high] = [scale(ticks[0]), scale(ticks.at(-1))];
  const x = (at) => LEFT + ((at - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high - clamp(scale(value), low, high)) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
  const nodes = ticks.flatMap((value) => [
    svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    svg("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, chart.text(value)),
  ]);
  for (const mark of marks.filter((at) => at >= first && at <= last)) {
    nodes.push(svg("line", { class: "transition", x1: x(mark), x2: x(mark), y1: TOP, y2: HEIGHT - BOTTOM }));
  }
  nodes.push(
    svg("text", { x: LEFT, y: HEIGHT - 6 }, minuteText(first)),
    svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, `${minuteText(last)} ${zoneName(last)}`),
  );
  for (const one of series) {
    for (const line of pieces(one.values, chart)) {
      nodes.push(svg("polyline", { class: `line-${one.name}`, points: line.map((v) => `${x(v.at).toFixed(1)},${y(v.y).toFixed(1)}`).join(" ") }));
    }
  }
  const words = series.map((one) => `${one.name} ${chart.text(lastValue(one))}`).join(", ");
  const label = `${chart.name} from ${minuteText(first)} to ${minuteText(last)}; now ${words}`;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, ...nodes);
}

// A line ends where there is no value, or where points are missing.
function pieces(values, chart) {
  const found = [];
  let last = null;
  for (const value of values) {
    const usable = typeof value.y === "number" && (!chart.log || value.y > 0);
    if (!usable) last = null;
    else if (last !== null && value.at - last < GAP_SECONDS) found.at(-1).push(value);
    else found.push([value]);
    if (usable) last = value.at;
  }
  return found;
}

// 1, 2 and 5 times powers of ten around the values, at least two and not too many.
function logTicks(values) {
  const all = [];
  for (let power = -6; power < 6; power += 1) for (const one of [1, 2, 5]) all.push(one * 10 ** power);
  const from = all.findLastIndex((tick) => tick <= Math.min(...values));
  const to = all.findIndex((tick) => tick >= Math.max(...values));
  const chosen = all.slice(Math.max(from, 0), Math.max(to, from + 1) + 1);
  if (chosen.length < 2) return all.slice(from - 1, from + 2);
  const every = Math.ceil(chosen.length / 5);
  return chosen.filter((_, i) => i % every === 0 || i === chosen.length - 1);
}

function linearTicks(most) {
  const rough = (most || 1) / 2;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough) ?? rough;
  return [0, step, 2 * step];
}
