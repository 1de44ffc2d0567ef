// The API of this instance, and its events.

// Not relative to the page, whose URL may have a name and a password in it: browsers refuse to fetch such URLs.
const base = `${location.origin}${location.pathname.replace(/[^/]*$/, "")}api/v1/`;

export async function get(path) {
  return answer(await fetch(base + path, { cache: "no-store" }));
}

export async function send(method, path, body) {
  return answer(await fetch(base + path, {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body ? JSON.stringify(body) : undefined,
  }));
}

async function answer(resp) {
  const text = await resp.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = { error: text.trim() || resp.statusText };
  }
  if (!resp.ok) throw new Error(body.error);
  return body;
}

// follow calls on with each event after the number, and live with whether the stream is open. A browser connects again by
// itself, and asks for what it has missed.
export function follow(after, on, live) {
  const source = new EventSource(`${base}events?load=true&after=${after}`);
  for (const type of ["state", "failover", "rejected", "operator", "config", "load"]) {
    source.addEventListener(type, (e) => on(type, JSON.parse(e.data)));
  }
  source.onopen = () => live(true);
  source.onerror = () => {
    live(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow(after, on, live), 3000);
  };
}
