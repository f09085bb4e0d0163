"""terminal.py OUT ERR > docs/quickstart.svg: a picture that moves, of what a quickstart wrote to standard output and standard error.

A few of its progress lines in each other's place, a sample, then the final table. Figures that say what kind of machine it was
(tok/s, eta) are left out.
"""

import html
import re
import sys

WIDTH, LINE, TOP, LEFT = 86, 19, 56, 18
TICK = 0.16
PAUSE = 7.0


def scenes(out: list[str], err: list[str]) -> list[tuple[float, list[str]]]:
    """Screens, each with the seconds that it is shown for."""
    progress = [re.sub(r"  tok/s.*", "", line) for line in err if re.match(r"(warmup|rl) \d+/", line)]
    shown = {stage: [line for line in progress if line.startswith(stage)] for stage in ("warmup", "rl")}
    command = "$ make quickstart"
    found = [(1.2, [command]), (0.6, [command, "run: checkpoints/quickstart"])]
    before = found[-1][1]
    for lines in shown.values():
        some = lines[:: max(1, len(lines) // 28)] + lines[-1:]
        found += [(TICK, [*before, line]) for line in some]
        before = [*before, lines[-1]]
    table = [line.rstrip() for line in out if not re.match(r"[─═]+$", line)]
    table = table[: next((at for at, line in enumerate(table) if "cut off" in line), len(table)) + 1]
    return [*found, (PAUSE, [*before, "", *table])]


def picture(screens: list[tuple[float, list[str]]]) -> str:
    height = TOP + LINE * max(len(lines) for _, lines in screens) + 6
    total = sum(seconds for seconds, _ in screens)
    drawn, styles, begun = [], [], 0.0
    for at, (seconds, lines) in enumerate(screens):
        start, end = 100 * begun / total, 100 * (begun + seconds) / total
        begun += seconds
        last = at + 1 == len(screens)
        name = f"s{at}"
        hidden = f"0%,{start:.3f}%{{opacity:0}}" if start else ""
        styles.append(
            f"@keyframes {name}{{{hidden}{start + 0.001:.3f}%,{end:.3f}%{{opacity:1}}"
            + ("" if last else f"{end + 0.001:.3f}%,100%{{opacity:0}}")
            + "}"
            + f".{name}{{opacity:{int(last)};animation:{name} {total:.2f}s linear infinite}}"
        )
        rows = "".join(
            f'<tspan x="{LEFT}" y="{TOP + LINE * row}">{html.escape(line) or " "}</tspan>' for row, line in enumerate(lines)
        )
        drawn.append(f'<text class="{name}" xml:space="preserve">{rows}</text>')
    width = 2 * LEFT + round(8.45 * WIDTH)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" '
        f'font-size="14" fill="#d8dee9"><style>{"".join(styles)}'
        "@media (prefers-reduced-motion:reduce){text{animation:none!important}}</style>"
        f'<rect width="{width}" height="{height}" rx="8" fill="#1b1f27"/>'
        '<g><circle cx="20" cy="18" r="6" fill="#e06c75"/><circle cx="40" cy="18" r="6" fill="#e5c07b"/><circle cx="60" cy="18" r="6" fill="#98c379"/></g>'
        f"{''.join(drawn)}</svg>"
    )


if __name__ == "__main__":
    read = [open(path, encoding="utf-8").read().splitlines() for path in sys.argv[1:3]]
    print(picture(scenes(*read)))
