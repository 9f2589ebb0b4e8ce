# SPDX-License-Identifier: MIT
"""The orders of test/vhost/orders.c in the language of vhost_msg.c."""
import os
import re
import struct

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = os.path.join(TOP, "test", "vhost", "orders.c")
ROWS = os.path.join(TOP, "include", "vireo", "vhu_messages.h")
GUEST, USER, MEM = 0x40000000, 0x7f0000000000, 0x10000
MODERN, BIT30, LOG_ALL, PLATFORM = 1 << 32, 1 << 30, 1 << 26, 1 << 33
IO = 0x200000
UPDATE, INVALIDATE = 2, 3
# What a descriptor is; of vhost_msg.c.
FILE, EVENT, CHANNEL = 0, 1, 3


def text(path):
    with open(path) as f:
        return f.read()


BITS = {name: 1 << int(bit) for name, bit in
        re.findall(r"^X\((\w+), (\d+), \"", text(ROWS), re.M)}
NUMBERS = {name: int(nr) for name, nr in re.findall(
    r"^X\((\w+), (\d+), [A-Z]", text(ROWS).split("VHU_BACK_MESSAGES")[0],
    re.M)}


def peers():
    """Name, protocol features, whether all is acknowledged, words."""
    src = re.sub(r"\\\n", " ", text(SOURCE))
    macros = dict(re.findall(r"#define (BASIC|QEMU)\s+(.*)", src))

    def bits(expr):
        for _ in range(2):
            for name, value in macros.items():
                expr = re.sub(r"\b%s\b" % name, value, expr)
        return sum(BITS[b] for b in set(re.findall(r"VHU_PF\((\w+)\)", expr)))

    for row in re.findall(r'^PEER\(("(?:[^"]|"\s+")*".*?)\)\n\n?(?=PEER|\Z)',
                          src, re.M | re.S):
        strings = re.findall(r'"([^"]*)"', row)
        middle = re.split(r'"[^"]*"', row)[1]
        yield (strings[0], bits(middle), "true, false" in middle,
               "".join(strings[1:]).split())


def message(name, payload=b"", fd=None, ack=False):
    return bytes([NUMBERS[name], (fd is not None) << 4 | ack,
                  fd if fd is not None else 0]) + struct.pack(
                      "<H", len(payload)) + payload


def u64(v):
    return struct.pack("<Q", v)


def region(at=0):
    return struct.pack("<QQQQ", GUEST + at, MEM, USER + at, 0)


def addr(q, log):
    at = USER + q * 0x2000
    return struct.pack("<IIQQQQ", q, log, at, at + 0x1000, at + 0x800,
                       GUEST + q * 0x2000 + 0x1000)


def bare(name):
    return lambda q, v, pf: (name, b"", None)


def state(name, v):
    return lambda q, _, pf: (name, struct.pack("<II", q, v), None)


def number(name, value, fd=None):
    return lambda q, v, pf: (name, u64(value(q, v, pf)), fd)


WORDS = {
    "owner": bare("SET_OWNER"), "reset-owner": bare("RESET_OWNER"),
    "features": bare("GET_FEATURES"),
    "protocol": bare("GET_PROTOCOL_FEATURES"),
    "queue-num": bare("GET_QUEUE_NUM"), "slots": bare("GET_MAX_MEM_SLOTS"),
    "get-status": bare("GET_STATUS"), "reset-device": bare("RESET_DEVICE"),
    "set-features": number("SET_FEATURES", lambda q, v, pf: MODERN | BIT30),
    "set-features-plain": number("SET_FEATURES", lambda q, v, pf: MODERN),
    "set-features-log": number("SET_FEATURES", lambda q, v, pf:
                               MODERN | BIT30 | LOG_ALL),
    "set-protocol": number("SET_PROTOCOL_FEATURES", lambda q, v, pf: pf),
    "status": number("SET_STATUS", lambda q, v, pf: v),
    "kick": number("SET_VRING_KICK", lambda q, v, pf: q, EVENT),
    "call": number("SET_VRING_CALL", lambda q, v, pf: q, EVENT),
    "no-call": number("SET_VRING_CALL", lambda q, v, pf: q | 0x100),
    "num": state("SET_VRING_NUM", 16), "base": state("SET_VRING_BASE", 0),
    "base-avail": state("SET_VRING_BASE", 1),
    "enable": state("SET_VRING_ENABLE", 1),
    "disable": state("SET_VRING_ENABLE", 0),
    "stop": state("GET_VRING_BASE", 0),
    "addr": lambda q, v, pf: ("SET_VRING_ADDR", addr(q, 0), None),
    "addr-log": lambda q, v, pf: ("SET_VRING_ADDR", addr(q, 1), None),
    "channel": lambda q, v, pf: ("SET_BACKEND_REQ_FD", b"", CHANNEL),
    "config": lambda q, v, pf: ("GET_CONFIG", struct.pack("<III", 0, 60, 0) +
                                b"\0" * 60, None),
    "table": lambda q, v, pf: ("SET_MEM_TABLE", struct.pack("<II", 1, 0) +
                               region(), FILE),
    "add-memory": lambda q, v, pf: ("ADD_MEM_REG", u64(0) + region(), FILE),
    "add-more": lambda q, v, pf: ("ADD_MEM_REG", u64(0) + region(MEM), FILE),
    "remove-memory": lambda q, v, pf: ("REM_MEM_REG", u64(0) + region(),
                                       FILE),
    "inflight": lambda q, v, pf: ("GET_INFLIGHT_FD", struct.pack(
        "<QQHHI", 0, 0, 2, 16, 0), None),
    "log": lambda q, v, pf: ("SET_LOG_BASE", struct.pack("<QQ", MEM, 0),
                             FILE),
}


def written(q, avail):
    """A buffer in each entry of the ring, and so many of them offered."""
    at = q * 0x2000
    desc = struct.pack("<QIHH", GUEST + 0x8000, 32, 2, 0)
    ring = struct.pack("<HH", 0, avail) + b"\0\0" * 8
    for where, what in ((at, desc), (at + 0x800, ring)):
        yield bytes([250]) + struct.pack("<HB", where, len(what)) + what


def seed(pf, ack, words):
    out, offered = b"", 0
    for word in words:
        name, _, arg = re.match(r"([\w-]+)([:=]?)(.*)", word).groups()
        if name in ("work", "rest"):
            offered += 1
            out += b"".join(b"".join(written(q, offered)) for q in (0, 1))
            out += bytes([254])
            continue
        if name == "again":
            offered = 0
            out += b"".join(b"".join(written(q, 0)) for q in (0, 1))
            continue
        queues = (0, 1) if arg == "*" else (int(arg or 0) & 1,)
        parts = ["num", "base", "addr", "kick", "call"] \
            if name == "setup" else [name]
        for q in queues:
            for part in parts:
                what = WORDS[part.replace("protocol-ack", "protocol")](
                    q, int(arg) if arg.isdigit() else 0, pf)
                out += message(what[0], what[1], what[2], ack)
    return out


def iotlb(kind, page, to):
    return message("IOTLB_MSG", struct.pack(
        "<QQQBB6x", IO + page * 0x1000, 0x1000, USER + to * 0x1000, 3, kind))


def behind_iommu():
    """Pages of I/O addresses, the ring's among them, come, go and come."""
    out = message("SET_PROTOCOL_FEATURES", u64(BITS["BACKEND_REQ"] |
                                               BITS["REPLY_ACK"]))
    out += message("SET_BACKEND_REQ_FD", b"", CHANNEL)
    out += message("SET_FEATURES", u64(MODERN | BIT30 | PLATFORM))
    out += message("SET_MEM_TABLE", struct.pack("<II", 1, 0) + region(), FILE)
    out += message("SET_VRING_NUM", struct.pack("<II", 0, 16))
    out += message("SET_VRING_ADDR", struct.pack(
        "<IIQQQQ", 0, 0, IO, IO + 0x1000, IO + 0x800, 0))
    out += message("SET_VRING_KICK", u64(0), EVENT)
    out += message("SET_VRING_ENABLE", struct.pack("<II", 0, 1))
    out += b"".join(written(0, 1)) + bytes([250]) + struct.pack(
        "<HBQ", 0, 8, IO + 0x8000) + bytes([254])
    for page in 0, 1, 8:
        out += iotlb(UPDATE, page, page)
    out += iotlb(INVALIDATE, 8, 8) + bytes([254]) + iotlb(UPDATE, 8, 3)
    out += iotlb(INVALIDATE, 0, 0) + iotlb(UPDATE, 0, 0)
    return out + iotlb(4, 1, 1)


def moved_state():
    """A state goes into the file, and out of what stands there."""
    out = message("SET_PROTOCOL_FEATURES", u64(BITS["DEVICE_STATE"]))
    out += message("SET_FEATURES", u64(MODERN | BIT30))
    for direction in 0, 1:
        out += message("SET_DEVICE_STATE_FD",
                       struct.pack("<II", direction, 0), FILE)
        out += message("CHECK_DEVICE_STATE")
    return out


def postcopy(slots, end):
    """Memory that is told in the middle of it, and taken note of."""
    ack = "ADD_MEM_REG" if slots else "SET_MEM_TABLE"
    out = message("SET_PROTOCOL_FEATURES", u64(
        BITS["PAGEFAULT"] | BITS["REPLY_ACK"] | BITS["CONFIGURE_MEM_SLOTS"]))
    out += message("SET_FEATURES", u64(MODERN | BIT30))
    out += message("POSTCOPY_ADVISE")
    out += message("POSTCOPY_LISTEN", b"", None, True)
    if slots:
        for at in 0, MEM:
            out += message("ADD_MEM_REG", u64(0) + region(at), FILE)
        out += message("REM_MEM_REG", u64(0) + region(MEM), FILE)
    else:
        out += message("SET_MEM_TABLE", struct.pack("<II", 1, 0) + region(),
                       FILE)
    out += message(ack, u64(0))
    out += seed(0, False, "setup:* enable:* work".split())
    out += message("POSTCOPY_END") if end else bytes([255])
    return out + seed(0, False, ["work"])


def seeds():
    yield "iotlb", behind_iommu()
    for slots in False, True:
        for end in False, True:
            yield "postcopy%d%d" % (slots, end), postcopy(slots, end)
    yield "device_state", moved_state()
    for name, pf, ack, words in peers():
        yield re.sub(r"\W+", "_", name.lower())[:40], seed(pf, ack, words)
