// A call with the types that openapi-typescript makes of /openapi.json.
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/api.js";

const api = createClient<paths>({ baseUrl: process.env.LONGWIRE ?? "http://localhost:8080", headers: { Authorization: `Bearer ${process.env.LONGWIRE_API_KEY}` } });

const pushed = await api.POST("/v1/clients/{id}/messages", {
  params: { path: { id: "demo" }, query: { wait: "10s" } },
  body: { json: { cmd: "open" }, ttl: "1h" },
});
if (pushed.error) throw new Error(pushed.error.title);
const status: components["schemas"]["Message"]["status"] = pushed.data.status;
if (status !== "acked") throw new Error(`the push is ${status}`);

const missing = await api.GET("/v1/clients/{id}", { params: { path: { id: "nobody" } } });
const type: components["schemas"]["ProblemType"] | undefined = missing.error?.type;
if (type !== "/docs/problems/client-not-found") throw new Error(`the problem is ${type}`);

// An event is a union by its type: each branch has its own data.
export function told(event: components["schemas"]["Event"]): string {
  switch (event.type) {
    case "message.received":
      return event.data.uplink.client;
    case "client.connected":
    case "client.disconnected":
    case "client.replaced":
    case "client.forgotten":
    case "group.changed":
      return event.data.client;
    case "gap":
    case "overflow":
    case "webhook.disabled":
    case "store.repaired":
      return event.data.detail;
    case "message.completed":
      return event.data.message_id;
    default:
      return event.data.message_id;
  }
}
console.log("ok: TypeScript", status, type);
