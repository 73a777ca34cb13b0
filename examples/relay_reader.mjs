// A proven book in another language: follows one token of a relay, and holds its copy against the relay's digest after
// each change. Without the digest, the state, the age and the silence it would be a picture of a book, and no more.
//
//   npm install ws
//   node examples/relay_reader.mjs ws://127.0.0.1:8801/stream TOKEN

import { createHash } from "node:crypto";
import WebSocket from "ws";

const SILENCE = 1.75, MAX_AGE = 5, DRIFT = 0.001;
const [url, token] = process.argv.slice(2);
const now = () => performance.now() / 1000;

let run = "", seq = 0, bids = new Map(), asks = new Map(), told = null, proof = null, broken = "no book has come yet";
let sent = 0, low = null, pinged = 0, ping = 0;

const sorted = (side, sign) => [...side].sort(([a], [b]) => sign * (a - b));
const text = (side, sign) => sorted(side, sign).map(([price, size]) => `${price}:${size}`).join(",");
const digest = () => createHash("sha1").update(`${token}|${text(bids, -1)}|${text(asks, 1)}`).digest("hex");

function take(item, left) {
  if (item.token !== token) return;
  if (item.is === "gone") broken = "the relay does not carry it";
  if (item.is === "book") {
    [bids, asks, broken] = [new Map(item.bids), new Map(item.asks), ""];
  } else if (item.is === "change" && !broken) {
    if (item.seq <= seq) return; // It came before.
    if (item.prev_seq !== seq) broken = `state ${item.prev_seq} has not come`;
    for (const [side, levels] of [[bids, item.bids], [asks, item.asks]])
      for (const [price, size] of levels) size ? side.set(price, size) : side.delete(price);
  } else if (item.is === "beat" && item.seq > seq) broken = `state ${item.seq} has not come`;
  if (broken) return ask({ want: [token] });
  if (item.is !== "beat") [seq, told] = [item.seq, item];
  [proof, sent] = [item, left];
  if (item.is !== "beat" && digest() !== item.digest) {
    broken = "the copy is not the relay's state";
    ask({ want: [token] });
  }
}

// What may be traded on, or why not. Ages are by our clock: a ping that was answered bounds theirs from below.
function read() {
  const offset = low === null ? null : low - DRIFT * now();
  if (broken) return broken;
  if (offset === null) return "the relay's clock is not known";
  if (now() - (sent + offset) > SILENCE) return "the relay is silent";
  if (told.state !== "LIVE") return `${told.state} (${told.reason})`;
  if (proof.until == null || now() > proof.until + offset) return "the relay itself would not read it any more";
  const age = now() - (proof.as_of + offset);
  if (age > MAX_AGE) return `proven ${age.toFixed(3)} s ago`;
  const [bid, ask] = [sorted(bids, -1)[0], sorted(asks, 1)[0]];
  const show = (level) => (level ? `${level[0] / 1e4} x ${level[1] / 1e6}` : "none");
  return { bid: show(bid), ask: show(ask), age: Math.max(0, age), settled: told.settled, seq, digest: told.digest };
}

const socket = new WebSocket(`${url}?format=json`);
const ask = (message) => socket.send(JSON.stringify(message));
socket.on("open", () => ask({ want: [token] }));
socket.on("error", (error) => console.error(error.message));
socket.on("close", () => process.exit(1));
socket.on("message", (data) => {
  const frame = JSON.parse(data);
  if (frame.relay !== run) [run, low, broken] = [frame.relay, null, "the relay has begun anew"];
  for (const item of frame.items) {
    if (item.is === "pong" && item.id === ping) low = Math.max(low ?? -Infinity, pinged - frame.sent + DRIFT * pinged);
    else take(item, frame.sent);
  }
});
setInterval(() => {
  if (socket.readyState !== WebSocket.OPEN) return;
  [ping, pinged] = [ping + 1, now()];
  ask({ ping });
  console.log(JSON.stringify(read()));
}, 500);
