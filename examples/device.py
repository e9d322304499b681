#!/usr/bin/env python3
"""A Longwire v2 device with nothing but Python's standard library:
./device.py localhost 6666 meter-7 meter-7.state [token]

It keeps the ledger of the smallest device (SPEC 2.5): one delivery at a time, and no reject. Replace
handle(). A line of standard input is an uplink, numbered by the clock. LONGWIRE_CA=cert.pem: TLS.
"""
import fcntl, json, os, random, select, socket, ssl, sys, time
REGISTER, REGISTER_ACK, HEARTBEAT, HEARTBEAT_ACK, DATA, ACK, CLOSE = range(1, 8)
DUP, EPHEMERAL, HEAD = 0x10, 0x20, 0x40
def handle(payload, name):
    print("handled", name, payload.decode(errors="replace"), flush=True)

def put_uvarint(v):
    return bytes([v & 0x7f | 0x80]) + put_uvarint(v >> 7) if v >= 0x80 else bytes([v])

def uvarint(b, most):
    """The number at the start of b and its size, size 0 for more to come (SPEC 4.2)."""
    v = 0
    for i, c in enumerate(b[:most]):
        v |= (c & 0x7f) << 7 * i
        if not c and i or v >> 64:
            break
        if c < 0x80:
            return v, i + 1
    else:
        if len(b) < most:
            return 0, 0
    raise ValueError("no uvarint")

def parse(b, asked, limit=262144 + 16):
    """The frame at the start of b: type, flags, number, code, payload, size. None for more to come."""
    if b and not REGISTER <= b[0] <= CLOSE or len(b) > 1 and b[1] & 0x0f != 2:
        raise ValueError("unknown type or version")
    length, n = uvarint(b[2:], 4)
    if n and length > limit:
        raise ValueError("frame too large")
    if not n or len(b) < 2 + n + length:
        return None
    kind, flags, body, seq, code = b[0], b[1] & 0xf0, b[2 + n:2 + n + length], 0, 0
    if kind in (DATA, ACK):
        seq, k = uvarint(body, 10)
        body = body[k:]
        if not seq or kind == ACK and body[:1] not in {bytes([c]) for c in range(6 if asked else 3)}:
            raise ValueError("no number or code")
        code, body = (body[0], body[1:]) if kind == ACK else (0, body)
    ask = kind == DATA and flags & HEAD
    if (ask and (not asked or not flags & DUP or flags & EPHEMERAL or body)
            or kind in (HEARTBEAT, HEARTBEAT_ACK) and body or kind == CLOSE and len(body) < 6):
        raise ValueError("a body that does not fit")
    return kind, flags, seq, code, body, 2 + n + length

def lock(path):
    """Keeps a second process away until this one ends. Where no lock can be had, the device goes on."""
    try:
        f = open(path, "a")
        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return f
    except BlockingIOError:
        sys.exit("another process uses the state")
    except OSError as e:
        print("no lock:", e, flush=True)

class Device:
    def __init__(self, host, port, ident, state, token=""):
        self.address, self.hello, self.state = (host, int(port)), {"id": ident, "token": token, "window": 1}, state
        self.lock, self.again, self.later = lock(state + ".lock"), 30, 0
        self.ledger = json.load(open(state)) if os.path.lexists(state) else {"log": "", "ask_through": 0}
        self.ledger.setdefault("id", ident) == ident or sys.exit("the state is that of another id")
        self.folder = os.open(os.path.dirname(os.path.abspath(state)), os.O_RDONLY)
        self.number, self.uplink, self.sent, self.typed, self.input = time.time_ns() // 1000, None, 0.0, b"", True

    def save(self, **ledger):
        self.ledger |= ledger
        try:
            with open(self.state + ".new", "wb") as f:
                f.write(json.dumps(self.ledger).encode())
                os.fsync(f.flush() or f.fileno())
            os.replace(self.state + ".new", self.state)
            os.fsync(self.folder)
        except OSError as e:  # the next save has this one's news, too (SPEC 2.4)
            print("not saved:", e, flush=True)

    def frame(self, kind, body=b"", flags=0):
        self.sock.sendall(bytes([kind, flags | 2]) + put_uvarint(len(body)) + body)

    def send_uplink(self, flags=0):
        self.sent, self.again = time.monotonic(), 30
        self.frame(DATA, put_uvarint(self.number) + self.uplink, flags)

    def on_data(self, flags, seq, payload):
        if flags & HEAD:  # an ASK
            return self.frame(ACK, put_uvarint(seq) + bytes([3 if seq > self.ledger["ask_through"] else 0]))
        if flags & EPHEMERAL:
            handle(payload, f"e{seq}")
        elif seq > self.ledger["ask_through"]:
            handle(payload, str(seq))
            self.save(ask_through=seq)  # before the ACK
        self.frame(ACK, put_uvarint(seq) + b"\0", flags & EPHEMERAL)

    def on_frame(self, kind, flags, seq, code, body):
        if kind == REGISTER_ACK:
            r = json.loads(body)
            self.asked, self.registered, self.limit = r.get("ask"), time.monotonic(), max(8192, r["max_payload"] + 16)
            self.heartbeat, self.grace = r["heartbeat_ms"] / 1e3, r["grace_ms"] / 1e3
            if not r["resumed"] or r["log"] != self.ledger["log"]:
                self.save(log=r["log"], ask_through=0)
        elif kind == CLOSE:
            code, self.retry_after = int.from_bytes(body[:2], "big"), int.from_bytes(body[2:6], "big") / 1e3
            raise (SystemExit if 3500 <= code <= 3999 else OSError)(f"closed {code} {body[6:].decode(errors='replace')}")
        elif kind == HEARTBEAT:
            self.frame(HEARTBEAT_ACK)
        elif kind == DATA:
            self.on_data(flags, seq, body)
        elif kind == ACK and self.uplink is not None and seq == self.number and code == 2:  # retry later (SPEC 2.2)
            self.sent, self.again = time.monotonic(), min(2 * self.later or 1, 60)
            self.later = self.again
        elif kind == ACK and self.uplink is not None and seq == self.number:
            self.uplink, self.later = print("refused" if code else "stored", flush=True), 0

    def live(self):
        """One connection, until it ends with an exception."""
        self.asked, self.limit, self.sent = False, 262144 + 16, -60.0  # an uplink is sent again at once
        self.sock = socket.create_connection(self.address, 10)
        if "LONGWIRE_CA" in os.environ:
            tls = ssl.create_default_context(cafile=os.environ["LONGWIRE_CA"])
            self.sock = tls.wrap_socket(self.sock, server_hostname=self.address[0])
        self.frame(REGISTER, json.dumps(self.hello | self.ledger).encode())
        heard, asked_at, b = time.monotonic(), 0.0, b""
        while True:
            takes = self.registered and self.uplink is None and self.input and b"\n" not in self.typed
            ready, now = select.select([self.sock] + [0] * takes, [], [], 0.5)[0], time.monotonic()
            if 0 in ready:
                self.typed += (line := os.read(0, 4096))
                self.input = bool(line)
            if self.sock in ready:
                if not (got := self.sock.recv(65536)):
                    raise OSError("end of stream")
                heard, asked_at, b = now, 0.0, b + got
                while f := parse(b, self.asked, self.limit):
                    b = b[f[-1]:]
                    self.on_frame(*f[:-1])
            if self.registered and self.uplink is None and b"\n" in self.typed:
                self.number, (self.uplink, self.typed) = self.number + 1, self.typed.split(b"\n", 1)
                self.send_uplink()
            if asked_at and now - asked_at > self.grace or not self.registered and now - heard > 12:
                raise OSError("the server is silent")
            if self.registered and not asked_at and now - heard > self.heartbeat + self.grace:
                asked_at = self.frame(HEARTBEAT) or now
            if self.registered and self.uplink is not None and now - self.sent > self.again:
                self.send_uplink(DUP)

    def run(self):
        tries = -1
        while True:
            self.retry_after, self.registered = 0, False  # or the time of the registration
            try:
                self.live()
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as e:  # the last three: not the JSON of a server
                self.sock = print("not connected:", e, flush=True)  # which closes it before the wait
            tries = 0 if self.registered and time.monotonic() - self.registered > 30 else min(tries + 1, 7)
            time.sleep(self.retry_after + random.random() * min(60, 0.5 * 2 ** tries))  # SPEC 7.4

if __name__ == "__main__":
    Device(*sys.argv[1:]).run() if len(sys.argv) in (5, 6) else sys.exit(__doc__)
