// Making and changing elements.

// h makes an element: properties (on… are listeners, the others attributes), then children.
export function h(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v === true) e.setAttribute(k, "");
    else if (v !== false && v !== null && v !== undefined) e.setAttribute(k, v);
  }
  e.append(...children.flat().filter((c) => c !== null && c !== undefined));
  return e;
}

const svgNS = "http://www.w3.org/2000/svg";

export function svg(tag, attrs, ...children) {
  const e = document.createElementNS(svgNS, tag);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// set changes a text only when it differs, so that nothing is drawn or read aloud for nothing.
export function set(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

// swap shows one of two buttons, and keeps the keyboard there.
export function swap(first, second, wantSecond) {
  const there = document.activeElement === (wantSecond ? first : second);
  first.hidden = wantSecond;
  second.hidden = !wantSecond;
  if (there) (wantSecond ? second : first).focus();
}

export function ago(iso, now = Date.now()) {
  const s = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
}

export const clock = (iso) => new Date(iso).toLocaleTimeString([], { hour12: false });

export const plural = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;
