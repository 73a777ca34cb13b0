// @polymarket/clob-client: all public calls, a login, and an order (which it signs in the old form).
import { ClobClient, OrderType, Side } from "@polymarket/clob-client";
import { createWalletClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { finish, tell, venue } from "./common.mjs";

const [token] = venue.tokens;
const all = venue.tokens.map((token_id) => ({ token_id }));
const bought = venue.tokens.map((token_id) => ({ token_id, side: "BUY" }));
const signer = createWalletClient({ account: privateKeyToAccount(venue.key), transport: http("http://127.0.0.1:9") });
const client = new ClobClient(venue.http, 137, signer);

const found = await tell({
    ok: () => client.getOk(),
    time: () => client.getServerTime(),
    book: () => client.getOrderBook(token),
    hash: async () => {
        const book = await client.getOrderBook(token);
        const stated = book.hash;
        return (await client.getOrderBookHash(book)) === stated;
    },
    books: () => client.getOrderBooks(all),
    midpoint: () => client.getMidpoint(token),
    midpoints: () => client.getMidpoints(all),
    price: () => client.getPrice(token, "BUY"),
    prices: () => client.getPrices(bought),
    spread: () => client.getSpread(token),
    spreads: () => client.getSpreads(all),
    tick: () => client.getTickSize(token),
    negRisk: () => client.getNegRisk(token),
    feeRate: () => client.getFeeRateBps(token),
    lastTrade: () => client.getLastTradePrice(token),
    lastTrades: () => client.getLastTradesPrices(all),
    market: () => client.getMarket(venue.conditions[0]),
    markets: () => client.getMarkets(),
    history: () => client.getPricesHistory({ market: token, interval: "1h" }),
    keys: () => client.createOrDeriveApiKey(),
});

if (found.keys.key) {
    const trader = new ClobClient(venue.http, 137, signer, found.keys);
    Object.assign(
        found,
        await tell({
            apiKeys: () => trader.getApiKeys(),
            openOrders: () => trader.getOpenOrders(),
            trades: () => trader.getTrades(),
            balance: () => trader.getBalanceAllowance({ asset_type: "COLLATERAL" }),
            order: () =>
                trader.createAndPostOrder({ tokenID: token, price: 0.02, side: Side.BUY, size: 10 }, {}, OrderType.GTC),
        }),
    );
}
finish(found);
