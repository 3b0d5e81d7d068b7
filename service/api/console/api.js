// Client of the admin API. The token is stored for this tab only and sent in a header only.

const KEY = "nextvec-token";
const ROLLOUT = new URL("admin/v1/rollout", document.baseURI).href;
const VERSIONS = new URL("admin/v1/versions", document.baseURI).href;
const LOGIN = new URL("console/login", document.baseURI).href;
const CONSOLE = new URL("admin/v1/console", document.baseURI).href;
const TRIES = 3;
const WAIT = 20_000;
const READ_WAIT = 6_000; // a read is repeated soon: a slow one counts as a lost connection

let token = "";
try {
  token = sessionStorage.getItem(KEY) ?? "";
} catch {
  // Storage is disabled: the token lasts as long as the page.
}

export const hasToken = () => token !== "";

export function setToken(value) {
  token = value;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}

// Exchange the code of a one-time link for a token.
export async function login(code) {
  const answer = await call("POST", LOGIN, { headers: { Authorization: `Bearer ${code}` } });
  setToken((await answer.json()).token);
}

// The service refused a request, or did not answer (status 0).
export class Refused extends Error {
  constructor(status, body) {
    super(body.error ?? `HTTP ${status}`);
    this.status = status;
    this.code = body.code ?? "";
    this.body = body;
  }

  // What a person can do about it.
  get advice() {
    const advice = {
      0: "Check that the service runs and that you can reach it. In a terminal: nextvec rollout status. The rollout continues without this page.",
      300: "Open the console at its final address.",
      401: "Enter a token that the service was started with.",
      403: "Use a token with a higher role, or ask somebody who has one.",
      409: this.code === "conflict" ? "Check which actions are available now." : "",
      412: "The rollout has changed in the meantime. Close this dialog, check the current state, and decide again.",
      503: "The service is starting, draining, or cannot write its state. Wait a moment and try again.",
    };
    return advice[this.status] ?? (this.status >= 500 ? `See the service's log${this.body.request_id ? ` for request ${this.body.request_id}` : ""}.` : "");
  }
}

async function call(method, url, { body, headers = {}, signal = AbortSignal.timeout(WAIT) } = {}) {
  let answer;
  try {
    answer = await fetch(url, {
      method,
      signal,
      cache: "no-store",
      redirect: "manual", // a redirect would turn a change into a read, at another address
      credentials: "omit",
      headers: {
        Authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { error: "The service does not answer." });
  }
  if (answer.type === "opaqueredirect") {
    throw new Refused(300, { error: "This address redirects to another one. The redirect was not followed and nothing was changed." });
  }
  if (!answer.ok) {
    throw new Refused(answer.status, await answer.json().catch(() => ({})));
  }
  return answer;
}

export async function status() {
  const answer = await call("GET", ROLLOUT, { signal: AbortSignal.timeout(READ_WAIT) });
  const served = Date.parse(answer.headers.get("Date") ?? "");
  return {
    status: await answer.json(),
    role: answer.headers.get("X-Role") ?? "",
    // The service's clock minus this machine's, in seconds; a header counts whole seconds.
    skew: Number.isFinite(served) && Math.abs(served - Date.now()) > 3000 ? (served - Date.now()) / 1000 : 0,
  };
}

export async function history(limit) {
  return (await call("GET", `${ROLLOUT}/history?limit=${limit}`)).json();
}

export const versions = async () => (await call("GET", VERSIONS)).json();

export const consoleData = async () => (await call("GET", CONSOLE)).json();

export async function timeline(since) {
  const signal = AbortSignal.timeout(READ_WAIT);
  return (await call("GET", `${ROLLOUT}/timeline?since=${since}`, { signal })).json();
}

// Server-sent events over fetch, because an EventSource cannot send a token in a header.
export async function* events(signal) {
  const answer = await call("GET", `${ROLLOUT}/events`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      if (signal.aborted) throw error;
      throw new Refused(0, { error: "The connection was lost." });
    });
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    yield* parts.map(parse).filter((event) => event.data !== null); // a comment has no data
  }
}

function parse(text) {
  const event = { name: "message", data: null };
  for (const line of text.split("\n")) {
    if (line.startsWith("event: ")) event.name = line.slice(7);
    if (line.startsWith("data: ")) event.data = JSON.parse(line.slice(6));
  }
  return event;
}

// Carry out a verb, given the generation on screen. All attempts share one idempotency key, so a
// change whose answer was lost is not repeated.
export async function change(verb, body, generation, { dryRun = false, force = false } = {}) {
  const query = new URLSearchParams();
  if (dryRun) query.set("dryRun", "All");
  if (force) query.set("force", "true");
  const path = verb === "start" ? "" : `/${encodeURIComponent(verb)}`;
  const url = `${ROLLOUT}${path}?${query}`;
  const headers = { "If-Match": `"${generation}"`, "Idempotency-Key": key() };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await (await call("POST", url, { body, headers })).json();
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 0 || attempt === TRIES) throw error;
      await new Promise((done) => setTimeout(done, 500 * attempt));
    }
  }
}

// Random; crypto.randomUUID exists on https and localhost only.
function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
