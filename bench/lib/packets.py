# SPDX-License-Identifier: MIT
"""What bench/lib/net.py and guests.py measured becomes text, Markdown and
HTML. Knows nothing of how it was measured."""
import html
import os
from statistics import median

import plot

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


def spread(numbers, form="%.2f"):
    if not numbers:
        return "-"
    low, mid, high = (form % f(numbers) for f in (min, median, max))
    return "%s [%s-%s]" % (mid, low, high)


def ratios(mine, base):
    """Of each round by itself: what both met at about the same time."""
    return [a / b for a, b in zip(mine, base) if b]


def verdict(name, got, goal):
    return "%s: %.2f; the goal is %.1f: %s" % (
        name, got, goal, "met" if got >= goal else "MISSED")


def rate_tables(section):
    """(title, header, rows, verdict, plot's groups) of each case."""
    for case in section["cases"]:
        series = {who: [v / 1e6 for v in values]
                  for who, values in case["pps"].items()}
        base = next(iter(series.values()))
        rows, said = [], ""
        for who, values in series.items():
            ratio = ratios(values, base)
            rows.append([who, spread(values), spread(ratio)])
            if who == "vireo under dpdk" and ratio and case["goal"]:
                said = verdict("our device under DPDK's driver",
                               median(ratio), case["goal"])
        yield (case["name"], ["device under driver", "million packets/s",
                              "ratio"], rows, said, series)


def latency_table(section):
    rows = [[who] + ["%.1f" % (median(s[k] for s in samples) / 1e3)
                     for k in ("p50", "p90", "p99", "p999")] +
            ["%.1f" % (100 * median(s["busy"] for s in samples)),
             "%.1f" % (100 * median(s["idle"] for s in samples))]
            for who, samples in section.get("latency", {}).items()]
    return ["device", "50 %", "90 %", "99 %", "99.9 %", "processor, %",
            "idle, %"], rows


def instructions():
    """As recorded with the commit: half, ring, instructions a packet."""
    rows = []
    try:
        with open(os.path.join(TOP, "bench", "instructions.tsv")) as table:
            for line in table:
                name, _, value = line.rstrip("\n").partition("\t")
                if name.startswith("packet"):
                    rows.append([name, value])
    except OSError:
        pass
    return ["half, ring", "instructions a packet"], rows


def guest_tables(section):
    for case in section["cases"]:
        rows = []
        base = case["mbit"].get("qemu", [])
        for who, values in case["mbit"].items():
            rows.append([who, spread(values, "%.0f"),
                         spread(ratios(values, base))])
        yield (case["name"], ["card", "Mbit/s", "ratio"], rows,
               {who: v for who, v in case["mbit"].items()})


def tables(whole):
    """(heading, title, header, rows, remark, series) of all there is."""
    net, guests = whole.get("net"), whole.get("guests")
    if net:
        for title, head, rows, said, series in rate_tables(net):
            yield ("Packets: " + title, "million packets a second, round "
                   "and round", head, rows, said, series)
        head, rows = latency_table(net)
        if rows:
            yield ("Packets: latency", "one packet at a time, %d a second; "
                   "there and back, microseconds; processor time of the "
                   "device" % net["latency_rate"], head, rows, "", None)
        head, rows = instructions()
        if rows:
            yield ("Packets: instructions", "64 bytes, in one thread, "
                   "counted by callgrind, as recorded with the commit",
                   head, rows, "", None)
    if guests:
        for title, head, rows, series in guest_tables(guests):
            yield ("Guests: " + title, "TCP, by iperf3, %s" %
                   guests["machine_kind"], head, rows, "", series)


def markdown(whole):
    out = []
    for heading, title, head, rows, said, _ in tables(whole):
        out += ["## " + heading, "", title, "", "| " + " | ".join(head) +
                " |", "|" + "---|" * len(head)]
        out += ["| " + " | ".join(r) + " |" for r in rows] + [""]
        out += [said, ""] if said else []
    return out


def page(whole):
    out = []
    for heading, title, head, rows, said, series in tables(whole):
        out.append("<h2>%s</h2>" % html.escape(heading))
        if series:
            out.append(plot.bars(title, [""], {who: [v] for who, v in
                                               series.items()}))
        else:
            out.append("<p>%s</p>" % html.escape(title))
        out.append("<table><tr>%s</tr>" % "".join(
            "<th>%s</th>" % html.escape(c) for c in head))
        out += ["<tr>%s</tr>" % "".join("<td>%s</td>" % html.escape(c)
                                        for c in row) for row in rows]
        out.append("</table>")
        if said:
            out.append("<p>%s</p>" % html.escape(said))
    return out


def text(heading, head, rows):
    widths = [max(len(r[i]) for r in [head] + rows) for i in
              range(len(head))]
    return "\n".join([heading] + ["  " + "  ".join(
        c.ljust(w) if not i else c.rjust(w)
        for i, (c, w) in enumerate(zip(r, widths))) for r in [head] + rows])
