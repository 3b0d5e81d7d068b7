// Connects the parts: token, live view and actions.

import * as api from "./api.js";
import { ask, setDialogLive, wireDialog } from "./dialog.js";
import { byId, say } from "./dom.js";
import { showHistory } from "./history.js";
import { showCharts, showClock, showStatus } from "./view.js";
import { clockText, now, setSkew, toggleZone, zoneName } from "./words.js";

const RETRY_SECONDS = [1, 2, 5, 10];
const POLL_SECONDS = 15;
const CHART_SECONDS = 5;
const MAX_POINTS = 720;
const PAGE = 50;

const seen = { status: null, role: "", rows: [], limit: PAGE, outlook: "", points: [], live: false, at: 0 };
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
  Object.assign(seen, { status: null, outlook: "", points: [], rows: [], live: false });
  byId("dialog").close();
  for (const id of ["console", "role", "forget", "installation", "links", "lost"]) byId(id).hidden = true;
  delete document.body.dataset.stale;
  byId("sign-in").hidden = false;
  document.title = "nextvec rollout";
  connection("off", "not connected");
  byId("token").focus();
}

// Follow the events until `signal` aborts; reconnect after errors.
async function follow(signal) {
  for (let broken = 0; !signal.aborted; broken += 1) {
    try {
      await refresh();
      broken = 0;
      await Promise.all([showLog(), showPast(), showInstallation()]);
      for await (const event of api.events(signal)) await received(event);
      lost();
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
    await showPast();
  } else {
    show(event.data);
  }
}

async function refresh() {
  const { status, role, skew } = await api.status();
  setSkew(skew);
  seen.role = role;
  say(byId("role"), role && `role: ${role}`);
  say(byId("problem"), "");
  alive();
  show(status);
}

async function showLog() {
  seen.rows = await api.history(seen.limit);
  showHistory(seen.rows, seen.limit);
}

async function showPast() {
  const { points } = await api.timeline(seen.points.at(-1)?.at ?? 0);
  seen.points = [...seen.points, ...points].slice(-MAX_POINTS);
  showCharts(seen.points, seen.rows.map((row) => row.at));
}

async function showInstallation() {
  const { name, links } = await api.consoleData();
  say(byId("installation"), name ?? "");
  for (const which of ["grafana", "runbook"]) {
    byId(which).hidden = !links[which];
    if (links[which]) byId(which).href = links[which];
  }
  byId("links").hidden = !links.grafana && !links.runbook;
}

function show(status) {
  seen.status = status;
  seen.at = now();
  byId("console").hidden = false;
  showStatus(status, seen.role, seen.live);
  // Announce changes of the verdict only; figures change with every evaluation.
  const outlook = `${status.phase} ${status.outlook}`;
  if (outlook !== seen.outlook) say(byId("announce"), `${status.phase}: ${status.headline ?? status.message}`);
  seen.outlook = outlook;
}

// --- the connection ---

function connection(state, text) {
  byId("connection").dataset.state = state;
  byId("connection").textContent = text;
}

function alive() {
  connection("live", "live");
  delete document.body.dataset.stale;
  byId("lost").hidden = true;
  if (!seen.live) setLive(true);
}

// What is on the page is old: say of when, and let nobody decide by it.
function lost() {
  connection("lost", "connection lost");
  document.body.dataset.stale = "true";
  const as = seen.at ? `The page shows the state as of ${clockText(seen.at)}.` : "Nothing has been received yet.";
  say(byId("lost"), `Connection lost. ${as} The rollout continues without this page. Trying again…`);
  setLive(false);
}

function setLive(live) {
  seen.live = live;
  setDialogLive(live);
  if (seen.status) showStatus(seen.status, seen.role, live);
}

function failed(error) {
  const advice = error instanceof api.Refused ? error.advice : "";
  if (error.status !== 0) say(byId("problem"), [error.message, advice].filter(Boolean).join(" "));
  if (error.status === 401 || error.status === 403) {
    api.setToken("");
    disconnect();
  } else {
    lost();
  }
}

// --- actions ---

function changed(verb, status) {
  if (status) show(status);
  if (verb) say(byId("announce"), `${verb}: done. ${status.phase}: ${status.headline ?? status.message}`);
  // The pressed button may be gone now, which would lose the focus.
  if (document.activeElement === document.body || document.activeElement?.disabled) byId("main").focus();
  refresh().then(showLog).catch(failed);
}

function pressed(event) {
  const verb = event.target.dataset?.verb;
  if (!verb) return;
  if (verb === "override") ask("promote", seen.status, seen.role, changed, { override: true });
  else ask(verb, seen.status, seen.role, changed);
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
byId("hero-actions").addEventListener("click", pressed);
byId("verbs").addEventListener("click", pressed);
byId("more").addEventListener("click", () => {
  seen.limit = Math.min(1000, seen.limit * 4);
  showLog().catch(failed);
});
byId("zone").addEventListener("click", () => {
  toggleZone();
  showZone();
  if (!seen.status) return;
  showStatus(seen.status, seen.role, seen.live);
  showHistory(seen.rows, seen.limit);
  showCharts(seen.points, seen.rows.map((row) => row.at));
});
const showZone = () => {
  byId("zone-name").textContent = zoneName();
};
showZone();
wireDialog();
addEventListener("offline", () => {
  if (stop) lost();
});
setInterval(() => {
  if (seen.status && seen.live) showClock(seen.status);
}, 1000);
setInterval(() => {
  if (stop && seen.live) showPast().catch(failed);
}, 1000 * CHART_SECONDS);
// Poll as well, to notice a connection that died silently.
setInterval(() => {
  if (stop) refresh().catch(failed);
}, 1000 * POLL_SECONDS);
// A one-time link, …/console#login=CODE. The code leaves the address at once.
function followLink() {
  const code = new URLSearchParams(location.hash.slice(1)).get("login");
  if (code) {
    history.replaceState(null, "", location.pathname);
    api.login(code).then(connect, (error) => (api.hasToken() ? connect() : failed(error)));
  } else if (api.hasToken()) connect();
}
addEventListener("hashchange", followLink);
followLink();
