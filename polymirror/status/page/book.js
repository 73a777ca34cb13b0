// One book: its depth, how it stands, and what became of it lately. Asked for while it is looked at.

import { STATES, age, byId, calmAge, cents, count, drawStrip, make, makeStrip, mark, say, times, words } from "./shapes.js";

const EVERY = 500; // ms
const LEVELS = 12; // of each side

export class BookView {
  constructor(store) {
    this.store = store;
    this.token = null;
    this.told = null; // what was told last of this book
    this.timer = 0;
    this.strip = makeStrip();
    byId("book-strip").append(this.strip.picture);
    this.rows = makeLadder(byId("ladder"));
    this.facts = new Map();
  }

  show(token) {
    clearTimeout(this.timer);
    this.token = token;
    this.told = null;
    this.fill();
    if (token !== null) this.ask();
  }

  async ask() {
    const { token } = this;
    try {
      const answer = await fetch(`books/${encodeURIComponent(token)}`, { cache: "no-store" });
      const told = answer.ok ? await answer.json() : null;
      if (token !== this.token) return;
      this.told = told;
    } catch {
      // The mirror is gone; the page says so.
    }
    if (token !== this.token) return;
    this.fill();
    this.timer = setTimeout(() => (document.hidden ? this.wait() : this.ask()), EVERY);
  }

  wait() {
    const { token } = this;
    document.addEventListener("visibilitychange", () => token === this.token && token !== null && this.ask(), { once: true });
  }

  /** Draw it as it is now. */
  fill() {
    if (this.token === null) return;
    const book = this.store.byToken(this.token);
    const now = this.store.now();
    say(byId("book-name"), book ? `${book.name}${book.outcome ? ` · ${book.outcome}` : ""}` : "Not mirrored (any more)");
    if (!book) return;
    const { state } = book;
    mark(byId("book"), "data-state", state);
    const since = age(Math.max(0, now - book.since));
    const may = state === "LIVE" ? "may be read" : state === "RETIRED" ? "its market is over" : "may not be read";
    say(byId("book-state"), `${STATES[state].sign} ${state} for ${since}: ${words(book.reason)}; ${may}`);
    drawStrip(this.strip, this.store.stripOf(book, now));
    this.fact("proof", book.proven === null ? "never proven" : `${calmAge(Math.max(0, now - book.proven))} old, by ${book.proof}; limit ${age(this.store.limit)}`);
    this.fact("settled", book.settled ? "yes: nothing newer is known" : "no: a newer change is not proven yet");
    this.fact("epoch", count(book.epoch));
    this.fact("lost trust", times(book.doubts));
    this.fact("refused reads", count(book.refused));
    this.fact("resyncs", `${times(book.resyncs)}; planned refreshes: ${count(book.planned)}`);
    this.fact("tick size", this.told?.tick_size ?? "–");
    this.fact("market", book.slug ?? "–");
    this.fact("token", book.token);
    this.ladder(state);
    if (this.told) this.history(now);
  }

  fact(name, text) {
    let value = this.facts.get(name);
    if (!value) {
      value = make("dd");
      byId("book-facts").append(make("div", "", [make("dt", "", name), value]));
      this.facts.set(name, value);
    }
    say(value, text);
  }

  ladder(state) {
    const [bids, asks] = [this.told?.bids ?? [], this.told?.asks ?? []];
    const most = Math.max(1, ...[...bids.slice(0, LEVELS), ...asks.slice(0, LEVELS)].map(([, size]) => Number(size)));
    fillSide(this.rows.asks, asks, most);
    fillSide(this.rows.bids, bids, most);
    const spread = bids.length && asks.length ? (Number(asks[0][0]) - Number(bids[0][0])).toFixed(4).replace(/0{1,2}$/, "") : "–";
    say(this.rows.spread, `spread ${spread}${state === "LIVE" ? "" : " · not for trading"}`);
    const hidden = Math.max(0, (this.told?.bid_levels ?? 0) - LEVELS) + Math.max(0, (this.told?.ask_levels ?? 0) - LEVELS);
    say(byId("more"), this.told ? `${count(this.told.bid_levels)} bids, ${count(this.told.ask_levels)} asks${hidden ? `; ${count(hidden)} further out are not shown` : ""}` : "–");
  }

  history(now) {
    const moves = this.told.moves.map((move) => ({
      state: move.new,
      texts: [`${age(Math.max(0, now - move.at))} ago`, `${move.old} → ${move.new}`, because(move)],
    }));
    const none = { state: null, texts: ["", "", "None since this server was started."] };
    fillList(byId("moves"), moves.length ? moves : [none]);
    const incidents = this.told.incidents.map((each) => ({
      state: "SUSPECT",
      texts: [`${age(Math.max(0, now - each.at))} ago`, each.name, `${because(each)}${each.file ? `; ${each.file}` : ""}`],
    }));
    byId("incidents-part").hidden = !incidents.length;
    fillList(byId("incidents"), incidents);
  }
}

const because = ({ reason, detail }) => `${words(reason)}${detail ? `: ${detail}` : ""}`;

/** Fill a list with lines of a time, a word and a text each. */
function fillList(list, lines) {
  while (list.children.length > lines.length) list.lastChild.remove();
  while (list.children.length < lines.length) list.append(make("li", "", [make("time"), make("b"), make("span")]));
  lines.forEach(({ state, texts }, at) => {
    texts.forEach((text, index) => say(list.children[at].children[index], text));
    mark(list.children[at], "data-state", state);
  });
}

function makeLadder(table) {
  const level = (side) => {
    const cells = ["price", "size", "sum"].map((name) => make("span", name, "", "cell"));
    const fill = make("i", `fill ${side}`);
    const row = make("div", `level ${side}`, [fill, ...cells], "row");
    table.append(row);
    return { row, fill, cells };
  };
  table.append(make("div", "level heads", ["price", "size", "in all"].map((name) => make("span", "", name, "columnheader")), "row"));
  const asks = Array.from({ length: LEVELS }, () => level("ask")).reverse();
  const spread = make("span", "", "–", "cell");
  table.append(make("div", "spread", [spread], "row"));
  const bids = Array.from({ length: LEVELS }, () => level("bid"));
  return { asks, bids, spread };
}

function fillSide(rows, levels, most) {
  let sum = 0;
  rows.forEach(({ fill, cells }, at) => {
    const [price, size] = levels[at] ?? [null, 0];
    sum += Number(size);
    const texts = price === null ? ["", "", ""] : [cents(price), shares(Number(size)), shares(sum)];
    texts.forEach((text, index) => say(cells[index], text));
    fill.style.transform = `scaleX(${(Number(size) / most).toFixed(3)})`;
  });
}

const shares = (size) => size.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
