// The page: hears what the mirror tells, keeps it, and draws it. Nothing is asked of any other place.

import { BookView } from "./book.js";
import { List } from "./rows.js";
import { CELLS, STATES, age, byId, count, mark, say, shortName } from "./shapes.js";

const QUIET = 4000; // ms without news after which what is shown is called old
const DRAW = 250; // ms between two drawings of ages
const AGAIN = 3000; // ms until a stream that ended for good is opened anew

class Store {
  constructor() {
    this.books = new Map(); // by key
    this.tokens = new Map(); // by token
    this.columns = [];
    this.limit = 15;
    this.cell = 15;
    this.head = null;
    this.heard = 0; // performance.now() of the newest message
  }

  /** The mirror's clock, as far as it is known: it stands still while there is no news. */
  now() {
    if (!this.head) return 0;
    return this.head.at + Math.min(QUIET, performance.now() - this.heard) / 1000;
  }

  take(message, whole) {
    if (whole) {
      this.books.clear();
      this.tokens.clear();
      ({ columns: this.columns, limit: this.limit, cell: this.cell } = message);
    }
    this.head = message.head;
    this.heard = performance.now();
    for (const [key, [token, slug, outcome]] of Object.entries(message.names)) this.name(Number(key), token, slug, outcome);
    for (const [key, ...values] of message.rows) {
      const book = this.books.get(key);
      if (book) this.columns.forEach((column, at) => (book[column] = values[at]));
    }
    for (const [key, letters] of Object.entries(message.strips)) {
      const book = this.books.get(Number(key));
      if (book) [book.letters, book.cell] = [letters, Math.floor(this.head.at / this.cell)];
    }
    for (const key of message.gone ?? []) {
      this.tokens.delete(this.books.get(key)?.token);
      this.books.delete(key);
    }
  }

  name(key, token, slug, outcome) {
    const book = this.books.get(key) ?? { key, letters: "".padStart(CELLS), cell: 0 };
    const name = shortName(slug, token);
    const title = `${slug ?? "not known yet"} ${outcome ?? ""}`.trim();
    const search = `${name} ${slug ?? ""} ${outcome ?? ""} ${token}`.toLowerCase();
    Object.assign(book, { token, slug, outcome, name, title, search, sortName: `${slug ?? token} ${key}` });
    this.books.set(key, book);
    this.tokens.set(token, book);
  }

  byToken(token) {
    return this.tokens.get(token) ?? null;
  }

  /** A book's strip up to now: it goes on with the state that lasts. */
  stripOf(book, now) {
    const cell = Math.floor(now / this.cell);
    if (cell > book.cell) {
      const more = STATES[book.state].letter.repeat(Math.min(CELLS, cell - book.cell));
      book.letters = (book.letters + more).slice(-CELLS);
      book.cell = cell;
    }
    return book.letters;
  }
}

const store = new Store();
const list = new List(store, (key) => go(store.books.get(key)?.token));
const view = new BookView(store);

// ---- What is heard --------------------------------------------------------------------------------

function listen() {
  const source = new EventSource("events");
  const hear = (whole) => (event) => {
    store.take(JSON.parse(event.data), whole);
    list.arrange();
    draw();
  };
  source.addEventListener("whole", hear(true));
  source.addEventListener("news", hear(false));
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
  });
}

// ---- What is drawn --------------------------------------------------------------------------------

function draw() {
  const { head } = store;
  const quiet = performance.now() - store.heard;
  const lost = head !== null && quiet > QUIET;
  document.body.classList.toggle("lost", lost);
  document.body.classList.toggle("waiting", head === null);
  if (head === null) return;
  const { states } = head;
  const over = states.RETIRED;
  const all = store.books.size - over;
  say(byId("title"), head.title);
  say(byId("link"), lost ? "no news" : "connected");
  say(byId("live"), `${count(states.LIVE)}/${count(all)} LIVE`);
  say(byId("oldest"), head.oldest === null ? "none" : age(head.oldest));
  say(byId("limit"), `of ${age(store.limit)}`);
  say(byId("clock"), head.clock === null ? "not known" : `±${age(head.clock / 2)}`);
  say(byId("sockets"), `${count(head.sockets - head.closed_count)} of ${count(head.sockets)}`);
  say(byId("frames"), head.rate === null ? "–" : `${count(Math.round(head.rate))}/s`);
  const [granted, refused] = head.reads;
  say(byId("reads"), count(refused));
  say(byId("all-reads"), `of ${count(granted + refused)}`);
  const title = `${lost ? "? " : ""}${states.LIVE}/${all} LIVE · ${head.title}`;
  if (document.title !== title) document.title = title;
  notice(head, lost, quiet, all);
  chips(states, all, over);
  if (view.token !== null) view.fill();
  else list.draw();
}

function notice(head, lost, quiet, all) {
  const out = Object.entries(head.states).filter(([state, number]) => number && state !== "LIVE" && state !== "RETIRED");
  const closed = head.closed.map(([number, why]) => `socket ${number} is closed: ${why}`);
  const missing = head.missing.map(([name, why]) => `${name} is not found yet: ${why}`);
  let [kind, texts] = ["well", [all ? "Every book is proven and may be read." : "No book is mirrored."]];
  if (out.length) [kind, texts] = ["doubt", [`${out.map(([state, number]) => `${number} ${state}`).join(", ")}: these may not be read.`]];
  if (closed.length || missing.length) [kind, texts] = ["doubt", [...closed, ...missing]];
  if (head.problems.length) [kind, texts] = ["bad", head.problems];
  if (!head.running) [kind, texts] = ["bad", ["The mirror has stopped."]];
  if (lost) [kind, texts] = ["bad", [`No news for ${Math.floor(quiet / 1000)} s: what is shown is old. Trying to reach the mirror.`]];
  const text = texts.join(" · ");
  mark(byId("notice"), "data-kind", kind);
  mark(byId("notice"), "title", text);
  say(byId("said"), text);
}

function chips(states, all, over) {
  const counts = { all: all + over, live: states.LIVE, over, trouble: all - states.LIVE };
  for (const chip of byId("chips").children) say(chip.lastElementChild, count(counts[chip.dataset.only]));
}

// ---- What people do -------------------------------------------------------------------------------

function go(token) {
  if (token) location.hash = `book=${token}`;
}

function route() {
  const found = /^#book=(\d{1,80})$/.exec(location.hash);
  const before = view.token;
  const token = found ? found[1] : null;
  if (token === before) return;
  byId("list").hidden = token !== null;
  byId("book").hidden = token === null;
  view.show(token);
  if (token !== null) {
    scrollTo(0, 0);
    byId("book-name").focus({ preventScroll: true });
  } else {
    list.arrange();
    const at = list.order.findIndex((book) => book.token === before);
    if (at >= 0) list.focus(at);
  }
}

function choose(only) {
  list.only = only;
  for (const chip of byId("chips").children) mark(chip, "aria-pressed", chip.dataset.only === only);
  list.arrange();
}

function sortBy(name) {
  list.sort = byId("sort").value = name;
  list.arrange();
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target === byId("filter");
  if (event.key === "Escape") {
    if (view.token !== null) location.hash = "";
    else if (typing || list.text) {
      byId("filter").value = list.text = "";
      list.arrange();
      byId("filter").blur();
    }
    return;
  }
  if (typing && event.key === "ArrowDown" || typing && event.key === "Enter") {
    event.preventDefault();
    list.focus(0);
  }
  if (typing || event.target.tagName === "SELECT") return;
  if (view.token !== null) {
    const step = { n: 1, p: -1 }[event.key];
    const key = step && list.neighbour(store.byToken(view.token)?.key, step);
    if (step) go(store.books.get(key)?.token);
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    byId("filter").focus();
  } else if (event.key === "s") {
    const names = [...byId("sort").options].map((each) => each.value);
    sortBy(names[(names.indexOf(list.sort) + 1) % names.length]);
  } else if ((event.key === "ArrowDown" || event.key === "j") && !event.target.closest?.("#rows")) {
    event.preventDefault();
    list.focus(Math.max(0, list.order.findIndex((book) => book.key === list.focused)));
  }
}

byId("filter").addEventListener("input", (event) => {
  list.text = event.target.value;
  list.arrange();
});
byId("sort").addEventListener("change", (event) => sortBy(event.target.value));
byId("chips").addEventListener("click", (event) => {
  const chip = event.target.closest("button");
  if (chip) choose(chip.dataset.only);
});
byId("back").addEventListener("click", (event) => {
  event.preventDefault();
  location.hash = "";
});
addEventListener("keydown", press);
addEventListener("hashchange", route);
setInterval(() => document.hidden || requestAnimationFrame(draw), DRAW);

route();
listen();
