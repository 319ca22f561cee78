// The storefront in the browser: what a visitor does becomes events, and the page takes the shape of the answer.
// The server renders; this file knows neither what a row means nor why it is there.

const page = document.getElementById("page");
const note = document.getElementById("note");
const words = document.getElementById("words");
const speed = document.getElementById("speed");
const userId = document.body.dataset.user;
const DWELL_MS = 600, MOVE_MS = 180, NOTE_MS = 6000;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const kept = {
  get(name) { try { return sessionStorage.getItem(`upnext.${name}`); } catch { return null; } },
  set(name, value) { try { sessionStorage.setItem(`upnext.${name}`, value); } catch { /* then it lasts as long as the page */ } },
};
const sessionId = kept.get("session") || newId("s");
kept.set("session", sessionId);

let search = "", playing = "", paused = false;
let turn = 0, times = 0, asking = null, noteTimer = 0;
const dwelt = new Set();

function newId(kind) {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `${kind}-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

// --- asking the server

async function post(path, body, signal) {
  const headers = { "content-type": "application/json" };
  if (kept.get("key")) headers["x-api-key"] = kept.get("key");
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  if (answer.ok) return answer.json();
  if (answer.status === 401 || answer.status === 403) askForKey();
  const failure = await answer.json().catch(() => null);
  throw new Error(failure?.error?.message || `the server answered ${answer.status}`);
}

const who = () => (userId ? { user_id: userId, session_id: sessionId } : { session_id: sessionId });

function sendEvent(action, about) {
  const context = { surface: "storefront", ...about.context };
  const event = { action, event_id: newId("e"), producer: "storefront", ...who(), ...about, context };
  if (!event.request_id) delete event.request_id;
  kept.set("acted", "1");
  return post("/v1/events", event);
}

// --- taking the new shape

async function reshape({ mode = "browse", tell = "", genre = "", frozen = null, begin = performance.now() } = {}) {
  const mine = ++turn;
  asking?.abort();
  asking = new AbortController();
  let answer;
  try {
    answer = await post("/demo/page", { ...who(), mode, search, playing, paused }, asking.signal);
  } catch (error) {
    if (mine === turn) asking = null;
    if (error.name !== "AbortError") say(`The page is as it was: ${error.message}`);
    return;
  }
  if (mine !== turn) return;
  asking = null;
  const before = genresOf(page);
  swap(answer.html, frozen);
  say([tell, shift(before, genresOf(page), genre)].filter(Boolean).join(" "));
  visible(() => {
    const measure = performance.measure("reshape", { start: begin, end: performance.now() });
    speed.textContent = `re-shaped in ${Math.round(measure.duration)} ms`;
    document.documentElement.dataset.reshaped = ++times;
  });
}

// Calls back once what was changed is on the screen: after the frame, not only before it.
function visible(then) {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = then;
    channel.port2.postMessage(0);
  });
}

function swap(html, frozen) {
  const places = calm.matches ? null : placesOf(page);
  const focused = focusOf(document.activeElement);
  const scrolls = new Map([...page.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row.querySelector(".track")?.scrollLeft || 0]));
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  const twin = frozen && fresh.querySelector(`[data-row="${CSS.escape(frozen.dataset.row)}"]`);
  if (twin) twin.replaceWith(frozen); // what the pointer is on stays under the pointer
  page.replaceChildren(...fresh.childNodes);
  for (const row of page.querySelectorAll("[data-row]")) {
    const track = row.querySelector(".track");
    if (track && row === frozen) track.scrollLeft = scrolls.get(row.dataset.row);
  }
  refocus(focused);
  if (places) glide(places);
}

const keyOf = (card) => `${card.closest("[data-row]").dataset.row}\n${card.dataset.item}`;

function placesOf(root) {
  const places = new Map();
  for (const card of root.querySelectorAll(".card")) {
    const box = card.getBoundingClientRect();
    if (box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth) {
      places.set(keyOf(card), box);
      if (!places.has(card.dataset.item)) places.set(card.dataset.item, box);
    }
  }
  return places;
}

// First, last, invert, play: what was on the screen moves from where it was, what is new comes up.
function glide(places) {
  const moves = [];
  for (const card of page.querySelectorAll(".card")) {
    const now = card.getBoundingClientRect();
    if (now.bottom < 0 || now.top > innerHeight || now.left > innerWidth) continue;
    const was = places.get(keyOf(card)) || places.get(card.dataset.item);
    moves.push([card, was ? [was.left - now.left, was.top - now.top] : null]);
  }
  for (const [card, by] of moves) {
    const from = by ? { transform: `translate(${by[0]}px, ${by[1]}px)` } : { opacity: 0, transform: "scale(.96)" };
    if (!by || by[0] || by[1]) card.animate([from, { transform: "none" }], { duration: MOVE_MS, easing: "cubic-bezier(.2, .7, .2, 1)" });
  }
}

function focusOf(element) {
  if (!element || !page.contains(element) || element === page) return null;
  const row = element.closest("[data-row]"), card = element.closest("[data-item]");
  const at = row ? [...row.querySelectorAll(".card")].indexOf(card) : -1;
  return { row: row?.dataset.row, item: card?.dataset.item, at, act: element.dataset.act };
}

function refocus(was) {
  if (!was) return;
  const row = was.row && page.querySelector(`[data-row="${CSS.escape(was.row)}"]`);
  const same = was.item && row?.querySelector(`.card[data-item="${CSS.escape(was.item)}"]`);
  const cards = row ? [...row.querySelectorAll(".card")] : [];
  const card = same || cards[Math.min(Math.max(was.at, 0), cards.length - 1)];
  const target = card?.querySelector(`[data-act="${was.act}"]`) || (was.row === "hero" && page.querySelector(`.hero [data-act="${was.act}"]`));
  const found = target || page.querySelector(".hero .primary") || page;
  rove(found.closest(".card"));
  found.focus({ preventScroll: true });
}

// --- telling what has changed

function genresOf(root) {
  const counts = new Map();
  for (const card of root.querySelectorAll('[data-row="next"] .card')) {
    const genre = card.dataset.genre;
    if (genre) counts.set(genre, (counts.get(genre) || 0) + 1);
  }
  return counts;
}

// What there is more of now: of the genre that was chosen, else of the one that gained most.
function shift(before, after, chosen) {
  const gain = (genre) => (after.get(genre) || 0) - (before.get(genre) || 0);
  let most = chosen && gain(chosen) > 0 ? chosen : "";
  if (!most) for (const genre of after.keys()) if (gain(genre) > (most ? gain(most) : 0)) most = genre;
  return most ? `${most} is now ${after.get(most)} of the next ten, ${before.get(most) || 0} before.` : "";
}

function say(text) {
  clearTimeout(noteTimer);
  note.textContent = text;
  note.classList.remove("away");
  noteTimer = setTimeout(() => note.classList.add("away"), NOTE_MS);
}

// --- what a visitor does

const TOLD = {
  click: (name) => `Playing ${name}.`, play: (name) => `Playing ${name}.`, pause: () => "Paused.", resume: () => "Going on.",
  like: (name) => `You like ${name}.`, dislike: (name) => `Less like ${name}.`,
};

async function act(action, element) {
  const begin = performance.now();
  clearTimeout(dwell); // whoever chooses does not rest
  const thing = element.closest("[data-item]"), row = element.closest("[data-row]");
  const item = thing.dataset.item;
  const name = (thing.querySelector(".name") || thing.querySelector("h1")).textContent;
  if (action === "click" || action === "play") [playing, paused] = [item, false];
  if (action === "pause" || action === "resume") paused = action === "pause";
  if (action === "like") element.dataset.done = "";
  if (action === "dislike" && playing === item) playing = "";
  const context = { row: row.dataset.row, position: Math.max(0, [...row.querySelectorAll(".card")].indexOf(thing)) };
  try {
    await sendEvent(action, { item_id: item, request_id: row.dataset.request, context });
  } catch (error) {
    say(`That did not reach the server: ${error.message}`);
    return;
  }
  if (action === "click" || action === "play") scrollTo({ top: 0, behavior: calm.matches ? "auto" : "smooth" });
  await reshape({ mode: "dwell", tell: TOLD[action](name), genre: thing.dataset.genre, begin });
}

page.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) act(button.dataset.act, button);
});

let dwell = 0, pointer = "";
page.addEventListener("pointerover", (event) => {
  const card = event.pointerType === "touch" ? null : event.target.closest(".card");
  if (card?.contains(event.relatedTarget)) return;
  clearTimeout(dwell);
  const moved = pointer !== `${event.clientX} ${event.clientY}`;
  pointer = `${event.clientX} ${event.clientY}`;
  if (!moved) return; // a card that came under a pointer at rest is not one that somebody rests on
  if (card && !dwelt.has(card.dataset.item)) dwell = setTimeout(() => hovered(card), DWELL_MS);
});
page.addEventListener("pointermove", (event) => (pointer = `${event.clientX} ${event.clientY}`));
page.addEventListener("pointerleave", () => clearTimeout(dwell));

async function hovered(card) {
  const begin = performance.now();
  if (!card.isConnected) return;
  dwelt.add(card.dataset.item);
  const row = card.closest("[data-row]");
  try {
    await sendEvent("hover", { item_id: card.dataset.item, request_id: row.dataset.request, value: DWELL_MS / 1000, context: { row: row.dataset.row } });
  } catch { return; } // a hint is not worth a word
  if (!asking) await reshape({ mode: "dwell", frozen: row, begin }); // else a shape that knows more is on its way
}

document.getElementById("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  const begin = performance.now();
  search = words.value.trim();
  if (!search) return reshape({ begin });
  try {
    await sendEvent("search", { query: search });
  } catch (error) {
    return say(`That did not reach the server: ${error.message}`);
  }
  await reshape({ tell: `Results for ${search}.`, begin });
  page.querySelector('[data-row="search"]')?.scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });
});

// --- the keyboard

function rove(card) {
  if (!card) return;
  for (const tile of card.closest(".track").querySelectorAll(".tile")) tile.tabIndex = tile.parentElement === card ? 0 : -1;
}

function step(card, key) {
  const cards = [...card.closest(".track").querySelectorAll(".card")], at = cards.indexOf(card);
  if (key === "ArrowRight") return cards[at + 1];
  if (key === "ArrowLeft") return cards[at - 1];
  if (key === "Home") return cards[0];
  if (key === "End") return cards.at(-1);
  const tracks = [...page.querySelectorAll(".track")];
  const track = tracks[tracks.indexOf(card.closest(".track")) + (key === "ArrowDown" ? 1 : -1)];
  return track?.querySelector('.tile[tabindex="0"]').parentElement;
}

page.addEventListener("focusin", (event) => rove(event.target.closest(".card")));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    words.select();
  } else if (event.key === "Escape" && (search || event.target === words)) {
    words.value = "";
    const left = search;
    search = "";
    words.blur();
    page.querySelector(".tile")?.focus({ preventScroll: true });
    if (left) reshape({ tell: "The search is left." });
  } else if (!typing) {
    onCard(event);
  }
});

function onCard(event) {
  const card = event.target.closest(".card");
  if (!card) return;
  if (["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) {
    const next = step(card, event.key);
    event.preventDefault();
    if (!next) return;
    next.querySelector(".tile").focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
  } else if (event.key.toLowerCase() === "l" || event.key.toLowerCase() === "d") {
    const action = event.key.toLowerCase() === "l" ? "like" : "dislike";
    act(action, card.querySelector(`[data-act="${action}"]`));
  }
}

// --- beginning

function askForKey() {
  const dialog = document.getElementById("key");
  if (!dialog.open) dialog.showModal();
}

document.getElementById("key-form").addEventListener("submit", () => {
  kept.set("key", document.getElementById("key-text").value.trim());
  reshape();
});
document.getElementById("user").addEventListener("change", (event) => event.target.form.requestSubmit());

if (document.body.dataset.key && !kept.get("key")) askForKey();
else if (document.body.dataset.key || (kept.get("acted") && !userId)) reshape();
document.documentElement.dataset.ready = "";
