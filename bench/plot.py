#!/usr/bin/python3
"""plot.py TABLE.md OUT.svg - the table of `make bench-train` in docs/BENCHMARKS.md, as bars. Nothing but Python itself is needed.

For each shape and number of threads: tokens a second of ours, of Debian's PyTorch and of the current one, the first of the peers as 1.
"""
import pathlib
import re
import sys
from xml.sax.saxutils import escape

HEADING = "## A GPT's step on the CPU"
COLOURS = {"sovrun": "#1f6f8b", "PyTorch 1.13": "#b9b9b9", "PyTorch 2.15": "#7d7d7d"}
BAR, GAP, GROUP_GAP, LEFT, SCALE, TOP = 16, 3, 18, 250, 190, 50


def rows(text):
    """-> [(label, {system: ms})]"""
    part = text[text.index(HEADING) :]
    part = part[: part.index("\n## ", 1)] if "\n## " in part[1:] else part
    found, shape = [], ""
    for line in part.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) < 5 or not cells[1].isdigit():
            continue
        shape = cells[0] or shape
        times = [re.match(r"(\d+) ms", c) for c in cells[2:5]]
        found.append((f"{shape}; {cells[1]} thread{'s' if cells[1] != '1' else ''}",
                      {name: float(m.group(1)) for name, m in zip(COLOURS, times) if m}))
    return found


def bars(groups):
    out, y = [], TOP
    for label, times in groups:
        base = times["PyTorch 1.13"]
        out.append(f'<text x="{LEFT - 10}" y="{y + BAR * 1.8:.0f}" text-anchor="end">{escape(label)}</text>')
        for name, ms in times.items():
            width = base / ms * SCALE
            out.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[name]}"/>')
            out.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + BAR - 3}">{base / ms:.2f} × · {ms:.0f} ms</text>')
            y += BAR + GAP
        y += GROUP_GAP
    return out, y


def main():
    groups = rows(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    if not groups:
        sys.exit(f"plot: no table below '{HEADING}' in {sys.argv[1]}")
    drawn, height = bars(groups)
    legend, x = [], LEFT
    for name, colour in COLOURS.items():
        legend.append(f'<rect x="{x}" y="28" width="12" height="12" fill="{colour}"/><text x="{x + 17}" y="38">{name}</text>')
        x += 130
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" font-family="sans-serif" font-size="12" fill="#222">',
           '<rect width="100%" height="100%" fill="#fff"/>',
           '<text x="10" y="20" font-size="14">A training step on the CPU: speed, Debian\'s PyTorch as 1</text>', *legend, *drawn, "</svg>"]
    pathlib.Path(sys.argv[2]).write_text("\n".join(svg) + "\n", encoding="utf-8")
    print(f"plot: {sys.argv[2]}")


main()
