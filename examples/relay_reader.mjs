// A proven book in another language: follows one token of a relay, over its WebSocket or by way of a NATS server, and
// tells twice a second what may be traded on, or why nothing may. The rules are in relay_book.mjs; here is what brings
// the messages. A connection that ends, or is silent, is made anew. Left out: TLS to a NATS server, and who we are.
//
//   npm install ws                        node examples/relay_reader.mjs ws://127.0.0.1:8801/stream TOKEN
//   npm install @nats-io/transport-node   node examples/relay_reader.mjs nats://127.0.0.1:4222/NAME TOKEN

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Book, now } from "./relay_book.mjs";

const QUIET = 4, AGAIN = 0.5, TELL = 0.5, MAX_FRAME = 2 ** 22;
const [url, token] = process.argv.slice(2);
const book = new Book(token);
let way = null, heard = 0, told = "", toldAt = -Infinity;

async function overSocket() {
  const { WebSocket } = await import("ws");
  const socket = new WebSocket(`${url}?format=json`, { maxPayload: MAX_FRAME, handshakeTimeout: 3000 });
  socket.on("message", (data) => took(data));
  await once(socket, "open");
  return { say: (ask) => socket.send(ask), over: once(socket, "close"), leave: () => socket.terminate() };
}

async function overNats() {
  const { connect } = await import("@nats-io/transport-node");
  const { host, pathname } = new URL(url);
  const subject = (end) => `polymirror.${pathname.slice(1)}.json.${end}`;
  // By itself the library would connect again, and nobody would know what was missed.
  const nats = await connect({ servers: host, reconnect: false, timeout: 3000 });
  // Ours alone: an answer to the ping of somebody else says nothing of when ours left.
  const reply = subject(`reply.${randomUUID()}`);
  const callback = (error, message) => {
    if (error) nats.close();
    else if (message.data.length) took(message.string());
    else book.lost("no relay of that name is at the server"); // The server says so itself.
  };
  for (const each of [reply, subject(`book.${token}`)]) nats.subscribe(each, { callback });
  const say = (ask) => nats.isClosed() || nats.publish(subject("ask"), ask, { reply });
  return { say, over: nats.closed(), leave: () => nats.close() };
}

function took(data) {
  heard = now();
  book.take(data);
  turn();
}

function turn() {
  const ask = way && book.asks();
  if (ask) way.say(JSON.stringify(ask));
  if (way && now() - heard > QUIET) way.leave();
  const read = book.read();
  if (now() - toldAt < TELL && (typeof read === "string" ? read : "") === told) return;
  [told, toldAt] = [typeof read === "string" ? read : "", now()];
  console.log(JSON.stringify(read));
}

setInterval(turn, 100);
for (; ; await sleep(AGAIN * 1000)) {
  let why = "the connection has ended";
  try {
    const opened = await (url.startsWith("ws") ? overSocket : overNats)();
    [way, heard] = [opened, now()];
    book.opened();
    await way.over;
  } catch (error) {
    why = error.message || error.code;
  }
  way = null;
  book.lost(`not connected: ${why}`);
}
