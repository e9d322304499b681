#!/usr/bin/env python3
"""A receiver of webhooks, with the standard library alone: it verifies the signature
after the Standard Webhooks specification, and takes each event once.

  WEBHOOK_SECRET=whsec_... PORT=9000 examples/receiver.py
"""
import base64, hashlib, hmac, http.server, json, os, time

SECRET = os.environ.get("WEBHOOK_SECRET", "")
if not SECRET.startswith("whsec_") or len(SECRET) < 30:  # anyone can sign with an empty key
    raise SystemExit("WEBHOOK_SECRET must be the secret of the webhook: whsec_...")
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
seen = set()  # keep the ids in your database, in the transaction of your work


def verified(headers, body):
    """Returns whether one of the signatures is ours and at most five minutes old."""
    at = headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(time.time() - int(at)) > 300:
        return False
    signed = f"{headers.get('webhook-id', '')}.{at}.".encode() + body
    want = "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(want, got) for got in headers.get("webhook-signature", "").split(" "))


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        if not 0 <= size <= 1 << 20:  # no event is so long
            return self.send_error(413)
        body = self.rfile.read(size)
        status = 401
        if verified(self.headers, body):
            event, status = json.loads(body), 204
            if event["id"] not in seen:
                seen.add(event["id"])
                print(event["type"], event.get("subject", ""), json.dumps(event["data"]), flush=True)
        self.send_response(status)  # only now is the event done
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver)
print("ready", flush=True)
server.serve_forever()
