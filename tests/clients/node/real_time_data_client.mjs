// @polymarket/real-time-data-client: some seconds of prices.
import { RealTimeDataClient } from "@polymarket/real-time-data-client";
import { finish, pause, venue } from "./common.mjs";

const counts = {};
const last = {};
const states = [];
const client = new RealTimeDataClient({
    host: venue.rtds,
    onConnect: (connected) =>
        connected.subscribe({
            subscriptions: [
                { topic: "crypto_prices", type: "update" },
                { topic: "crypto_prices_chainlink", type: "*", filters: '{"symbol":"btc/usd"}' },
                { topic: "crypto_prices_twap_sixty", type: "update", filters: "" },
            ],
        }),
    onMessage: (_, message) => {
        const kind = `${message.topic} ${message.type}`;
        counts[kind] = (counts[kind] ?? 0) + 1;
        last[kind] = message.payload;
    },
    onStatusChange: (state) => states.push(state),
});
client.connect();
await pause(5_000);
client.disconnect();
finish({ counts, last, states });
