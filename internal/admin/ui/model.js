// What is known of the instance.

const step = 10_000; // between two samples of the load, in milliseconds
const samples = 90;

export class Model {
  status = null;
  clusters = [];
  backends = new Map(); // by id
  events = []; // the newest first

  set(status, clusters, backends) {
    this.status = status;
    this.clusters = clusters;
    this.backends = new Map(backends.map((b) => [b.id, { load: [], ...b }]));
  }

  // loads takes the sessions of those that have changed.
  loads(changed) {
    const ids = [];
    for (const [id, n] of Object.entries(changed)) {
      const b = this.backends.get(id);
      if (b && b.sessions !== n) {
        b.sessions = n;
        ids.push(id);
      }
    }
    return ids;
  }

  // sample goes on with the loads as the daemon does.
  sample() {
    for (const b of this.backends.values()) {
      b.load.push(b.sessions);
      if (b.load.length > samples) b.load.shift();
    }
  }

  event(e) {
    this.events.unshift(e);
    this.events.length = Math.min(this.events.length, 60);
  }

  // idcs are the data centres, this instance's own first, with what its sessions there are.
  idcs() {
    const all = new Map();
    for (const b of this.backends.values()) {
      let i = all.get(b.idc);
      if (!i) all.set(b.idc, (i = { name: b.idc, local: b.idc === this.status.idc, backends: 0, up: 0, sessions: 0, capacity: 0, out: 0, states: {} }));
      i.backends++;
      i.sessions += b.sessions;
      i.states[b.state] = (i.states[b.state] ?? 0) + 1;
      if (b.state === "up" || b.state === "unknown") {
        i.up++;
        i.capacity = b.capacity < 0 || i.capacity < 0 ? -1 : i.capacity + b.capacity;
      }
      if (b.wish && !b.wish.cluster) i.out++;
    }
    return [...all.values()].sort((a, b) => b.local - a.local || a.name.localeCompare(b.name));
  }

  // groups are those of a cluster, as they are tried, with their backends.
  groups(cluster) {
    return cluster.groups.map((g) => ({
      ...g,
      members: [...this.backends.values()].filter((b) => b.cluster === g.cluster && b.idc === g.idc && b.priority === g.priority),
    }));
  }
}

export { step };

// pools are the limits of a server, each with what is taken: of all sessions, and by resource.
export const pools = (b) => [
  ...(b.capacity < 0 ? [] : [{ name: "", taken: b.sessions + (b.elsewhere ?? 0), capacity: b.capacity }]),
  ...(b.resources ?? []).map((r) => ({ name: r.resource, taken: r.sessions + (r.elsewhere ?? 0), capacity: r.capacity })),
];

const part = (p) => (p.capacity > 0 ? Math.min(1, p.taken / p.capacity) : 1);

// share is how full a server is, from 0 to 1: its fullest limit counts.
export const share = (b) => Math.max(0, ...pools(b).map(part));

export const full = (b) => pools(b).filter((p) => part(p) === 1);

export const load = (b) => {
  const n = b.sessions + (b.elsewhere ?? 0);
  return b.capacity < 0 ? `${n}` : `${n} / ${b.capacity}`;
};

// conditions is what is so of a server beside its state, for people; what its reason says anyway is left out.
export const conditions = (b) => (b.conditions ?? []).map((c) => ({
  suspect: "suspect: refuses though it should have room",
  probation: "on probation: its next call decides",
  slow_start: "starting: gets a part of its share",
})[c]).filter(Boolean);

export const address = (b) => b.backend.replace(/^sips?:/, "");
