// A proven copy of one book of a relay, whatever brings its messages: it takes frames, says what to ask, and refuses
// reads as docs/relay.md has it. Left out are leases, several relays, and msgpack. A size from 2^53 on is not exact
// here: the digest differs, and the book is refused. A sleep of this host of less than a second is seen by what comes.

import { createHash } from "node:crypto";

// Seconds, as all times here.
const SILENCE = 1.75, MAX_AGE = 5, DRIFT = 0.001, SLACK = 0.001, PING = 1, KEEP = 20, AGAIN = 1, SELDOM = 16, GONE = 5;

// This host's clock. The monotonic one may stand still while the host sleeps, which the time of day tells.
const apart = () => (Date.now() - performance.now()) / 1000;
let missed = 0, last = apart(), sleeps = 0;
export function now() {
  const gap = apart() - last;
  last += gap;
  if (gap > 1) [missed, sleeps] = [missed + gap, sleeps + 1];
  return performance.now() / 1000 + missed;
}

const micro = (at) => Math.floor(at * 1e6);
const sorted = (side, sign) => [...side].sort(([a], [b]) => sign * (a - b));
const text = (side, sign) => sorted(side, sign).map(([price, size]) => `${price}:${size}`).join(",");
const best = (side, sign) => sorted(side, sign).slice(0, 1).map(([price, size]) => `${price / 1e4} x ${size / 1e6}`)[0];

export class Book {
  #token; #run; #earlier = new Set(); #broken = "no book has come yet"; #bids; #asks; #seq = 0; #told; #proof;
  // By the relay's clock, when the proof left, and the newest that was heard of the book, and of anything.
  #sent = 0; #heard = -Infinity; #newest = -Infinity;
  // Our clock less the relay's is between these, as it would have been at time 0 of ours.
  #low = -Infinity; #high = Infinity;
  #pinged; #kept; #wanted; #wait; // When that was said last, and after how long the book is asked for again.
  #sleeps = sleeps; #awake = -Infinity; // Of this host, and the first ping that may be sent after the last of them.

  constructor(token) {
    this.#token = token;
    this.opened();
  }

  // The relay can be spoken to: what was said before may not have come there.
  opened() {
    [this.#pinged, this.#kept, this.#wanted, this.#wait] = [-Infinity, -Infinity, -Infinity, AGAIN];
  }

  // Nothing is believed until a whole book has come.
  lost(why, wait = AGAIN) {
    [this.#broken, this.#wait] = [why, wait];
  }

  // What the clock shows. After a sleep nobody knows how long that was: an answer to what is asked since then tells.
  #now() {
    const at = now();
    if (sleeps > this.#sleeps) {
      [this.#sleeps, this.#awake] = [sleeps, micro(at)];
      [this.#low, this.#high, this.#pinged] = [-Infinity, Infinity, -Infinity];
    }
    return at;
  }

  // What to say to the relay now; null: nothing. The number of a ping is when it left.
  asks() {
    const ask = {}, at = this.#now();
    if (at - this.#pinged >= PING) [ask.ping, this.#pinged] = [micro(at), at];
    if (at - this.#kept >= KEEP) [ask.keep, this.#kept] = [[this.#token], at];
    if ((this.#broken || this.#newest - this.#heard > SILENCE) && at - this.#wanted >= this.#wait)
      [ask.want, this.#wanted, this.#wait] = [[this.#token], at, Math.min(2 * this.#wait, SELDOM)];
    return Object.keys(ask).length ? ask : null;
  }

  // A frame as it came, in JSON.
  take(data) {
    try {
      const { version, relay, sent, items } = JSON.parse(data);
      if (version !== 1) throw new Error(`version ${version}`);
      if (this.#earlier.has(relay)) return;
      if (relay !== this.#run) this.#begin(relay);
      this.#date(sent, items.find((item) => item.is === "pong")?.id);
      for (const item of items) if (item.token === this.#token) this.#take(item, sent);
    } catch (error) {
      this.lost(`a message cannot be read: ${error.message}`);
    }
  }

  // Another run of the relay: another clock, other numbers. Of an earlier one only what is late can come.
  #begin(run) {
    this.#earlier.add(this.#run);
    this.#run = run;
    this.#anew("the relay has begun anew");
  }

  // Nothing is known of the relay's clock.
  #anew(why) {
    [this.#low, this.#high, this.#heard, this.#newest] = [-Infinity, Infinity, -Infinity, -Infinity];
    this.lost(why);
    this.opened();
  }

  // A frame that has come bounds the relay's clock on one side, an answered ping on the other: we date by the latter.
  #date(sent, ping) {
    const at = this.#now();
    this.#high = Math.min(this.#high, at - sent - DRIFT * at);
    if (ping >= this.#awake) this.#low = Math.max(this.#low, ping / 1e6 - sent + (DRIFT * ping) / 1e6);
    if (!(this.#high - this.#low + 2 * DRIFT * at > -SLACK)) {
      this.#anew("a clock was set, or stood still");
      this.#high = at - sent - DRIFT * at;
    }
    this.#newest = Math.max(this.#newest, sent);
  }

  #take(item, sent) {
    const late = sent < this.#heard, news = item.seq > this.#seq, back = sent > this.#heard && item.seq < this.#seq;
    this.#heard = Math.max(sent, this.#heard);
    if (item.is === "gone") {
      if (!late) this.lost("the relay does not carry it", GONE);
    } else if (item.is === "book" && (news || back || this.#broken)) {
      if (!late) this.#follow(item, sent, new Map(), new Map());
    } else if (this.#broken) {
      return;
    } else if (item.seq === this.#seq) {
      if (sent >= this.#sent) [this.#proof, this.#sent] = [item, sent];
    } else if (item.is === "change" && news && item.prev_seq === this.#seq) {
      this.#follow(item, sent, this.#bids, this.#asks);
    } else if (news || back) {
      this.lost(`state ${this.#seq} was the last, and what led to ${item.seq} has not come`);
    }
  }

  // Become a state of the relay's, and hold the copy against its digest.
  #follow(item, sent, bids, asks) {
    [this.#broken, this.#wait, this.#bids, this.#asks] = ["", AGAIN, bids, asks];
    [this.#seq, this.#told, this.#proof, this.#sent] = [item.seq, item, item, sent];
    for (const [side, levels] of [[bids, item.bids], [asks, item.asks]])
      for (const [price, size] of levels) size ? side.set(price, size) : side.delete(price);
    const state = `${this.#token}|${text(bids, -1)}|${text(asks, 1)}`;
    if (createHash("sha1").update(state).digest("hex") !== item.digest) this.lost("the copy is not the relay's state");
  }

  // What may be traded on, or why not. What is not known is no number, and no number compares: it is refused.
  read() {
    const at = this.#now(), offset = this.#low - DRIFT * at, told = this.#told;
    if (this.#broken) return this.#broken;
    if (this.#low === -Infinity) return "the relay's clock is not known";
    if (!(at - this.#sent - offset <= SILENCE)) return "the relay is silent";
    if (told.state !== "LIVE") return `${told.state} (${told.reason})`;
    if (!(at <= this.#proof.until + offset)) return "the relay itself would not read it any more";
    const age = at - Math.min(this.#proof.as_of, this.#sent) - offset;
    if (!(age <= MAX_AGE)) return `proven more than ${MAX_AGE} s ago`;
    const { seq, settled = false, digest } = told;
    return { bid: best(this.#bids, -1), ask: best(this.#asks, 1), age: Math.max(0, age), settled, seq, digest };
  }
}
