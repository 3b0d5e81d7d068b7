// Numbers, durations and times as people read them.

import { el } from "./dom.js";

let zone; // undefined: this machine's
let skew = 0;

// The service's clock minus this machine's, in seconds.
export const setSkew = (seconds) => {
  skew = seconds;
};

// The present on the service's clock, in epoch seconds.
export const now = () => Date.now() / 1000 + skew;

export const toggleZone = () => {
  zone = zone ? undefined : "UTC";
};

export function number(value, digits = 3) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  return Math.abs(value) < 1e-9 ? "0" : String(Number(value.toPrecision(digits)));
}

export const percent = (value) => (typeof value === "number" ? `${number(value, 4)}\u00a0%` : "–");

export const share = (value) => (typeof value === "number" ? `${number(100 * value)}\u00a0%` : "–");

export function seconds(value) {
  if (typeof value !== "number") return "–";
  return value < 1 ? `${number(value * 1000)}\u00a0ms` : `${number(value)}\u00a0s`;
}

// A value in the unit that the service names.
export const inUnit = (value, unit) => (unit === "seconds" ? seconds(value) : share(value));

export const factor = (value) => (typeof value === "number" ? `${value < 10 ? Number(value.toFixed(2)) : number(value)}×` : "–");

export function points(value) {
  if (typeof value !== "number") return "–";
  const shown = number(Math.abs(value), 2);
  return `${value < 0 ? "−" : "+"}${shown} ${shown === "1" ? "point" : "points"}`;
}

export function bytes(value) {
  if (typeof value !== "number") return "–";
  return value < 1e6 ? `${number(value / 1e3)}\u00a0kB` : `${number(value / 1e6)}\u00a0MB`;
}

// A duration in two units at most: 4 s, 3 min 45 s, 2 h 5 min.
export function duration(value) {
  const s = Math.max(0, Math.round(value));
  if (s < 60) return `${s} s`;
  const parts = (big, unit, small, lesser) => (small ? `${big} ${unit} ${small} ${lesser}` : `${big} ${unit}`);
  if (s < 3600) return parts(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 172800) return parts(Math.floor(s / 3600), "h", Math.round((s % 3600) / 60) % 60, "min");
  return parts(Math.floor(s / 86400), "days", Math.round((s % 86400) / 3600) % 24, "h");
}

// The zone's difference from UTC, such as UTC+1.
export function zoneName(epoch = now()) {
  const format = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "shortOffset" });
  const part = format.formatToParts(epoch * 1000).find((one) => one.type === "timeZoneName");
  return (part?.value ?? "UTC").replace("GMT", "UTC").replace(/\+0$/, "");
}

const FORMS = {
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  minute: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  day: { day: "numeric", month: "short" },
};

const written = (epoch, form) =>
  new Intl.DateTimeFormat("en-GB", { ...FORMS[form], timeZone: zone }).format(epoch * 1000);

// The time of day, with the zone; with the date unless it is today.
export function clockText(epoch) {
  const day = written(epoch, "day") === written(now(), "day") ? "" : `${written(epoch, "day")}, `;
  return `${day}${written(epoch, "clock")} ${zoneName(epoch)}`;
}

export const minuteText = (epoch) => written(epoch, "minute");

export const time = (epoch) =>
  el("time", { datetime: new Date(epoch * 1000).toISOString() }, clockText(epoch));
