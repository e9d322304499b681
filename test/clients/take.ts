// The program of docs/guide/take-in.md, with a database in memory.
import { takeIn } from "./generated/take-in.js";

let cursor = 0;
await takeIn(
  async () => cursor,
  async (items, after) => {
    cursor = after;
    for (const u of items) {
      console.log("ok: took in", u.client, u.text);
      process.exit(u.text === "21.5" ? 0 : 1);
    }
  },
);
