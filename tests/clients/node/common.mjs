// What the scripts share: the addresses come in as JSON on the standard input, and the answers leave as one JSON line.
import { readFileSync } from "node:fs";

export const venue = JSON.parse(readFileSync(0, "utf8"));

export const finish = (found) => {
    process.stdout.write(`\n${JSON.stringify(found)}\n`, () => process.exit(0));
};

// Awaits calls one after the other; a call that fails is told by its error instead.
export const tell = async (calls) => {
    const found = {};
    for (const [name, call] of Object.entries(calls)) {
        try {
            found[name] = await call();
        } catch (error) {
            found[name] = { error: String(error) };
        }
    }
    return found;
};

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
