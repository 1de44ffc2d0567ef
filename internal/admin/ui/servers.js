// The servers: a table for each group, or tiles where there are very many.

import { ago, h, plural, set, svg, swap } from "./dom.js";
import { address, conditions, full, load, share } from "./model.js";

const many = 150; // servers from which on they are tiles

export class Servers {
  #root;
  #model;
  #act;
  #views = new Map(); // by backend id
  #groups = [];
  #shape = "";

  // act is called with a verb and a scope for what an operator asks for, and with "show" and a backend.
  constructor(root, model, act) {
    this.#root = root;
    this.#model = model;
    this.#act = act;
  }

  // draw follows the model, from new where the servers are others than before.
  draw() {
    const dense = this.#model.backends.size > many;
    const shape = dense + JSON.stringify(this.#model.clusters.map((c) => [c.name, c.policy, c.fallback, c.groups.map((g) => [g.idc, g.priority])])) + [...this.#model.backends.keys()].join();
    if (shape !== this.#shape) {
      this.#shape = shape;
      this.#build(dense);
    }
    for (const id of this.#views.keys()) this.update(id);
    this.sums();
  }

  // update follows one server.
  update(id) {
    const b = this.#model.backends.get(id);
    if (b) this.#views.get(id)?.(b);
  }

  // sums follows what is added up.
  sums() {
    for (const g of this.#groups) g();
  }

  // filter shows the servers that a text stands in, and if wanted only those that are not up.
  filter(text, trouble) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const [id, e] of this.#elements()) {
      const b = this.#model.backends.get(id);
      const all = `${b.backend} ${b.cluster} ${b.idc} ${b.state} ${b.reason ?? ""} ${(b.conditions ?? []).join(" ")}`.toLowerCase();
      const well = b.state === "up" && !b.held && !b.conditions?.some((c) => c !== "slow_start");
      e.hidden = (trouble && well) || words.some((w) => !all.includes(w));
    }
  }

  #elements() {
    return [...this.#root.querySelectorAll("[data-id]")].map((e) => [e.dataset.id, e]).filter(([id]) => this.#model.backends.has(id));
  }

  #build(dense) {
    this.#views.clear();
    this.#groups = [];
    this.#root.classList.toggle("dense", dense);
    this.#root.replaceChildren(...this.#model.clusters.map((c) => this.#cluster(c, dense)));
  }

  #cluster(c, dense) {
    const sum = h("span", { class: "sum" });
    const groups = this.#model.groups(c);
    this.#groups.push(() => {
      const members = groups.flatMap((g) => g.members.map((b) => this.#model.backends.get(b.id)).filter(Boolean));
      const now = this.#model.clusters.find((o) => o.name === c.name) ?? c;
      const licences = now.licences ? `${now.licences.taken} of ${now.licences.limit} licences · ` : "";
      const waiting = now.waiting ? `${now.waiting} waiting · ` : "";
      const away = Object.entries(now.fell_back ?? {}).map(([at, n]) => `${n} more at ${at} · `).join("");
      set(sum, `${members.reduce((n, b) => n + b.sessions, 0)} sessions · ${licences}${waiting}${away}${members.filter((b) => b.state === "up").length} of ${members.length} up`);
    });
    const about = [c.policy, c.fallback.length ? `then ${c.fallback.join(", ")}` : ""].filter(Boolean).join(" · ");
    return h("article", { class: "cluster", "aria-label": `Cluster ${c.name}` },
      h("h3", {}, c.name, h("span", { class: "about" }, about), sum),
      h("div", { class: "groups" }, groups.map((g) => this.#group(g, dense))));
  }

  #group(g, dense) {
    const scope = { cluster: g.cluster, idc: g.idc };
    const sum = h("span", { class: "sum" });
    const title = `${g.cluster} in ${g.idc || "no IDC"}`;
    this.#groups.push(() => {
      const members = g.members.map((b) => this.#model.backends.get(b.id)).filter(Boolean);
      const capacity = members.reduce((n, b) => (b.capacity < 0 || n < 0 ? -1 : n + b.capacity), 0);
      const spill = g.spill_limit === undefined ? "" : ` · ${g.spill_limit} may spill`;
      set(sum, `${members.reduce((n, b) => n + b.sessions, 0)}${capacity < 0 ? "" : ` / ${capacity}`}${spill}`);
    });
    return h("section", { class: g.local ? "group local" : "group", "aria-label": title },
      h("h4", {}, g.idc || "—", g.local ? h("span", { class: "tag" }, "local") : null, g.priority ? h("span", { class: "tag" }, `priority ${g.priority}`) : null, sum,
        g.idc ? h("span", { class: "buttons" },
          h("button", { type: "button", "aria-label": `Drain ${title}`, onclick: () => this.#act("drain", scope) }, "Drain"),
          h("button", { type: "button", "aria-label": `Enable ${title}`, onclick: () => this.#act("enable", scope) }, "Enable")) : null),
      dense ? this.#tiles(g) : this.#table(g, title));
  }

  #tiles(g) {
    const ports = new Set(g.members.map((b) => address(b).match(/:\d+(?=;|$)/)?.[0]));
    const short = (b) => address(b).replace(/;.*/, "").replace(ports.size === 1 ? /:\d+$/ : "", "");
    return h("ul", { class: "tiles" }, g.members.map((b) => {
      const fill = h("span", { class: "fill" });
      const name = h("span", { class: "name" }, short(b));
      const count = h("span", { class: "count" });
      const tile = h("button", { type: "button", class: "tile", onclick: () => this.#act("show", b.id) }, fill, name, count);
      this.#views.set(b.id, (b) => {
        tile.className = `tile ${b.state}${b.held ? " held" : ""}`;
        fill.style.width = `${share(b) * 100}%`;
        set(count, load(b));
        tile.setAttribute("aria-label", `${b.backend}: ${b.state}, ${load(b)} sessions${b.reason && b.state !== "up" ? `, ${b.reason}` : ""}`);
        tile.title = `${b.backend}\n${b.state}: ${b.reason ?? ""}`;
      });
      return h("li", { "data-id": b.id }, tile);
    }));
  }

  #table(g, title) {
    return h("table", { class: "servers" },
      h("caption", { class: "heard" }, `Servers of ${title}`),
      h("thead", {}, h("tr", {}, [["State", "w-state"], ["Server", "w-name"], ["Sessions", "w-load"], ["15 minutes", "spark w-spark"], ["Why", ""], ["Actions", "w-buttons"]].map(([t, c]) => h("th", { scope: "col", class: c }, h("span", { class: "heard" }, t))))),
      h("tbody", {}, g.members.map((b) => this.#row(b))));
  }

  #row(b) {
    const scope = { cluster: b.cluster, backend: b.backend };
    const state = h("span", { class: "state" });
    const fill = h("span", { class: "fill" });
    const meter = h("span", { class: "meter", role: "meter", "aria-valuemin": 0, "aria-label": "Sessions" }, fill);
    const count = h("span", { class: "count" });
    const line = svg("polyline", {});
    const why = h("td", { class: "why" });
    const drain = h("button", { type: "button", "aria-label": `Drain ${b.backend}`, onclick: () => this.#act("drain", scope) }, "Drain");
    const enable = h("button", { type: "button", "aria-label": `Enable ${b.backend}`, onclick: () => this.#act("enable", scope) }, "Enable");
    const row = h("tr", { "data-id": b.id },
      h("td", {}, state),
      h("th", { scope: "row" }, h("button", { type: "button", class: "link", onclick: () => this.#act("show", b.id) }, address(b))),
      h("td", { class: "load" }, meter, count),
      h("td", { class: "spark" }, svg("svg", { viewBox: "0 0 90 20", preserveAspectRatio: "none", "aria-hidden": "true" }, line)),
      why, h("td", { class: "buttons" }, drain, enable));
    this.#views.set(b.id, (b) => {
      row.className = b.state + (b.held ? " held" : "");
      set(state, b.state);
      fill.style.width = `${share(b) * 100}%`;
      meter.setAttribute("aria-valuenow", b.sessions);
      meter.setAttribute("aria-valuetext", `${load(b)} sessions`);
      if (b.capacity >= 0) meter.setAttribute("aria-valuemax", b.capacity);
      set(count, load(b));
      line.setAttribute("points", points(b));
      set(why, reason(b));
      why.title = b.reason ?? "";
      swap(drain, enable, Boolean(b.wish && b.wish.backend));
    });
    return row;
  }
}

// points is the line of a server's load, scaled to its capacity or to the highest.
export function points(b) {
  const top = Math.max(b.capacity > 0 ? b.capacity : 0, ...b.load, 1);
  const from = 90 - b.load.length;
  return b.load.map((n, i) => `${from + i},${(19 - (18 * n) / top).toFixed(1)}`).join(" ");
}

// reason is why a server is not simply up.
export function reason(b) {
  const parts = [];
  if (b.state !== "up") parts.push(`${b.reason ?? ""}${b.since && !b.since.startsWith("0001") ? ` (for ${ago(b.since)})` : ""}`);
  if (b.wish && b.health === "down") parts.push("and does not answer");
  if (b.held) parts.push("refused a session, passed over for a moment");
  parts.push(...conditions(b));
  if (b.state === "up") parts.push(...full(b).map((p) => (p.name ? `full of ${p.name}` : "full")));
  if (b.weight === 0) parts.push("weight 0");
  if (b.file_weight !== undefined) parts.push(`weight ${b.weight}, the file has ${b.file_weight}`);
  return parts.join("; ");
}

const order = ["up", "unknown", "draining", "disabled", "down", "removed"];

export const counted = (states) => order.filter((s) => states[s]).map((s) => `${states[s]} ${s}`).join(", ") || plural(0, "server");
