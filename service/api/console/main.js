// Connects the parts: token, live view and actions.

import * as api from "./api.js";
import { ask, wireDialog } from "./dialog.js";
import { byId, say } from "./dom.js";
import { showHistory, sinceStart } from "./history.js";
import { showGuardrails, showSince, showStatus } from "./view.js";

const MAX_POINTS = 1000;
const RETRY_SECONDS = [1, 2, 5, 10];
const POLL_SECONDS = 15;
const PAGE = 50;

const seen = { status: null, role: "", points: new Map(), start: null, limit: PAGE, phase: "" };
let stop = null;

function connect() {
  stop?.abort();
  stop = new AbortController();
  byId("sign-in").hidden = true;
  byId("forget").hidden = false;
  follow(stop.signal);
}

function disconnect() {
  stop?.abort();
  stop = null;
  seen.status = null;
  seen.phase = "";
  byId("dialog").close();
  byId("console").hidden = true;
  byId("role").hidden = true;
  byId("forget").hidden = true;
  byId("sign-in").hidden = false;
  connection("off", "not connected");
  byId("token").focus();
}

// Follow the events until `signal` aborts; reconnect after errors.
async function follow(signal) {
  for (let broken = 0; !signal.aborted; broken += 1) {
    try {
      await refresh();
      await showLog();
      broken = 0;
      for await (const event of api.events(signal)) await received(event);
      connection("lost", "the service closed the connection");
    } catch (error) {
      if (signal.aborted) return;
      failed(error);
      if (error.status === 401 || error.status === 403) return;
    }
    const seconds = RETRY_SECONDS[Math.min(broken, RETRY_SECONDS.length - 1)];
    await new Promise((done) => setTimeout(done, 1000 * seconds));
  }
}

async function received(event) {
  if (event.name === "transition") {
    await refresh();
    await showLog();
  } else {
    show(event.data);
  }
}

async function refresh() {
  const { status, role } = await api.status();
  seen.role = role;
  say(byId("role"), role && `role: ${role}`);
  say(byId("problem"), "");
  connection("live", "live");
  show(status);
}

async function showLog() {
  const rows = await api.history(seen.limit);
  showHistory(rows, seen.limit);
  const { start, evidence } = sinceStart(rows);
  if (start !== null && start !== seen.start) {
    seen.points.clear();
    seen.start = start;
  }
  for (const one of evidence) remember(one.at, one.guardrails);
  if (seen.status) showGuardrails(seen.status.guardrails, seen.points);
}

function show(status) {
  seen.status = status;
  byId("console").hidden = false;
  // The evidence at a transition comes from the audit log, so a later point is stored after it.
  const after = status.since >= status.looked_at ? status.since + 0.001 : status.looked_at;
  if (status.looked_at) remember(after, status.guardrails);
  showStatus(status, seen.role);
  showSince(status, Date.now() / 1000);
  showGuardrails(status.guardrails, seen.points);
  // Announce changes of phase only; figures change with every analysis run.
  const phase = `${status.phase}: ${status.message}`;
  if (status.phase !== seen.phase) say(byId("announce"), phase);
  seen.phase = status.phase;
}

function remember(at, guardrails) {
  for (const one of guardrails) {
    const points = seen.points.get(one.name) ?? [];
    const { fail, pass, bound, pass_bound: passBound } = one.log_evidence;
    const point = { at, fail, pass, failBound: bound, passBound: passBound ?? bound, p95: one.p95_seconds };
    if (points.some((p) => p.at === at)) continue;
    points.push(point);
    points.sort((a, b) => a.at - b.at);
    seen.points.set(one.name, points.slice(-MAX_POINTS));
  }
}

function connection(state, text) {
  byId("connection").dataset.state = state;
  byId("connection").textContent = text;
}

function failed(error) {
  const advice = error instanceof api.Refused ? error.advice : "";
  connection("lost", "not live: this page may be out of date");
  say(byId("problem"), [error.message, advice].filter(Boolean).join(" "));
  if (error.status === 401) {
    api.setToken("");
    disconnect();
  }
}

function changed(verb, status) {
  if (status) show(status);
  if (verb) say(byId("announce"), `${verb}: done. ${status.phase}: ${status.message}`);
  // The pressed button may be disabled now, which would lose the focus.
  if (document.activeElement === document.body || document.activeElement?.disabled) byId("main").focus();
  refresh().then(showLog).catch(failed);
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  api.setToken(byId("token").value.trim());
  byId("token").value = "";
  say(byId("problem"), "");
  connect();
});
byId("forget").addEventListener("click", () => {
  api.setToken("");
  say(byId("problem"), "");
  disconnect();
});
byId("abort").addEventListener("click", () => ask("abort", seen.status, seen.role, changed));
byId("verbs").addEventListener("click", (event) => {
  const verb = event.target.dataset?.verb;
  if (verb) ask(verb, seen.status, seen.role, changed);
});
byId("more").addEventListener("click", () => {
  seen.limit = Math.min(1000, seen.limit * 4);
  showLog().catch(failed);
});
wireDialog();
setInterval(() => {
  if (seen.status) showSince(seen.status, Date.now() / 1000);
}, 1000);
// Poll as well, to notice a connection that died silently.
setInterval(() => {
  if (stop) refresh().catch(failed);
}, 1000 * POLL_SECONDS);
if (api.hasToken()) connect();
