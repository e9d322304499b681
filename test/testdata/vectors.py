"""Reads "<1 if both ends have agreed to ask> <hex>" lines with examples/device.py's decoder."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples"))
sys.dont_write_bytecode = True
from device import ACK, DATA, DUP, EPHEMERAL, HEAD, parse

for line in sys.stdin:
    try:
        frame = parse(bytes.fromhex(line[2:]), line[0] == "1")
    except ValueError:
        print("error")
        continue
    if frame is None:
        print("incomplete")
        continue
    kind, flags, seq, code, body, size = frame
    print(kind, size, *(int(bool(flags & f)) for f in (DUP, EPHEMERAL, HEAD)), seq, code, body.hex() if kind in (DATA, ACK) else "")
