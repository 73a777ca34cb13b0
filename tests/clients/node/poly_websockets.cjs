// @nevuamarkets/poly-websockets: a second of books. Its address is a constant of the module, so the constructor of its
// WebSocket library leads that one address to loopback; nothing else of it is touched.
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");

const VENUE = "wss://ws-subscriptions-clob.polymarket.com/ws/market";
const venue = JSON.parse(readFileSync(0, "utf8"));

const itsOwn = createRequire(require.resolve("@nevuamarkets/poly-websockets"));
const library = itsOwn.resolve("ws");
const WebSocket = require(library);
class Led extends WebSocket {
    constructor(address, ...rest) {
        super(address === VENUE ? venue.market : address, ...rest);
    }
}
require.cache[library].exports = Led;

const { WSSubscriptionManager } = require("@nevuamarkets/poly-websockets");

const found = { books: {}, counts: {}, errors: [] };
const count = (kind) => (events) => {
    found.counts[kind] = (found.counts[kind] ?? 0) + events.length;
};
const manager = new WSSubscriptionManager({
    onBook: count("book"),
    onPriceChange: count("price_change"),
    onLastTradePrice: count("last_trade_price"),
    onTickSizeChange: count("tick_size_change"),
    onPolymarketPriceUpdate: count("price_update"),
    onError: (error) => found.errors.push(String(error)),
});
manager.addSubscriptions([...venue.tokens]);
setTimeout(async () => {
    for (const token of venue.tokens) {
        found.books[token] = manager.bookCache.getBookEntry(token);
    }
    process.stdout.write(`${JSON.stringify(found)}\n`, async () => {
        await manager.clearState();
        process.exit(0);
    });
}, 5_000);
