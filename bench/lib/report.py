# SPDX-License-Identifier: MIT
"""Samples become tables and pictures: text, Markdown, HTML with SVG."""
import html
import os
from statistics import median

import packets
import plot

METRICS = (
    ("iops", "thousand reads a second", 1e-3, "%.0f"),
    ("backend_cpu_ns_per_io", "processor time of the back end for each "
     "read, ns", 1, "%.0f"),
)


def values(case, peer, depth, metric):
    return [s[metric] for s in case["samples"]
            if s["peer"] == peer and s["depth"] == depth]


def ratios(case, peer, other, depth, metric):
    """Of each round by itself: what both met at about the same time."""
    mine = values(case, peer, depth, metric)
    theirs = values(case, other, depth, metric)
    return [a / b for a, b in zip(mine, theirs) if b]


SLEEP_TITLE = "One read at a time: how long, and what waiting costs (medians)"
SLEEP_RATES = ((1000, "1000 a second"), (0, "one after the other"))


def sleep_rows(samples):
    """What it takes to answer one read, and to wait for it."""
    head = ["back end"]
    for _, words in SLEEP_RATES:
        head += ["%s: p%s, us" % (words, p) for p in ("50", "90", "99",
                                                      "99.9")]
        head.append("processor")
    yield head + ["idle: processor"]
    for peer in dict.fromkeys(s["peer"] for s in samples):
        def of(rate, key, scale=1, form="%.1f"):
            return form % (scale * median(
                s[key] for s in samples
                if s["peer"] == peer and s["rate"] == rate))
        row = [peer]
        for rate, _ in SLEEP_RATES:
            row += [of(rate, p) for p in ("p50_us", "p90_us", "p99_us",
                                          "p999_us")]
            row.append(of(rate, "backend_cpu", 100, "%.1f %%"))
        yield row + [of("idle", "backend_cpu", 100, "%.1f %%")]


def spread(numbers, scale, form):
    if not numbers:
        return "-"
    low, mid, high = (form % (f(numbers) * scale)
                      for f in (min, median, max))
    return "%s [%s-%s]" % (mid, low, high)


def rows(case, metric, scale, form):
    """A header, then a row for each depth; the last cell is the ratio."""
    peers = case["peers"]
    yield ["depth"] + peers + (["ratio"] if len(peers) > 1 else [])
    for depth in case["depths"]:
        row = [str(depth)]
        for peer in peers:
            row.append(spread(values(case, peer, depth, metric), scale,
                              form))
        if len(peers) > 1:
            row.append(spread(ratios(case, peers[0], peers[1], depth,
                                     metric), 1, "%.2f"))
        yield row


LIMITS = (
    ("line_there_and_back_ns", "a cache line there and back"),
    ("copy_4k_near_ns", "a copy of 4 KiB, in cache"),
    ("copy_4k_far_ns", "a copy of 4 KiB from memory"),
    ("system_call_ns", "a system call"),
    ("wake_there_and_back_ns", "a wake-up there and back"),
)


def limit_lines(whole):
    """Before the run and after it: a machine may change meanwhile."""
    for key, title in LIMITS:
        yield "%s: %s ns" % (title, ", ".join(
            "%.0f" % sample[key] for sample in whole["limits"]))


def verdict(case):
    if len(case["peers"]) < 2:
        return "no peer to compare with"
    out = []
    for depth, goal in case["goals"].items():
        got = median(ratios(case, *case["peers"][:2], int(depth), "iops"))
        out.append("%s at depth %s: %.2f times %s; the goal is %.2f: %s" % (
            case["title"], depth, got, case["peers"][1], goal,
            "met" if got >= goal else "MISSED"))
    return "; ".join(out)


def text(whole):
    out = ["", "the machine's limits, before and after:"]
    out += ["  " + line for line in limit_lines(whole)]
    for case in whole["cases"]:
        out.append("")
        for metric, title, scale, form in METRICS:
            table = list(rows(case, metric, scale, form))
            widths = [max(len(r[i]) for r in table)
                      for i in range(len(table[0]))]
            out.append("%s: %s; median [least-most] of %d" %
                       (case["title"], title, whole["rounds"]))
            for row in table:
                out.append("  " + "  ".join(
                    cell.rjust(w) for cell, w in zip(row, widths)))
        out.append(verdict(case))
    if whole.get("sleep"):
        out += ["", SLEEP_TITLE] + ["  " + " | ".join(row) for row in
                                    sleep_rows(whole["sleep"])]
    return "\n".join(out)


def markdown(whole):
    out = ["# Benchmark report", ""]
    if whole.get("cases"):
        out += [method(whole), "",
                "The machine's limits, before and after:", ""]
        out += ["- " + line for line in limit_lines(whole)] + [""]
    for case in whole.get("cases", ()):
        out += ["## " + case["title"], ""]
        for metric, title, scale, form in METRICS:
            table = list(rows(case, metric, scale, form))
            out += [title, "", "| " + " | ".join(table[0]) + " |",
                    "|" + "---|" * len(table[0])]
            out += ["| " + " | ".join(r) + " |" for r in table[1:]]
            out.append("")
        out += [verdict(case), ""]
    if whole.get("sleep"):
        table = list(sleep_rows(whole["sleep"]))
        out += ["## " + SLEEP_TITLE, "", "| " + " | ".join(table[0]) + " |",
                "|" + "---|" * len(table[0])]
        out += ["| " + " | ".join(r) + " |" for r in table[1:]] + [""]
    return "\n".join(out + packets.markdown(whole))


def method(whole):
    m = whole["machine"]
    return ("%s, %d processors%s, %s GiB, Linux %s. Random reads of 4 KiB by "
            "one busy-polling driver on one processor, the back end on "
            "another. %d process starts of each peer, alternating, %.1f s "
            "each; median [least-most]. Only ratios within one run mean "
            "anything." % (
                m["processor"], m["processors"],
                " (virtual)" if m["virtual"] else "", m["memory_gib"],
                m["kernel"], whole["rounds"], whole["seconds"]))


def page(whole):
    out = ["<!DOCTYPE html><meta charset=utf-8><title>Vireo: benchmark "
           "report</title><style>body{font:15px sans-serif;max-width:52em;"
           "margin:2em auto}table{border-collapse:collapse;margin:1em 0}"
           "td,th{border:1px solid #ccc;padding:.3em .7em;"
           "text-align:right}</style><h1>Benchmark report</h1>"]
    if whole.get("cases"):
        out += ["<p>%s</p>" % html.escape(method(whole)),
                "<p>The machine's limits, before and after:</p><ul>"]
        out += ["<li>%s" % html.escape(line)
                for line in limit_lines(whole)] + ["</ul>"]
    for case in whole.get("cases", ()):
        out.append("<h2>%s</h2>" % html.escape(case["title"]))
        for metric, title, scale, form in METRICS:
            series = {p: [[v * scale for v in values(case, p, d, metric)]
                          for d in case["depths"]] for p in case["peers"]}
            out.append(plot.bars(title, ["depth %d" % d
                                         for d in case["depths"]], series))
            table = list(rows(case, metric, scale, form))
            out.append("<table><tr>%s</tr>" % "".join(
                "<th>%s</th>" % html.escape(c) for c in table[0]))
            for row in table[1:]:
                out.append("<tr>%s</tr>" % "".join(
                    "<td>%s</td>" % html.escape(c) for c in row))
            out.append("</table>")
        out.append("<p>%s</p>" % html.escape(verdict(case)))
    if whole.get("sleep"):
        table = list(sleep_rows(whole["sleep"]))
        out.append("<h2>%s</h2><table>" % SLEEP_TITLE)
        out += ["<tr>%s</tr>" % "".join(
            "<td>%s</td>" % html.escape(c) for c in row) for row in table]
        out.append("</table>")
    return "\n".join(out + packets.page(whole))


def write(whole, folder):
    with open(os.path.join(folder, "report.md"), "w") as f:
        f.write(markdown(whole) + "\n")
    with open(os.path.join(folder, "report.html"), "w") as f:
        f.write(page(whole) + "\n")
