// The list of books. Only the rows that can be seen are there; each is moved to its place, so nothing else is laid out.

import { STATES, age, byId, calmAge, cents, count, drawStrip, make, makeStrip, mark, say, words } from "./shapes.js";

const AROUND = 6; // rows above and below the window
const OLD = 0.55; // of the limit: from here on REST is asked for a proof

export class List {
  constructor(store, open) {
    this.store = store;
    this.open = open;
    this.body = byId("rows");
    this.none = byId("none");
    this.sort = "worst";
    this.only = "all";
    this.text = "";
    this.order = []; // books in the order shown
    this.elements = new Map(); // by key
    this.focused = null; // key of the row that the keyboard is at
    this.height = 44;
    this.body.addEventListener("keydown", (event) => this.press(event));
    this.body.addEventListener("focusin", (event) => {
      const row = event.target.closest(".row");
      if (row) this.focused = Number(row.dataset.key);
    });
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row && !event.target.closest("a")) this.open(Number(row.dataset.key));
    });
    addEventListener("scroll", () => this.draw(), { passive: true });
    addEventListener("resize", () => this.measure());
    this.measure();
  }

  measure() {
    this.height = parseFloat(getComputedStyle(this.body).getPropertyValue("--row-height")) || 44;
    this.arrange();
  }

  /** Choose and order the books anew, and draw them. */
  arrange() {
    const now = this.store.now();
    const wanted = this.text.trim().toLowerCase().split(/\s+/).filter(Boolean);
    this.order = [...this.store.books.values()].filter((book) => this.belongs(book, wanted));
    for (const book of this.order) book.order = this.orderOf(book, now);
    this.order.sort((a, b) => a.order[0] - b.order[0] || a.order[1] - b.order[1] || a.sortName.localeCompare(b.sortName) || a.key - b.key);
    const height = `${this.order.length * this.height}px`;
    if (this.body.style.height !== height) this.body.style.height = height;
    this.none.hidden = this.order.length > 0 || !this.store.books.size;
    mark(byId("books"), "aria-rowcount", this.order.length + 1);
    this.draw();
  }

  belongs(book, wanted) {
    const state = book.state;
    if (this.only === "live" && state !== "LIVE") return false;
    if (this.only === "over" && state !== "RETIRED") return false;
    if (this.only === "trouble" && (state === "LIVE" || state === "RETIRED")) return false;
    return wanted.every((word) => book.search.includes(word) || `${state} ${words(book.reason)}`.toLowerCase().includes(word));
  }

  orderOf(book, now) {
    const proven = book.proven === null ? 1e9 : Math.floor(now - book.proven);
    switch (this.sort) {
      case "name": return [0, 0];
      case "age": return [book.state === "RETIRED" ? 1 : 0, -proven];
      case "refused": return [0, -book.refused];
      case "resyncs": return [0, -book.resyncs];
      default: {
        // Those that are out the longest come first; LIVE ones whose proof gets old before all other LIVE ones.
        const { rank } = STATES[book.state];
        if (book.state === "LIVE") return [proven > OLD * this.store.limit ? 3 : rank, 0];
        return [rank, book.since];
      }
    }
  }

  /** Draw what can be seen, as it is now. */
  draw() {
    if (this.body.offsetParent === null) return;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / this.height) - AROUND);
    const last = Math.min(this.order.length, Math.ceil((innerHeight - top) / this.height) + AROUND);
    const shown = new Set();
    for (let at = first; at < last; at += 1) shown.add(this.order[at].key);
    const here = document.activeElement?.closest?.(".row")?.dataset.key;
    for (const [key, element] of this.elements) {
      if (!shown.has(key) && String(key) !== here) {
        element.row.remove();
        this.elements.delete(key);
      }
    }
    const now = this.store.now();
    let stop = this.order.some((book) => book.key === this.focused) ? this.focused : null;
    for (let at = first; at < last; at += 1) {
      const book = this.order[at];
      stop ??= book.key;
      this.place(book, at, now, stop);
    }
  }

  place(book, at, now, stop) {
    let element = this.elements.get(book.key);
    if (!element) {
      element = makeRow(book);
      this.elements.set(book.key, element);
      this.body.append(element.row);
    }
    const place = `translateY(${at * this.height}px)`;
    if (element.place !== place) element.row.style.transform = element.place = place;
    mark(element.row, "aria-rowindex", at + 2);
    mark(element.link, "tabindex", book.key === stop ? 0 : -1);
    fillRow(element, book, now, this.store);
  }

  press(event) {
    const here = this.order.findIndex((book) => book.key === this.focused);
    const page = Math.max(1, Math.floor(innerHeight / this.height) - 3);
    const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey || !this.order.length) return;
    event.preventDefault();
    this.focus(Math.max(0, Math.min(this.order.length - 1, here + step)));
  }

  /** Bring a row into view and the keyboard to it. */
  focus(at) {
    const book = this.order[at];
    if (!book) return;
    this.focused = book.key;
    const top = this.body.getBoundingClientRect().top + at * this.height;
    const under = document.querySelector("header").getBoundingClientRect();
    const covered = getComputedStyle(document.querySelector("header")).position === "sticky" ? under.height : 0;
    const heads = covered ? 34 : 0;
    if (top < covered + heads) scrollBy(0, top - covered - heads);
    else if (top + this.height > innerHeight) scrollBy(0, top + this.height - innerHeight);
    this.draw();
    this.elements.get(book.key)?.link.focus({ preventScroll: true });
  }

  /** Which book comes next, for the view of one. */
  neighbour(key, step) {
    const here = this.order.findIndex((book) => book.key === key);
    return this.order.length ? this.order[(here + step + this.order.length) % this.order.length].key : null;
  }
}

function makeRow(book) {
  const link = make("a", "link");
  link.href = `#book=${book.token}`;
  const outcome = make("span", "outcome");
  const name = make("span", "name", [link, outcome], "cell");
  const sign = make("span", "sign");
  sign.setAttribute("aria-hidden", "true");
  const [word, why] = [make("b"), make("small")];
  const state = make("span", "state", [sign, make("span", "words", [word, why])], "cell");
  const [fill, number] = [make("i", "fill"), make("span", "number")];
  const bar = make("span", "bar", [fill]);
  const proof = make("span", "proof", [bar, number], "cell");
  const strip = makeStrip();
  const row = make("div", "row", "", "row");
  const [bid, ask, refused, resyncs] = ["bid", "ask", "refused", "resyncs"].map((each) => make("span", each, "", "cell"));
  row.append(name, state, proof, make("span", "strip", [strip.picture], "cell"), bid, ask, refused, resyncs);
  row.dataset.key = book.key;
  return { row, link, outcome, sign, word, why, fill, bar, number, strip, bid, ask, refused, resyncs, place: "" };
}

function fillRow(element, book, now, store) {
  const { state } = book;
  mark(element.row, "data-state", state);
  say(element.link, book.name);
  mark(element.link, "title", book.title);
  say(element.outcome, book.outcome || "");
  say(element.sign, STATES[state].sign);
  say(element.word, state);
  const since = age(Math.max(0, now - book.since));
  say(element.why, state === "LIVE" ? `for ${since}` : `${words(book.reason)}, ${since}`);
  const old = book.proven === null ? null : Math.max(0, now - book.proven);
  const share = old === null ? 0 : Math.min(1, old / store.limit);
  mark(element.bar, "data-old", old === null ? "none" : share >= 1 ? "over" : share > OLD ? "old" : "fresh");
  const length = `scaleX(${share.toFixed(3)})`;
  if (element.length !== length) element.fill.style.transform = element.length = length;
  say(element.number, state === "RETIRED" ? "over" : calmAge(old));
  drawStrip(element.strip, store.stripOf(book, now));
  say(element.bid, book.bid === null ? "–" : cents(book.bid));
  say(element.ask, book.ask === null ? "–" : cents(book.ask));
  say(element.refused, count(book.refused));
  mark(element.refused, "data-any", book.refused ? "yes" : "no");
  say(element.resyncs, count(book.resyncs));
  mark(element.resyncs, "data-any", book.resyncs ? "yes" : "no");
  mark(element.resyncs, "title", `${count(book.planned)} planned refreshes beside these`);
}
