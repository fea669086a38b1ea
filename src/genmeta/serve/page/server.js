// Talks to the server. The token that names this visitor goes in a header, which no page of another site can send.

const KEY = "genmeta-session";
let token = sessionStorage.getItem(KEY);
let ended = () => {};

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function onEnded(handler) {
  ended = handler;
}

async function ask(method, address, body) {
  const headers = {};
  if (token) headers["X-Session"] = token;
  if (body !== undefined && !(body instanceof Blob)) {
    body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(address, { method, headers, body, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Refused("The server cannot be reached. Is genmeta serve still running?", 0);
  }
  if (answer.ok) return answer;
  let message = "Something went wrong. Try again.";
  try {
    message = (await answer.json()).error || message;
  } catch {}
  if (answer.status === 410) ended();
  throw new Refused(message, answer.status);
}

const json = async (...request) => (await ask(...request)).json();

export const server = {
  /** Takes up the session of this tab, or begins one. */
  async begin() {
    if (token) {
      const previous = ended;
      ended = () => {};
      try {
        return await json("GET", "/api/session");
      } catch (error) {
        if (error.status !== 410) throw error;
      } finally {
        ended = previous;
      }
    }
    const state = await json("POST", "/api/session");
    token = state.token;
    sessionStorage.setItem(KEY, token);
    return state;
  },
  async end() {
    try {
      await ask("DELETE", "/api/session");
    } finally {
      token = null;
      sessionStorage.removeItem(KEY);
    }
  },
  forget() {
    token = null;
    sessionStorage.removeItem(KEY);
  },
  choose: (checkpoint) => json("PUT", "/api/checkpoint", { checkpoint }),
  example: (example) => json("POST", "/api/example", { example }),
  addClass: (name) => json("POST", "/api/classes", { name }),
  rename: (id, name) => json("PATCH", `/api/classes/${id}`, { name }),
  removeClass: (id) => json("DELETE", `/api/classes/${id}`),
  addImage: (id, blob) => json("POST", `/api/classes/${id}/images`, blob),
  removeImage: (id) => json("DELETE", `/api/images/${id}`),
  adapt: (quick) => json("POST", "/api/adapt", { quick }),
  progress: () => json("GET", "/api/progress"),
  predict: (blob) => json("POST", "/api/predict", blob),
  model: async () => (await ask("GET", "/api/model")).blob(),
};
