# SPDX-License-Identifier: MIT
"""Bar charts as SVG: a bar is a median, its whisker the whole range."""
from html import escape
from statistics import median

COLOURS = ("#2a6f97", "#c98c2b", "#6a994e", "#a44a3f")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 240, 60, 40, 30


def nice_top(value):
    """A round number at or above the value, to end the axis with."""
    unit = 1.0
    while unit * 10 <= value:
        unit *= 10
    while unit > value:
        unit /= 10
    for factor in (1, 2, 2.5, 5, 10):
        if unit * factor >= value:
            return unit * factor
    return unit * 10


def line(x1, y1, x2, y2, colour="#333"):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>' % (
        x1, y1, x2, y2, colour)


def label(x, y, text, anchor="middle"):
    return '<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>' % (
        x, y, anchor, escape(text))


def bars(title, groups, series):
    """@series: name -> for each group a list of samples."""
    top = nice_top(max([v for s in series.values() for g in s for v in g] +
                       [1e-9]))
    height = HEIGHT - BOTTOM - TOP

    def y(value):
        return TOP + height * (1 - value / top)

    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
           'font-family="sans-serif" font-size="12">' % (WIDTH, HEIGHT),
           label(WIDTH / 2, 14, title)]
    for i in range(5):
        value = top * i / 4
        out.append(line(LEFT, y(value), WIDTH, y(value), "#ddd"))
        out.append(label(LEFT - 6, y(value) + 4, "%g" % value, "end"))
    group = (WIDTH - LEFT) / max(1, len(groups))
    wide = group * 0.7 / max(1, len(series))
    for g, name in enumerate(groups):
        out.append(label(LEFT + group * (g + 0.5), HEIGHT - BOTTOM + 16,
                         name))
        for s, samples in enumerate(series.values()):
            if not samples[g]:
                continue
            x = LEFT + group * (g + 0.15) + wide * s
            mid = median(samples[g])
            out.append('<rect x="%.1f" y="%.1f" width="%.1f" '
                       'height="%.1f" fill="%s"/>' % (
                           x, y(mid), wide * 0.9, height * mid / top,
                           COLOURS[s % len(COLOURS)]))
            out.append(line(x + wide * 0.45, y(max(samples[g])),
                            x + wide * 0.45, y(min(samples[g]))))
    for s, name in enumerate(series):
        x = LEFT + 170 * s
        out.append('<rect x="%d" y="%d" width="10" height="10" fill="%s"/>' %
                   (x, HEIGHT - 14, COLOURS[s % len(COLOURS)]))
        out.append(label(x + 15, HEIGHT - 5, name, "start"))
    return "\n".join(out + ["</svg>"])
