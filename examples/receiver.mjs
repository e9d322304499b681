// A receiver of webhooks in Node, without packages: it verifies the signature after the
// Standard Webhooks specification, and takes each event once.
//
//   WEBHOOK_SECRET=whsec_... PORT=9000 node examples/receiver.mjs
//
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secret = process.env.WEBHOOK_SECRET ?? "";
if (!secret.startsWith("whsec_") || secret.length < 30) { // anyone can sign with an empty key
  console.error("WEBHOOK_SECRET must be the secret of the webhook: whsec_...");
  process.exit(1);
}
const key = Buffer.from(secret.slice(6), "base64");
const seen = new Set(); // keep the ids in your database, in the transaction of your work

// Returns whether one of the signatures is ours and at most five minutes old.
function verified(headers, body) {
  const at = headers["webhook-timestamp"];
  if (!(Math.abs(Date.now() / 1000 - Number(at)) <= 300)) return false;
  const want = createHmac("sha256", key).update(`${headers["webhook-id"]}.${at}.`).update(body).digest();
  return (headers["webhook-signature"] ?? "").split(" ").some((s) => {
    const got = Buffer.from(s.replace(/^v1,/, ""), "base64");
    return s.startsWith("v1,") && got.length === want.length && timingSafeEqual(got, want);
  });
}

createServer(async (request, response) => {
  const chunks = [];
  let size = 0;
  try {
    for await (const chunk of request) {
      if ((size += chunk.length) > 1 << 20) return request.destroy(); // no event is so long
      chunks.push(chunk);
    }
  } catch {
    return; // the sender has gone
  }
  const body = Buffer.concat(chunks);
  if (!verified(request.headers, body)) return response.writeHead(401).end();
  const event = JSON.parse(body);
  if (!seen.has(event.id)) {
    seen.add(event.id);
    console.log(event.type, event.subject, JSON.stringify(event.data));
  }
  response.writeHead(204).end(); // only now is the event done
}).listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => console.log("ready"));
