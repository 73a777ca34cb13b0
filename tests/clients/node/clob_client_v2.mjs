// @polymarket/clob-client-v2: a login, a resting order and its end, and an order that trades.
import { ClobClient, OrderType, Side } from "@polymarket/clob-client-v2";
import { createWalletClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { finish, tell, venue } from "./common.mjs";

const [token] = venue.tokens;
const signer = createWalletClient({ account: privateKeyToAccount(venue.key), transport: http("http://127.0.0.1:9") });
const stranger = new ClobClient({ host: venue.http, chain: 137, signer });

const found = await tell({
    version: () => stranger.getVersion(),
    market: () => stranger.getClobMarketInfo(venue.conditions[0]),
    book: () => stranger.getOrderBook(token),
    keys: () => stranger.createOrDeriveApiKey(),
});

if (found.keys.key) {
    const client = new ClobClient({ host: venue.http, chain: 137, signer, creds: found.keys });
    const place = () => client.createOrder({ tokenID: token, price: 0.02, side: Side.BUY, size: 10 });
    Object.assign(
        found,
        await tell({
            placed: async () => (found.placed = await client.postOrder(await place(), OrderType.GTC)),
            open: () => client.getOpenOrders(),
            cancelled: () => client.cancelOrder({ orderID: found.placed.orderID }),
            left: () => client.getOpenOrders(),
            bought: async () => {
                const order = await client.createMarketOrder({ tokenID: token, amount: 5, side: Side.BUY });
                const started = Date.now();
                return { ...(await client.postOrder(order, OrderType.FAK)), took: Date.now() - started };
            },
            trades: () => client.getTrades(),
            all: async () => {
                await client.postOrder(await place(), OrderType.GTC);
                return client.cancelAll();
            },
            beat: () => client.postHeartbeat(),
        }),
    );
}
finish(found);
