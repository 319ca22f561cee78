// The console: a stream of figures drawn as they come, and answers to what is asked. Nothing is fetched from elsewhere.
const KEY = "upnext-operate-key";
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/** An element with properties and children; texts are never read as HTML. */
function h(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
function s(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
const td = (text, className = "") => h("td", { className }, text);
const number = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en", { maximumFractionDigits: n < 10 ? 2 : n < 100 ? 1 : 0 }));
const ms = (n) => (n === null || n === undefined ? "–" : `${number(n)} ms`);
const share = (n) => `${(100 * n).toFixed(1)} %`;
const when = (at) => (at ? new Date(at).toLocaleString("en-GB") : "–");

/** Rows of a table; one sentence where there are none. */
function fill(table, rows, nothing) {
  const width = table.tHead.rows[0].cells.length;
  const empty = h("tr", {}, h("td", { colSpan: width, className: "quiet" }, nothing));
  table.tBodies[0].replaceChildren(...(rows.length ? rows : [empty]));
}

// Asking

let keyAsked = null;
function askForKey() {
  keyAsked ??= new Promise((resolve) => {
    const dialog = $("key");
    dialog.addEventListener("close", () => {
      keyAsked = null;
      const typed = $("key-text").value.trim();
      $("key-text").value = "";
      if (typed) sessionStorage.setItem(KEY, typed);
      resolve(Boolean(typed));
    }, { once: true });
    dialog.showModal();
  });
  return keyAsked;
}

async function send(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { "X-Api-Key": key } : {}) };
  const response = await fetch(path, { cache: "no-store", ...options, headers });
  if (response.status === 401) {
    sessionStorage.removeItem(KEY);
    if (await askForKey()) return send(path, options);
  }
  if (!response.ok) {
    const failure = await response.json().catch(() => null);
    throw Object.assign(new Error(failure?.error?.message ?? `the server answered ${response.status}`), { status: response.status });
  }
  return response;
}
const ask = async (path) => (await send(path)).json();
const post = async (path, body) =>
  (await send(path, { method: "POST", ...(body ? { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : {}) })).json();

/** Says what became of something, in the status line that belongs to it. */
async function telling(line, work) {
  line.textContent = "";
  try {
    line.textContent = (await work()) ?? "";
  } catch (error) {
    line.textContent = error.message;
  }
}

function confirmed(title, text, yes) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  const dialog = $("confirm");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

// Drawing

const WIDTH = 600, HEIGHT = 150, SPAN_MS = 15 * 60_000, LEAST_MS = 60_000;
const COLOURS = new Map();
const FIXED = { full: 0, fast: 1, popular: 2, live: 0, shortlist: 1, precomputed: 2, prefetched: 3 };
/** The same colour for the same name, as long as the page is open. */
function colour(name) {
  if (!COLOURS.has(name)) COLOURS.set(name, FIXED[name] ?? COLOURS.size % 6);
  return COLOURS.get(name);
}
/** From the oldest point there is to the newest. */
const across = (point, last) => (WIDTH * (1 - (last - point.at_ms) / Math.max(last - points[0].at_ms, LEAST_MS))).toFixed(1);

function legend(node, entries) {
  node.replaceChildren(...entries.map(([name, text, place]) =>
    h("span", {}, h("i", { className: `c${place}` }), `${name} `, h("b", {}, text))));
}

function path(points, value, most, last) {
  let drawn = "", down = true;
  for (const point of points) {
    const at = value(point);
    if (at === null || at === undefined) { down = true; continue; }
    drawn += `${down ? "M" : "L"}${across(point, last)} ${(HEIGHT - (HEIGHT * at) / most).toFixed(1)}`;
    down = false;
  }
  return drawn;
}

function lines(chart, points, series, unit) {
  const last = points.at(-1)?.at_ms ?? 0;
  const values = series.flatMap(([, value]) => points.map(value)).filter((value) => value !== null);
  const most = Math.max(...values, 1) * 1.1;
  const rules = [0.25, 0.5, 0.75, 1].map((part) => s("line", { class: "rule", x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part }));
  chart.replaceChildren(...rules, ...series.map(([, value], place) => s("path", { class: `line c${place}`, d: path(points, value, most, last) })));
  const newest = points.at(-1);
  const key = $(chart.id.replace("chart", "legend"));
  legend(key, series.map(([name, value], place) => [name, newest ? unit(value(newest)) : "–", place]));
  key.append(h("span", {}, `up to ${unit(most)}`));
}

function stacked(chart, points, of) {
  const last = points.at(-1)?.at_ms ?? 0, names = Object.keys(FIXED).filter((name) => points.some((point) => name in of(point)));
  for (const point of points) for (const name of Object.keys(of(point))) if (!names.includes(name)) names.push(name);
  const floors = points.map(() => 0);
  const areas = names.map((name) => {
    const lower = points.map((point, at) => `${across(point, last)} ${(HEIGHT - HEIGHT * floors[at]).toFixed(1)}`);
    points.forEach((point, at) => { floors[at] += of(point)[name] ?? 0; });
    const upper = points.map((point, at) => `${across(point, last)} ${(HEIGHT - HEIGHT * floors[at]).toFixed(1)}`);
    return s("path", { class: `area c${colour(name)}`, d: points.length ? `M${upper.join("L")}L${lower.reverse().join("L")}z` : "" });
  });
  chart.replaceChildren(...areas);
  const newest = points.at(-1);
  legend($(chart.id.replace("chart", "legend")), names.map((name) => [name, newest ? share(of(newest)[name] ?? 0) : "–", colour(name)]));
}

// Live

let points = [], window_s = 60, stream = null, alerted = "", inForce = null;

function tails(id, entries, power) {
  fill($(id), entries.map((each) => {
    const cells = [td(number(each.p999_ms), "tail"), td(number(each.p99_ms), "tail"), td(number(each.p50_ms), "small"), td(number(each.per_s))];
    return h("tr", { className: each.name === power ? "power" : "" }, h("th", { scope: "row" }, each.name || "(none)"), ...cells);
  }), "nothing in this window yet");
}
function counts(id, entries) {
  fill($(id), entries.map((each) => h("tr", {}, h("th", { scope: "row" }, each.name), td(number(each.n)), td(number(each.per_s)))), "nothing in this window");
}

function show(figures) {
  const fresh = figures.points.filter((point) => !points.length || point.at_ms > points.at(-1).at_ms);
  points = [...points, ...fresh].filter((point) => point.at_ms > figures.at_ms - SPAN_MS);
  const total = figures.stages.find((each) => each.name === "total");
  const history = (name) => figures.histories.find((each) => each.name === name);
  const rest = figures.histories.at(-1), power = figures.histories.at(-2);
  $("big-p999").textContent = ms(total?.p999_ms);
  $("big-p99").textContent = ms(total?.p99_ms);
  $("big-power").textContent = ms(power?.p99_ms);
  $("big-rest").textContent = ms(rest?.p99_ms);
  $("big-rate").textContent = number(total?.per_s ?? 0);
  $("big-full").textContent = share(figures.tier_shares.find((each) => each.name === "full")?.share ?? 0);
  lines($("chart-tail"), points, [["p99.9", (point) => point.p999_ms], ["p99", (point) => point.p99_ms]], ms);
  stacked($("chart-tiers"), points, (point) => point.tiers);
  stacked($("chart-routes"), points, (point) => point.routes);
  lines($("chart-ingest"), points, [["accepted", (point) => point.accepted_per_s], ["rejected", (point) => point.rejected_per_s]], number);
  tails("stages", [...figures.stages].sort((a, b) => (a.name === "total") - (b.name === "total")));
  tails("tiers", figures.tiers);
  tails("routes", figures.routes);
  tails("regions", figures.regions);
  tails("histories", figures.histories.filter((each) => history(each.name) !== rest), power?.name);
  for (const id of ["degraded", "events", "rejected", "refused"]) counts(id, figures[id]);
  fill($("breakers"), figures.breakers.map((each) => h("tr", {}, h("th", { scope: "row" }, each.name.replace("_", " ")),
    h("td", {}, h("span", { className: `badge ${each.state === "closed" ? "good" : "bad"}` }, each.state.replace("_", " "))), td(number(each.workers_open), each.workers_open ? "bad" : ""), td(number(each.opened)))), "no release yet");
  fill($("steering"), figures.steering.map((each) => h("tr", {}, h("th", { scope: "row" }, each.region || "(none)"), td(number(each.quality)),
    h("td", {}, h("span", { className: `badge ${each.guard ? "bad" : "good"}` }, each.guard ? "on" : "off")))), "nothing yet");
  fill($("gauges"), Object.entries(figures.gauges).sort().flatMap(([name, standing]) => Object.entries(standing).map(([tenant, value]) =>
    h("tr", {}, h("th", { scope: "row" }, name.replaceAll("_", " ")), td(tenant), td(number(value), "number")))), "nothing yet");
  alertOf(figures);
  if (inForce !== null && inForce !== figures.release && !$("view-releases").hidden) releases();
  inForce = figures.release;
}

/** Said once for each change, not with every tick. */
function alertOf(figures) {
  const found = [
    ...figures.breakers.filter((each) => each.state !== "closed").map((each) => `the breaker around ${each.name} is ${each.state.replace("_", " ")}`),
    ...figures.steering.filter((each) => each.guard).map((each) => `the guard is on for ${each.region || "requests without a region"}`),
  ].join("; ");
  if (found !== alerted) $("alerts").textContent = alerted = found;
}

function connected(is, text) {
  $("light").className = `light ${is ? "on" : "off"}`;
  $("connection").textContent = text;
}

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (event.startsWith("event: figures") && data) yield JSON.parse(data.slice(6));
    }
  }
}

async function watch() {
  stream?.abort();
  const own = stream = new AbortController();
  while (!own.signal.aborted) {
    try {
      const response = await send(`/v1/ops/stream?window_s=${window_s}`, { signal: own.signal });
      for await (const figures of eventsOf(response)) {
        show(figures);
        connected(true, "live");
      }
      connected(false, "reconnecting");
    } catch (error) {
      if (own.signal.aborted) return;
      connected(false, error.status ? "refused" : "not reached");
      if (error.status) $("alerts").textContent = alerted = error.message;
      if (error.status < 500) return; // asking again would change nothing
    }
    await new Promise((resolve) => setTimeout(resolve, 2_000));
  }
}

// Dead letters

const chosen = () => [...document.querySelectorAll("#letters tbody input:checked")].map((box) => Number(box.value));
function choiceChanged() {
  const n = chosen().length, boxes = document.querySelectorAll("#letters tbody input");
  $("replay-chosen").disabled = n === 0;
  $("replay-chosen").textContent = n ? `Replay ${n} chosen` : "Replay chosen";
  $("letters-all").checked = n > 0 && n === boxes.length;
}

async function letters() {
  const reason = $("letters-reason").value;
  const found = await ask(`/v1/deadletters?limit=200${reason ? `&reason=${encodeURIComponent(reason)}` : ""}`);
  $("letters-waiting").textContent = `${number(found.waiting)} wait, ${number(found.waiting_bytes)} bytes`;
  const reasons = Object.entries(found.by_reason).filter(([, n]) => n > 0).map(([name, n]) => h("option", { value: name, selected: name === reason }, `${name} (${n})`));
  $("letters-reason").replaceChildren(h("option", { value: "" }, "any"), ...reasons);
  fill($("letters"), found.letters.map((letter) => {
    const box = h("input", { type: "checkbox", value: letter.number, onchange: choiceChanged, ariaLabel: `Choose dead letter ${letter.number}` });
    const content = h("details", {}, h("summary", {}, letter.message), h("code", {}, letter.text ?? letter.base64 ?? ""));
    return h("tr", {}, h("td", {}, box), h("th", { scope: "row" }, letter.number), td(when(letter.received_ms)), td(letter.kind), td(letter.reason),
      h("td", {}, h("code", {}, letter.path)), td(letter.producer), h("td", { className: "clip" }, content));
  }), "no dead letters");
  choiceChanged();
}

const replay = (choice) => telling($("replay-result"), async () => {
  const report = await post("/v1/deadletters/replay", choice);
  await letters();
  const still = Object.entries(report.by_reason).map(([reason, n]) => `${n} for ${reason}`).join(", ");
  return `${report.replayed} replayed (${report.records} new, ${report.duplicates} known, ${report.withheld} withheld), ${report.still_refused} still refused${still ? `: ${still}` : ""}`;
});

// Releases

/** Whatever a report holds: rows of facts as a table, facts as lines, the rest folded. */
function report(value) {
  const plain = (each) => each === null || typeof each !== "object";
  const text = (each) => (typeof each === "number" ? String(Math.round(each * 1e5) / 1e5) : each === null ? "–" : typeof each === "object" ? JSON.stringify(each) : String(each));
  if (plain(value)) return h("code", {}, text(value));
  if (Array.isArray(value)) {
    if (!value.length) return h("span", { className: "quiet" }, "nothing");
    if (value.some(plain)) return h("code", {}, value.map(text).join(", "));
    const heads = [...new Set(value.flatMap((row) => Object.keys(row)))];
    const rows = value.map((row) => h("tr", {}, ...heads.map((head) => td(head in row ? text(row[head]) : ""))));
    const table = h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head.replaceAll("_", " "))))), h("tbody", {}, ...rows));
    return h("div", { className: "scroll", tabIndex: 0 }, table);
  }
  const facts = Object.entries(value).filter(([, each]) => plain(each));
  const nested = Object.entries(value).filter(([, each]) => !plain(each));
  return h("div", {}, h("p", { className: "facts" }, ...facts.map(([name, each]) => h("span", {}, `${name.replaceAll("_", " ")} `, h("b", {}, text(each))))),
    ...nested.map(([name, each]) => h("details", {}, h("summary", {}, name.replaceAll("_", " ")), report(each))));
}

/** Each evaluation as a table of systems by figures, with half the width of the 95 % interval; what else it holds folded. */
function evaluations(reports) {
  const kinds = Object.entries(reports);
  if (!kinds.length) return h("p", { className: "quiet" }, "not evaluated; run upnext evaluate");
  return h("div", {}, ...kinds.map(([kind, found]) => h("details", {}, h("summary", {}, `Evaluation: ${kind.replaceAll("-", " ")}`),
    found.systems ? systems(found) : report(found), Object.keys(found.segments ?? {}).length ? report({ segments: found.segments }) : null)));
}
function systems(found) {
  const figures = [...new Set(Object.values(found.systems).flatMap(Object.keys))];
  const best = Object.fromEntries(figures.map((name) => [name, Math.max(...Object.values(found.systems).map((of) => of[name] ?? -Infinity))]));
  const cell = (system, of, name) => {
    if (of[name] === undefined) return td("–");
    const interval = found.intervals?.[system]?.[name], whole = Number.isInteger(of[name]);
    return td(`${whole ? number(of[name]) : of[name].toFixed(4)}${interval ? ` ±${((interval[1] - interval[0]) / 2).toFixed(3)}` : ""}`, !whole && of[name] === best[name] ? "best" : "");
  };
  const head = h("thead", {}, h("tr", {}, ...["system", ...figures].map((name) => h("th", { scope: "col" }, name))));
  const rows = Object.entries(found.systems).map(([system, of]) => h("tr", {}, h("th", { scope: "row" }, system.replaceAll("_", " ")), ...figures.map((name) => cell(system, of, name))));
  return h("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Systems evaluated" }, h("table", {}, head, h("tbody", {}, ...rows)));
}

async function releases() {
  const found = await ask("/v1/ops/releases");
  $("roll-back").disabled = !found.before;
  $("roll-back").dataset.before = found.before ?? "";
  $("releases").replaceChildren(...found.releases.map((each) => {
    const badges = [each.active ? h("span", { className: "badge good" }, "active") : null, each.in_force ? h("span", { className: "badge good" }, "in force") : null];
    const facts = [["made", when(each.created_ms)], ["data", each.dataset || "–"], ["by version", each.upnext], ["parts", each.parts], ["MB", number(each.bytes / 1e6)], ["from", each.parent ?? "scratch"]];
    const activate = each.active ? null : h("button", { type: "button", onclick: () => activateRelease(each.id), ariaLabel: `Activate ${each.id}` }, "Activate");
    return h("li", { className: "panel" }, h("div", { className: "head" }, h("h2", {}, h("code", {}, each.id), " ", ...badges.filter(Boolean).flatMap((badge) => [badge, " "])), activate),
      each.problem ? h("p", { className: "bad" }, each.problem) : h("p", { className: "facts" }, ...facts.map(([name, value]) => h("span", {}, `${name} `, h("b", {}, String(value))))),
      each.notes ? h("p", {}, each.notes) : null,
      evaluations(each.evaluations),
      h("details", {}, h("summary", {}, "Reports of the training: parity, calibration and others"), report(each.reports)));
  }));
  if (!found.releases.length) $("releases").replaceChildren(h("li", { className: "quiet" }, "there is no release yet; train one"));
}

async function changed(work) {
  await telling($("release-result"), async () => {
    const now = await work();
    await releases();
    return `${now.active} is active now; workers open and warm it, then serve it`;
  });
}
async function activateRelease(id) {
  if (await confirmed("Activate this release?", `${id} is verified, then all workers serve it. The one that is active now is kept for a roll back.`, "Activate"))
    await changed(() => post(`/v1/ops/releases/${encodeURIComponent(id)}/activate`));
}

// Slow requests

const STAGES = ["queue", "state", "retrieval", "ranking", "reranking"];
async function slow() {
  const found = (await ask("/v1/ops/slow?n=60")).requests;
  legend($("legend-slow"), STAGES.map((stage, place) => [stage, "", place]));
  const most = Math.max(...found.map((each) => each.total_ms), 1);
  fill($("slow"), found.map((each) => {
    const told = Object.entries(each.timing_ms).map(([stage, spent]) => `${stage} ${number(spent)} ms`).join(", ");
    const bars = s("svg", { class: "bars", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": told });
    let x = 0;
    for (const [stage, spent] of Object.entries(each.timing_ms)) {
      bars.append(s("rect", { class: `c${Math.max(STAGES.indexOf(stage), 0)}`, x, y: 0, width: (100 * spent) / most, height: 10 }));
      x += (100 * spent) / most;
    }
    const user = each.subject?.startsWith("u:") ? h("a", { href: `#user=${encodeURIComponent(each.subject.slice(2))}` }, each.subject.slice(2)) : each.subject ?? "nobody";
    return h("tr", {}, td(when(each.at_ms)), h("th", { scope: "row", className: "number" }, number(each.total_ms)), td(each.cause), h("td", { title: told }, bars),
      td(each.tier), td(each.route), h("td", {}, user), td(number(each.n_interactions)), td(each.degraded.join("; "), "clip"), h("td", {}, h("code", {}, each.request_id)));
  }), "nothing was slow in the last hour");
}

// One user, one request

const items = (list) => h("ol", { className: "plain" }, ...list.map((item) => h("li", {}, item.title || item.item_id, h("small", {}, ` ${item.genre ?? ""} ${item.score === null || item.score === undefined ? "" : number(item.score)}`))));
const panel = (title, ...children) => h("section", { className: "panel", ariaLabel: title }, h("h2", {}, title), ...children);
/** Heads that begin with # stand over numbers. */
function table(label, heads, rows) {
  const head = (name) => h("th", { scope: "col", className: name.startsWith("#") ? "number" : "" }, name.replace(/^#/, ""));
  const made = h("table", {}, h("thead", {}, h("tr", {}, ...heads.map(head))), h("tbody", {}));
  fill(made, rows, "nothing");
  return h("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: label }, made);
}

const user = (id) => telling($("user-result"), async () => {
  $("user").replaceChildren();
  const found = await ask(`/v1/ops/users/${encodeURIComponent(id)}`);
  const facts = [["state version", found.state_version], ["interactions", number(found.n_interactions)], ["items seen", number(found.n_seen)], ["last event", when(found.last_ms)], ["vectors lag", found.lags ? "yes" : "no"]];
  $("user").replaceChildren(
    panel("State", h("p", { className: "facts" }, ...facts.map(([name, value]) => h("span", {}, `${name} `, h("b", {}, String(value))))), Object.keys(found.attributes).length ? report(found.attributes) : null,
      h("p", {}, h("a", { href: `#request=${encodeURIComponent(id)}` }, "Explain a request of this user"))),
    h("div", { className: "grid" }, panel("Chosen last", items(found.recent)),
      ...found.vectors.map((each) => panel(`Nearest to the ${each.vector} vector`, h("p", { className: "quiet" }, `length ${number(each.length)}`), items(each.items)))),
    panel("Last events", table("Last events", ["number", "at", "action", "item", "value", "words", "session"], found.events.map((event) =>
      h("tr", {}, h("th", { scope: "row" }, event.sequence), td(when(event.timestamp_ms)), td(event.action), td(event.title ?? event.item_id ?? ""), td(event.value ?? ""), td(event.query ?? ""), td(event.session_id ?? ""))))),
  );
});

const RULES = { seen: "was seen before", blocked: "is blocked", unavailable: "is not available", excluded: "was excluded by the request", genre_filter: "is of another genre", region: "may not be shown in the region", topped_up: "topped up", boost: "boost", genre_gap: "genre gap", pin: "pin", cut: "cut" };
function moveOf(move) {
  const way = move.after === null ? "dropped" : move.before === null ? `to ${move.after}` : `${move.before} → ${move.after}`;
  return h("li", {}, `${RULES[move.rule] ?? move.rule}: ${way}`, h("small", {}, ` ${move.why}`));
}

const request = () => telling($("request-result"), async () => {
  const text = (id) => $(id).value.trim();
  const genres = text("asked-genres").split(",").map((genre) => genre.trim()).filter(Boolean);
  const context = { ...(text("asked-region") ? { region: text("asked-region") } : {}), ...(text("asked-mode") ? { mode: text("asked-mode") } : {}) };
  const body = { k: Number($("asked-k").value) || 20, context, filters: { genres }, ...(text("asked-user") ? { user_id: text("asked-user") } : {}), ...(text("asked-session") ? { session_id: text("asked-session") } : {}) };
  $("request").replaceChildren();
  const found = await post("/v1/ops/explain", body);
  const facts = [["tier", found.tier], ["exit", found.exit || "–"], ["route of a request now", `${found.route} (${found.route_why})`], ["course", found.course], ["quality", number(found.quality)], ["interactions", number(found.n_interactions)], ["release", found.release]];
  const rank = (n) => td(n ?? "", "number");
  const parts = [
    h("ol", { className: "flow" }, ...found.stages.map((each) => h("li", {}, h("b", {}, each.stage), each.stage === "state" ? `${number(each.n_out)} interactions` : `${number(each.n_in)} → ${number(each.n_out)} items`, h("br"), h("small", {}, ms(each.ms))))),
    h("p", { className: "facts" }, ...facts.map(([name, value]) => h("span", {}, `${name} `, h("b", {}, String(value))))),
    found.degraded.length ? h("p", { className: "bad" }, `went without: ${found.degraded.join("; ")}`) : null,
    h("div", { className: "grid" },
      panel("Where candidates came from", table("Sources", ["source", "#weight", "#items", "first"], found.sources.map((each) => h("tr", {}, h("th", { scope: "row" }, each.source.replaceAll("_", " ")), td(number(each.weight), "number"), td(number(each.n), "number"), h("td", {}, h("code", {}, each.first.slice(0, 5).join(" "))))))),
      panel("What rules moved or dropped", table("Rules", ["rule", "#items"], Object.entries(found.rules).map(([rule, n]) => h("tr", {}, h("th", { scope: "row" }, RULES[rule] ?? rule), td(number(n), "number")))))),
    panel("Each item's way", table("Each item's way", ["#place", "item", "sources (rank)", "#merged", "#candidate", "#ranked", "#score", "what rules did"], found.items.map((item) =>
      h("tr", { className: item.place ? "" : "out" }, h("th", { scope: "row", className: "number" }, item.place ?? "out"), h("td", {}, item.title || item.item_id, h("small", {}, ` ${item.genre ?? ""}`)),
        td(Object.entries(item.sources).map(([source, at]) => `${source.replaceAll("_", " ")} ${at}`).join(", ")), rank(item.merged_rank), rank(item.candidate_rank), rank(item.ranker_rank), td(item.ranker_score === null ? "" : number(item.ranker_score), "number"),
        h("td", {}, h("ul", { className: "moves" }, ...item.moves.map(moveOf))))))),
  ];
  $("request").replaceChildren(...parts.filter(Boolean));
});

// Parts of the page

const opening = {
  ingest: () => telling($("replay-result"), letters),
  releases: () => telling($("release-result"), releases),
  slow: () => slow().catch((error) => fill($("slow"), [], error.message)),
  user: (about) => { if (about) { $("user-id").value = about; return user(about); } },
  request: (about) => { if (about) { $("asked-user").value = about; return request(); } },
};
function turn() {
  const [name, about] = location.hash.slice(1).split("=");
  const known = document.querySelector(`nav a[data-view="${CSS.escape(name)}"]`) ?? document.querySelector("nav a");
  for (const link of document.querySelectorAll("nav a")) link.removeAttribute("aria-current");
  known.setAttribute("aria-current", "page");
  for (const view of document.querySelectorAll(".view")) view.hidden = view.id !== `view-${known.dataset.view}`;
  document.title = `upnext — ${known.textContent}`;
  opening[known.dataset.view]?.(about ? decodeURIComponent(about) : "");
}

function goTo(hash) {
  if (location.hash === hash) turn();
  else location.hash = hash;
}

addEventListener("hashchange", () => { turn(); $("main").focus({ preventScroll: true }); });
$("letters-filter").addEventListener("submit", (event) => { event.preventDefault(); opening.ingest(); });
$("letters-all").addEventListener("change", () => {
  for (const box of document.querySelectorAll("#letters tbody input")) box.checked = $("letters-all").checked;
  choiceChanged();
});
$("replay-chosen").addEventListener("click", async () => {
  const numbers = chosen();
  if (await confirmed("Replay these dead letters?", `${numbers.length} go through the gate once more. What passes is kept and applied at once; what does not stays here.`, "Replay")) await replay({ numbers });
});
$("replay-upgrade").addEventListener("click", () => replay({ after_upgrade: true }));
$("roll-back").addEventListener("click", async () => {
  const before = $("roll-back").dataset.before;
  if (await confirmed("Roll back?", `${before} becomes active again, and all workers serve it.`, "Roll back")) await changed(() => post("/v1/ops/releases/rollback"));
});
$("slow-again").addEventListener("click", () => opening.slow());
$("user-form").addEventListener("submit", (event) => { event.preventDefault(); goTo(`#user=${encodeURIComponent($("user-id").value.trim())}`); });
$("request-form").addEventListener("submit", (event) => { event.preventDefault(); request(); });
for (const button of document.querySelectorAll("[data-window]")) {
  button.addEventListener("click", () => {
    window_s = Number(button.dataset.window);
    for (const other of document.querySelectorAll("[data-window]")) other.setAttribute("aria-pressed", String(other === button));
    watch();
  });
}
turn();
watch();
document.documentElement.dataset.ready = ""; // for those who wait for the script
