// The admin API. The token is kept for this tab at most, and travels in a header alone.

const KEY = "nextvec-token";
const ROLLOUT = new URL("admin/v1/rollout", document.baseURI).href;
const VERSIONS = new URL("v2/repository/index", document.baseURI).href;
const TRIES = 3;
const WAIT = 20_000;

let token = "";
try {
  token = sessionStorage.getItem(KEY) ?? "";
} catch {
  // Storage is forbidden: the token lives as long as the page.
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

// What the service refused, or that it did not answer (status 0).
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
      0: "Is the service running, and is it reached from here? In a terminal: nextvec rollout status. A rollout goes on without this page.",
      401: "Type in a token that the service was started with.",
      403: "Use a token of a higher role, or ask somebody who has one.",
      409: this.code === "conflict" ? "Look at what may be done now." : "",
      412: "Somebody or the service itself was faster. Close this, look at what is there now, and decide again.",
      503: "The service starts, drains or cannot write its record. Wait a moment and try again.",
    };
    return advice[this.status] ?? (this.status >= 500 ? `The service's log has it under ${this.body.request_id ?? "its time"}.` : "");
  }
}

async function call(method, url, { body, headers = {}, signal = AbortSignal.timeout(WAIT) } = {}) {
  let answer;
  try {
    answer = await fetch(url, {
      method,
      signal,
      cache: "no-store",
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
  if (!answer.ok) {
    throw new Refused(answer.status, await answer.json().catch(() => ({})));
  }
  return answer;
}

export async function status() {
  const answer = await call("GET", ROLLOUT);
  return { status: await answer.json(), role: answer.headers.get("X-Role") ?? "" };
}

export async function history(limit) {
  return (await call("GET", `${ROLLOUT}/history?limit=${limit}`)).json();
}

export async function versions() {
  const found = await (await call("POST", VERSIONS, { body: {} })).json();
  return found.map((one) => one.version);
}

// Server-sent events over fetch, for an EventSource cannot send a token in a header.
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
    yield* parts.map(parse);
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

// A verb, on the strength of the generation that was seen. One key for all tries: what
// was done though its answer was lost is not done twice.
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

// Random; crypto.randomUUID is there on https and localhost alone.
function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
