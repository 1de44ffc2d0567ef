// What is asked before something is done, and all that is known of one server.

import { send } from "./api.js";
import { ago, clock, h, plural, svg } from "./dom.js";
import { load, pools } from "./model.js";
import { points, reason } from "./servers.js";

const texts = {
  drain: (n) => `It gets no new sessions; the ${n} that are there go on, and it is probed as before.`,
  disable: (n) => `It gets no new sessions and is not probed; the ${n} that are there go on.`,
  enable: () => "It gets new sessions again as soon as its probes are good.",
  terminate: () => "Client and server both get a BYE.",
};

const named = (s) => (s.backend ? s.backend : s.cluster ? `${s.cluster} in ${s.idc}` : `the whole of ${s.idc}`);

// confirm asks, does it if told so, and returns whether it was done.
export function confirm(verb, scope, sessions, doIt) {
  const d = document.getElementById("ask");
  const form = d.querySelector("form");
  const wrong = d.querySelector(".wrong");
  const word = verb === "terminate" ? "End" : verb[0].toUpperCase() + verb.slice(1);
  d.querySelector("h2").textContent = `${word} ${verb === "terminate" ? "this session" : named(scope)}?`;
  d.querySelector("#ask-text").textContent = texts[verb](plural(sessions, "session"));
  d.querySelector(".main").textContent = word;
  d.querySelector(".for").hidden = verb !== "drain" && verb !== "disable";
  d.querySelector(".reason").hidden = verb === "terminate";
  wrong.textContent = "";
  form.reset();
  d.returnValue = "";
  d.showModal();
  return new Promise((resolve) => {
    form.onsubmit = async (e) => {
      if (e.submitter?.value !== "yes") return;
      e.preventDefault();
      const action = { ...scope, reason: form.reason.value || undefined, for: (!form.for.closest("label").hidden && form.for.value) || undefined };
      try {
        const res = await (doIt ? doIt() : send("POST", verb, action));
        d.close("yes");
        resolve(res ?? {});
      } catch (err) {
        wrong.textContent = err.message;
      }
    };
    d.onclose = () => resolve(null);
  });
}

// details shows a server. act is called with what is asked for.
export function details(b, act) {
  const d = document.getElementById("details");
  const scope = { cluster: b.cluster, backend: b.backend };
  const button = (verb, text) => h("button", { type: "button", onclick: () => { d.close(); act(verb, scope); } }, text);
  d.replaceChildren(
    h("h2", { id: "details-title" }, b.backend),
    h("p", {}, h("span", { class: `state ${b.state}` }, b.state), " ", reason(b) || b.reason || ""),
    h("dl", {}, ...[
      ["Cluster", b.cluster], ["IDC", b.idc || "none"], ["Sessions", load(b)],
      ...pools(b).filter((p) => p.name).map((p) => [p.name, `${p.taken} / ${p.capacity}`]), ...(b.max_cps ? [["New", `${b.max_cps} a second at most`]] : []), ["Weight", `${b.weight}`], ["Picked", `${b.picked} times`],
      ["Health", b.health], ["Since", b.since.startsWith("0001") ? "the start" : `${new Date(b.since).toLocaleString()} (${ago(b.since)})`],
    ].flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])),
    h("div", { class: "spark big" }, svg("svg", { viewBox: "0 0 90 20", preserveAspectRatio: "none", role: "img", "aria-label": "Sessions over the last 15 minutes" }, svg("polyline", { points: points(b) }))),
    list("Changes", [...(b.changes ?? [])].reverse().slice(0, 10), (c) => `${clock(c.at)}  ${c.from} → ${c.to}: ${c.reason}`),
    list("Calls that failed", b.failures, (f) => `${clock(f.at)}  ${f.kind}: ${f.reason}`),
    list("Probes", b.probes, (p) => `${clock(p.at)}  ${p.ok ? "good" : "failed"} ${p.code ?? ""} ${p.reason ?? ""} ${p.ms.toFixed(1)} ms`),
    h("p", { class: "buttons" }, b.wish?.backend ? button("enable", "Enable") : button("drain", "Drain"), b.wish?.mode === "disable" ? null : button("disable", "Disable"),
      button("probe", "Probe now"), h("button", { type: "button", class: "main", onclick: () => d.close() }, "Close")));
  d.showModal();
}

function list(title, items, text) {
  if (!items?.length) return null;
  return h("details", { open: title !== "Probes" }, h("summary", {}, title), h("ul", {}, items.map((i) => h("li", {}, text(i)))));
}
