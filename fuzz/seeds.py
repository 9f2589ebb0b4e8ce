#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of the targets that guest.c and driver.c serve, and the
orders of front ends for vhost_msg: valid exchanges in their language of moves,
for the fuzzer to spoil."""
import os
import struct

import orders

HERE = os.path.dirname(os.path.abspath(__file__))
NEXT, WRITE, INDIRECT = 1, 2, 4
EVENT_IDX, INDIRECT_DESC, IN_ORDER, PACKED = 1, 2, 4, 8
SIZE_16 = 4 << 4


def write(at, data):
    return bytes([0]) + struct.pack("<HB", at, len(data)) + data


def service(queue=0):
    return bytes([1, queue])


def host(how):
    return bytes([2, how])


def desc(flags, addr, length, queue=0):
    return bytes([3, queue, flags]) + struct.pack("<HH", addr, length)


def avail(descs, queue=0):
    return bytes([4, queue, descs - 1])


def config_write(off, data):
    return bytes([5, off, len(data)]) + data


def config_read(off):
    return bytes([6]) + struct.pack("<I", off)


def reset(choice):
    return bytes([8, choice])


def stop(queue=0):
    return bytes([9, queue])


def header(kind, sector):
    return struct.pack("<IIQ", kind, 0, sector)


def chain(*descs, queue=0):
    return b"".join(d for d in descs) + avail(len(descs), queue)


def blk_request(kind, sector, data_flags, data_len, payload=b""):
    moves = write(0x5000, header(kind, sector))
    if payload:
        moves += write(0x6000, payload)
    descs = [desc(NEXT, 0x5000, 16)]
    if data_len:
        descs.append(desc(NEXT | data_flags, 0x6000, data_len))
    descs.append(desc(WRITE, 0x7000, 1))
    return moves + chain(*descs) + service()


RANGE = struct.pack("<QII", 2, 4, 0)
BLK = (blk_request(0, 1, WRITE, 512) + blk_request(1, 2, 0, 1024) +
       blk_request(4, 0, 0, 0) + blk_request(8, 0, WRITE, 20) +
       blk_request(11, 0, 0, 16, RANGE) + blk_request(13, 0, 0, 16, RANGE) +
       blk_request(99, 0, 0, 0))
INDIRECT_TABLE = (
    struct.pack("<QIHH", 0x5000, 16, NEXT, 1) +
    struct.pack("<QIHH", 0x6000, 512, NEXT | WRITE, 2) +
    struct.pack("<QIHH", 0x7000, 1, WRITE, 0))
BLK_INDIRECT = (write(0x5000, header(0, 3)) +
                write(0x4000, INDIRECT_TABLE) +
                chain(desc(INDIRECT, 0x4000, 48)) + service())

FILL = chain(desc(WRITE, 0x6000, 64)) + service()
TYPED = chain(desc(WRITE, 0x6000, 64, 0), queue=0) + service(0)
PRINTED = (write(0x6000, b"hello") +
           chain(desc(0, 0x6000, 5, 1), queue=1) + service(1))

# driver.c: what the driver does, and what the device answers.


def submit(req, kind, sector):
    return bytes([0, req, 0, kind, sector])


def poll():
    return bytes([2, 0])


def use(ident, length):
    return bytes([4, 1, 0, ident]) + struct.pack("<H", length)


DRIVER = b"".join(submit(i, i, i) for i in range(4)) + poll() + \
    use(0, 513) + use(1, 1) + poll() + submit(0, 0, 1) + bytes([3]) + poll()


def variants(moves):
    for name, features in (
            ("plain", 0), ("indirect", INDIRECT_DESC),
            ("order", INDIRECT_DESC | IN_ORDER | EVENT_IDX),
            ("packed", PACKED | INDIRECT_DESC | EVENT_IDX),
            ("packed_order", PACKED | INDIRECT_DESC | IN_ORDER)):
        yield name, bytes([features | SIZE_16]) + moves


def save(target, seeds):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    for name, seed in seeds:
        with open(os.path.join(folder, name), "wb") as f:
            f.write(seed)


# pci.c: a driver that reads a sector, in all ways that the moves have.


def pci_write(bar, off, width, v):
    return bytes([1, 0x80 | width << 3 | bar]) + struct.pack("<HI", off, v)


def pci_config(off, width, v):
    return bytes([0]) + struct.pack("<HI", width << 14 | 0x2000 | off, v)


def pci_memory(at, data):
    return bytes([3]) + struct.pack("<HB", at, len(data)) + data


PCI_REQUEST = (
    pci_memory(0x4000, header(0, 3)) +
    pci_memory(0, b"".join(struct.pack("<QIHH", *d) for d in (
        (0x4000, 16, NEXT, 1), (0x5000, 512, NEXT | WRITE, 2),
        (0x6000, 1, WRITE, 0)))) +
    pci_memory(0x400, struct.pack("<HHH", 0, 1, 0)))
PCI_VECTORS = (pci_config(0x42, 1, 0x8000) + pci_write(1, 0, 2, 0xfee00000) +
               pci_write(1, 12, 2, 0) + pci_write(4, 0x16, 1, 0) +
               pci_write(4, 0x1a, 1, 0))
PCI_LIFE = (bytes([7]) + struct.pack("<II", 1 << 28, 1) + PCI_REQUEST +
            bytes([8, 4 << 1 | 0x80]) + PCI_VECTORS +
            pci_write(4, 0x3000, 1, 0) + bytes([4, 0, 5, 6, 7]) +
            pci_write(4, 0x14, 0, 31) + pci_write(4, 0x14, 0, 15))
PCI_PORTS = (PCI_REQUEST + bytes([2, 18, 0]) + struct.pack("<I", 3) +
             bytes([2, 8, 2]) + struct.pack("<I", 1) + bytes([2, 16, 1]) +
             bytes(4) + bytes([4, 0, 5]))

# pci_probe.c: configuration space as a function of ours has it.


def pci_space():
    space = bytearray(256)
    struct.pack_into("<HHHH", space, 0, 0x1af4, 0x1044, 0, 0x10)
    struct.pack_into("<II", space, 0x10, 0xc001, 0xfe000000)
    struct.pack_into("<II", space, 0x20, 0xfe010004, 0)
    space[0x34] = 0x40
    caps = [bytes([0x11, 0, 1, 0]) + struct.pack("<II", 1, 0x801)]
    for kind, off, length in ((1, 0, 64), (3, 0x1000, 4), (2, 0x3000, 64),
                              (8, 0, 4096)):
        caps.append(struct.pack("<BBBBBBHIIII", 9, 0, 24, kind, 4, 1, 0,
                                off, length, 4 if kind == 2 else 0, 0))
    at = 0x40
    for cap in caps:
        space[at:at + len(cap)] = cap
        space[at + 1] = at + len(cap)
        at += len(cap)
    return bytes(space)


PCI_PROBE = (bytes([6, 12, 0, 0, 14, 0]) + pci_space() +
             struct.pack("<IIIIIII", 0, 0, 0, 0x20, 1, 0, 0) +
             b"\0\0\0\0" * 8 + bytes(range(64)))


def asked(request, fds, payload):
    """A request of a back end, with an acknowledgement."""
    return bytes([request, fds | 4, len(payload)]) + payload


def shown(region, fd_off, off, length, flags=1):
    return struct.pack("<QQQQQ", region, fd_off, off, length, flags)


ASKED = (asked(9, 1, shown(0, 4096, 8192, 8192)) +
         asked(9, 1, shown(255, 0, 0, 4096, 0)) +
         asked(9, 1, shown(0, 0, 4096, 8192)) +
         asked(10, 0, shown(0, 0, 8192, 8192)) +
         asked(3, 1, struct.pack("<QQQ", 0, 4096, 8192)) + asked(2, 0, b"") +
         asked(6, 0, b"0" * 16) + asked(8, 0, b"0" * 16) +
         asked(7, 0, b"1" * 16) +
         asked(3, 0, struct.pack("<QQQ", 0x100, 0, 0)))


def reply(request, payload):
    return struct.pack("<III", request, 5, len(payload)) + payload


def pf(*bits):
    return struct.pack("<Q", sum(1 << b for b in bits))


# Nothing is acknowledged, so that questions alone are answered: regions,
# slots, the log, a state's transfer.
MANAGED = (reply(1, struct.pack("<Q", 1 << 32 | 1 << 30 | 1 << 26)) +
           reply(15, pf(1, 2, 4, 15, 19, 22)) +
           reply(44, struct.pack("<II256Q", 1, 0, 4096, *[0] * 255)) +
           reply(36, struct.pack("<Q", 32)) + reply(6, bytes(8)) +
           reply(42, struct.pack("<Q", 0x100)) * 2 + reply(43, bytes(8)))


# bus.c: a disk that comes up, by registers and by channel commands.
BUS_MMIO = (struct.pack("<7I", 2, 0, *[0xffffffff] * 4, 0xb) +
            struct.pack("<I", 64) * 100)
BUS_CCW = b"\0".join(bytes(n) for n in (
    0, 7, 4, 0, 1, 1, 1)) + b"\0" + b"\0\xff\xff\xff\xff\0" * 8 + (
        b"\0\x0b" * 2 + b"\0" + bytes(60)) + b"\0\0\0\0\x40" * 40


def main():
    save("bus", [("mmio", bytes([0]) + BUS_MMIO),
                 ("mmio_net", bytes([4]) + BUS_MMIO),
                 ("mmio_legacy", bytes([2]) + BUS_MMIO),
                 ("ccw", bytes([1]) + BUS_CCW),
                 ("ccw_net", bytes([0xd]) + BUS_CCW)])
    save("vhost-client", [("managed", MANAGED)])
    save("vhost_msg", orders.seeds())
    save("vhost-asked", [("all", ASKED)])
    save("pci", [("modern", bytes([4]) + PCI_LIFE),
                 ("transitional", bytes([5]) + PCI_LIFE + PCI_PORTS),
                 ("legacy", bytes([2]) + PCI_PORTS)])
    save("pci-probe", [("modern", bytes([0]) + PCI_PROBE),
                       ("assigned", bytes([1]) + PCI_PROBE),
                       ("ports", bytes([2]) + PCI_PROBE)])
    save("life-blk", variants(BLK + BLK_INDIRECT))
    save("life-blk", [("late", bytes([INDIRECT_DESC | SIZE_16]) + host(1) + BLK +
                  stop() + host(0) + reset(EVENT_IDX) + BLK +
                  config_write(32, b"\0") + config_read(0)),
                 ("read_only", bytes([0x80 | SIZE_16]) + BLK)])
    save("life-rng", variants(FILL + host(0) + FILL + host(64) + service()))
    save("life-console", variants(TYPED + PRINTED + host(0) + PRINTED +
                             host(200) + host(3) + config_read(0) +
                             config_write(8, b"!")))
    save("driver", [("packed", bytes([0, 0]) + DRIVER),
                    ("split", bytes([8, 0]) + DRIVER),
                    ("split_plain", bytes([15, 0]) + DRIVER),
                    ("packed_plain", bytes([7, 0]) + DRIVER),
                    ("lies", bytes([9, 6]) + bytes(range(1, 80)) + DRIVER)])


main()
