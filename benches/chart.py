"""Charts as SVG, of the standard library alone: what every plot.py of these folders draws with. Lengths are pixels, y grows downwards."""

import json

# One for each seed, or for each of a few arms; told apart by the colour-blind too.
COLOURS = ["#0072b2", "#d55e00", "#009e73"]


def read(path):
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_runs(folder, pattern="*-*.jsonl"):
    """The files ARM-SEED.jsonl of a folder: a list of runs an arm."""
    runs = {}
    for path in sorted(folder.glob(pattern)):
        runs.setdefault(path.stem.rsplit("-", 1)[0], []).append(read(path))
    return runs


class Chart:
    def __init__(self):
        self.elements = []

    def text(self, x, y, text, anchor=None, fill=None):
        more = "".join(f' {name}="{value}"' for name, value in (("text-anchor", anchor), ("fill", fill)) if value)
        self.elements.append(f'<text x="{x}" y="{y}"{more}>{text}</text>')

    def axes(self, left, top, width, height):
        self.elements.append(f'<path d="M{left} {top}V{top + height}H{left + width}" fill="none" stroke="black"/>')

    def panel(self, left, top, width, height, title, most="1", last=None):
        """Axes under a title, from 0 to `most` and to the step `last`."""
        self.text(left, top - 10, title)
        self.axes(left, top, width, height)
        self.text(left - 6, top + 5, most, "end")
        self.text(left - 6, top + height, "0", "end")
        if last is not None:
            self.text(left + width, top + height + 16, f"step {last}", "end")

    def line(self, points, colour, width=2, dashes=None):
        """Through points, pairs of x and y."""
        place = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        more = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.elements.append(f'<polyline points="{place}" fill="none" stroke="{colour}" stroke-width="{width}"{more}/>')

    def dot(self, x, y, radius, colour):
        self.elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def bar(self, x, y, width, height, colour):
        self.elements.append(f'<rect x="{x}" y="{y:.1f}" width="{width}" height="{height:.1f}" fill="{colour}"/>')

    def upright(self, x, low, high):
        self.elements.append(f'<path d="M{x} {low:.1f}V{high:.1f}" stroke="black"/>')

    def write(self, path, width, height):
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">\n'
            '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(self.elements) + "\n</svg>\n")
