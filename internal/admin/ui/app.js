// The status page of one instance.

import { follow, get, send } from "./api.js";
import { confirm, details } from "./dialogs.js";
import { ago, clock, h, plural, set, svg, swap } from "./dom.js";
import { Model, step } from "./model.js";
import { counted, Servers } from "./servers.js";

const $ = (id) => document.getElementById(id);
const model = new Model();
const servers = new Servers($("clusters"), model, act);

// act does what an operator asks for, after a question, or shows a server.
async function act(verb, scope) {
  if (verb === "show") return details(await get(`backends/${scope}`), act);
  if (verb === "probe") return void send("POST", "probe", scope).then(refreshSoon, (e) => announce(e.message));
  const covered = [...model.backends.values()].filter((b) => (!scope.cluster || b.cluster === scope.cluster) && (!scope.idc || b.idc === scope.idc) && (!scope.backend || b.backend === scope.backend));
  const done = await confirm(verb, scope, covered.reduce((n, b) => n + b.sessions, 0));
  if (!done) return;
  announce(`${verb}: done${done.warning ? `. ${done.warning}` : ""}`);
  await refresh();
}

function announce(text) {
  $("announce").textContent = text;
}

// refresh asks for everything, one question at a time.
let asking = null;
let again = false;
function refresh() {
  if (asking) {
    again = true;
    return asking;
  }
  asking = (async () => {
    do {
      again = false;
      const [status, clusters, backends] = await Promise.all([get("status"), get("clusters"), get("backends?load=true")]);
      model.set(status, clusters, backends);
      draw();
    } while (again);
  })().finally(() => { asking = null; });
  return asking;
}

// refreshSoon lets what happens at once be one question.
let soon = null;
function refreshSoon() {
  soon ??= setTimeout(() => {
    soon = null;
    refresh().catch(() => {});
  }, 200);
}

function draw() {
  servers.draw();
  drawTop();
  filter();
}

function drawTop() {
  const s = model.status;
  if (!s) return;
  const sessions = [...model.backends.values()].reduce((n, b) => n + b.sessions, 0);
  document.title = `${sessions} · ${s.idc || "mrcproxy"}`;
  set($("instance"), `${s.idc ? `${s.idc} · ` : ""}${plural(sessions, "session")} · ${s.version} · up ${ago(s.started)}${s.ready ? "" : ` · not ready: ${s.why}`}`);
  $("instance").classList.toggle("bad", !s.ready);
  if (s.trouble?.join() !== told) {
    told = s.trouble?.join();
    $("wrong").replaceChildren(...(s.trouble ?? []).map((t) => h("li", {}, t)));
  }
  drawTraffic(sessions);
}

let told; // of what is wrong with the instance

// drawTraffic shows how much of this instance's sessions each data centre has: the thicker the arrow, the more. What is there
// stays, and only its content follows: a button that somebody is at must not go from under the hand.
let idcs = new Map();
function drawTraffic(total) {
  const all = model.idcs();
  if (all.map((i) => i.name).join("\n") !== [...idcs.keys()].join("\n")) {
    idcs = new Map(all.map((i) => [i.name, idc(i)]));
    $("idcs").replaceChildren(...[...idcs.values()].map((v) => v.element));
  }
  for (const i of all) idcs.get(i.name).update(i, total);
}

// idc is the view of one data centre.
function idc({ name, local }) {
  const scope = { idc: name };
  const line = svg("path", { d: "M2 12H50" });
  const arrow = svg("svg", { viewBox: "0 0 64 24", "aria-hidden": "true" }, line, svg("path", { class: "head", d: "M48 3l14 9l-14 9z" }));
  const count = h("strong", {});
  const much = h("span", {});
  const sum = h("p", { class: "sum" });
  const drain = h("button", { type: "button", "aria-label": `Drain ${name}`, onclick: () => act("drain", scope) }, "Drain");
  const enable = h("button", { type: "button", "aria-label": `Enable ${name}`, onclick: () => act("enable", scope) }, "Enable");
  const element = h("li", {}, arrow,
    h("div", {},
      h("h3", {}, name || "no IDC", local ? h("span", { class: "tag" }, "this instance's") : null),
      h("p", { class: "much" }, count, much), sum),
    name ? h("span", { class: "buttons" }, drain, enable) : null);
  const update = (i, total) => {
    const part = total ? i.sessions / total : 0;
    element.className = `idc ${i.local ? "local" : "remote"}${i.up ? "" : " dead"}${i.out ? " out" : ""}`;
    arrow.setAttribute("class", part ? "arrow" : "arrow none");
    line.setAttribute("stroke-width", (part ? 2 + 12 * part : 1).toFixed(1));
    set(count, `${i.sessions}`);
    set(much, ` ${i.local ? "local" : "spilled"} · ${Math.round(part * 100)} %`);
    set(sum, `${counted(i.states)}${i.capacity < 0 ? "" : ` · ${plural(i.capacity, "place")}`}`);
    swap(drain, enable, i.out > 0);
  };
  return { element, update };
}

const filter = () => servers.filter($("filter").value, $("trouble").checked);

function drawEvents() {
  $("recent").tBodies[0].replaceChildren(...model.events.map((e) => h("tr", { class: `ev-${e.type} ${e.state ? `to-${e.state}` : ""}` },
    h("td", {}, clock(e.at)),
    h("td", {}, e.count > 1 ? `${e.type} ×${e.count}` : e.type),
    h("td", {}, [e.cluster, (e.backend ?? e.idc ?? "").replace(/^sips?:/, "")].filter(Boolean).join(" ")),
    h("td", {}, e.text, e.by ? h("span", { class: "about" }, ` ${e.by}`) : null))));
}

function happened(type, e) {
  if (type === "load") {
    for (const id of model.loads(e)) servers.update(id);
    servers.sums();
    drawTop();
    return;
  }
  model.event(e);
  drawEvents();
  if (type === "state") announce(`${e.backend} is ${e.state}`);
  if (type !== "failover" && type !== "rejected") refreshSoon();
}

function live(on) {
  $("live").className = on ? "on" : "off";
  set($("live").querySelector(".text"), on ? "live" : "no connection");
  if (on) refreshSoon();
}

async function find(after = "") {
  const text = $("call-id").value.trim();
  try {
    const page = await get(`sessions?limit=20&call_id=${encodeURIComponent(text)}&after=${after}`);
    $("found").replaceChildren(h("p", {}, `${plural(page.total, "session")}${text ? ` with ${text}` : ""}`), found(page),
      ...(page.next ? [h("button", { type: "button", onclick: () => find(page.next) }, "Next")] : []));
  } catch (e) {
    $("found").replaceChildren(h("p", { class: "wrong" }, e.message));
  }
}

function found(page) {
  return h("ul", { class: "sessions" }, page.sessions.map((s) => h("li", {},
    h("code", {}, s.call_id),
    h("p", {}, `${s.backend.replace(/^sips?:/, "")} (${s.cluster}${s.wanted_cluster === s.cluster ? "" : `, for ${s.wanted_cluster}`}${s.idc ? `, ${s.idc}` : ""}) by route ${s.route || "?"} · for ${ago(s.start)} · set up in ${s.setup_ms.toFixed(1)} ms`),
    s.attempts.length > 1 ? h("p", { class: "about" }, s.attempts.map((a) => `${a.backend} ${a.outcome} ${a.ms.toFixed(0)} ms`).join(" → ")) : null,
    s.endable ? h("button", { type: "button", "aria-label": `End the session ${s.call_id}`, onclick: async () => {
      if (await confirm("terminate", {}, 1, () => send("DELETE", `sessions/${s.id}`))) find();
    } }, "End") : null)));
}

// theme goes round: as the system, light, dark.
function theme(next) {
  const order = ["", "light", "dark"];
  let now = localStorage.getItem("theme") ?? "";
  if (next) {
    now = order[(order.indexOf(now) + 1) % order.length];
    localStorage.setItem("theme", now);
  }
  document.documentElement.dataset.theme = now;
  set($("theme"), { "": "◑", light: "☀", dark: "☾" }[now]);
}

theme(false);
$("theme").addEventListener("click", () => theme(true));
$("filter").addEventListener("input", filter);
$("trouble").addEventListener("change", filter);
$("find").addEventListener("submit", (e) => {
  e.preventDefault();
  find();
});
document.addEventListener("keydown", (e) => {
  if (e.key === "/" && !/INPUT|TEXTAREA/.test(e.target.tagName)) {
    e.preventDefault();
    $("call-id").focus();
  }
});
// What no event tells of (what fell back, what is held) is asked for now and then.
setInterval(refreshSoon, 3 * step);
setInterval(() => {
  model.sample();
  if (model.status) draw();
}, step);

async function begin() {
  try {
    await refresh();
    for (const e of await get("events")) model.event(e);
  } catch {
    live(false);
    setTimeout(begin, 3000);
    return;
  }
  drawEvents();
  follow(model.events[0]?.id ?? 0, happened, live);
}
begin();
