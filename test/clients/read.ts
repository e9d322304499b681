// The program of docs/guide/uplinks.md, with a database in memory.
import { readUplinks } from "./generated/uplinks.js";

let cursor = 0;
await readUplinks(
  async () => cursor,
  async (items, after) => {
    cursor = after;
    for (const u of items) {
      console.log("ok: read", u.client, u.text);
      process.exit(u.text === "21.5" ? 0 : 1);
    }
  },
);
