// Figures over steps: lines with their intervals, drawn as wide as there is room.
const HEIGHT = 190, LEFT = 46, RIGHT = 12, TOP = 8, BOTTOM = 22;

function ticks(low, high, about) {
  const rough = (high - low) / about, power = Math.pow(10, Math.floor(Math.log10(rough)));
  const size = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= 0.7 * rough) || rough;
  const found = [];
  for (let at = Math.ceil(low / size); at * size <= high + size * 1e-9; at += 1) found.push(at * size);
  return found.map((value) => Number(value.toPrecision(12)));
}

// The least and the greatest, with a margin. A share stays within 0 to 1, and has all of that where it is always the same.
function bounds(values, margin, share) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (known(value)) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > high) return [0, 1];
  const within = share && low >= 0 && high <= 1, room = margin * (high - low);
  if (low === high) { const half = Math.abs(low) / 2; return within || low === 0 ? [0, 1] : [low - half, high + half]; }
  return within ? [Math.max(0, low - room), Math.min(1, high + room)] : [low - room, high + room];
}

// The mean of what is around each point, so that noise does not hide where a line goes.
function smooth(points) {
  const reach = Math.max(2, Math.round(points.length / 30));
  return points.map(([x], at) => {
    const near = points.slice(Math.max(0, at - reach), at + reach + 1);
    return [x, near.reduce((sum, [, y]) => sum + y, 0) / near.length];
  });
}

// lines: [{ name, points: [[x, y]], intervals: [[x, low, high]] }]; share: whether they are shares of a whole; words says what an x is called.
function chart(title, lines, share, words) {
  const legend = el("div", { class: "legend" });
  const svg = drawn("svg", { role: "img", "aria-label": visible(title) });
  const box = el("figure", { class: "chart" }, el("h3", {}, title), legend, svg);
  box.style.margin = "0";
  const plain = () => {
    legend.replaceChildren();
    add(legend, lines.map((line, at) => {
      const mark = el("i");
      mark.style.background = colour(at);
      const last = line.points.length ? line.points[line.points.length - 1][1] : NaN;
      return el("span", {}, mark, lines.length > 1 ? line.name + " " : "", number(last));
    }));
  };
  plain();
  let width = 0;
  const draw = () => {
    const now = Math.round(box.clientWidth);
    if (now > 40 && now !== width) { width = now; plot(svg, legend, lines, width, share, words, plain); }
  };
  new ResizeObserver(draw).observe(box);
  return box;
}

const colour = (at) => "var(--c" + (at % 6) + ")";

function plot(svg, legend, lines, width, share, words, plain) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", "0 0 " + width + " " + HEIGHT);
  const xs = lines.flatMap((line) => line.points.map(([x]) => x));
  const ys = lines.flatMap((line) => line.points.map(([, y]) => y));
  const [left, end] = bounds(xs, 0);
  const [low, high] = bounds(ys.concat(lines.flatMap((line) => line.intervals.flatMap(([, a, b]) => [a, b]))), 0.06, share);
  const x = (value) => LEFT + (value - left) / (end - left) * (width - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
  for (const tick of ticks(low, high, 4)) {
    svg.append(drawn("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    svg.append(drawn("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
  }
  for (const tick of ticks(left, end, Math.max(2, width / 90)).filter((tick) => Number.isInteger(tick))) {
    if (!words) svg.append(drawn("text", { x: x(tick), y: HEIGHT - 6, "text-anchor": "middle" }, number(tick)));
  }
  if (words && words.length > 1) {
    const ends = [[0, LEFT, "start"], [words.length - 1, width - RIGHT, "end"]];
    for (const [at, place, anchor] of ends) svg.append(drawn("text", { x: place, y: HEIGHT - 6, "text-anchor": anchor }, words[at]));
  }
  const path = (points) => points.map(([a, b], at) => (at ? "L" : "M") + x(a).toFixed(1) + " " + y(b).toFixed(1)).join("");
  lines.forEach((line, at) => {
    const own = { stroke: colour(at), fill: colour(at) };
    if (line.intervals.length > 1 && !words) {
      const outline = line.intervals.map(([a, , b]) => [a, b]).concat(line.intervals.map(([a, b]) => [a, b]).reverse());
      const band = drawn("path", { class: "band", d: path(outline) + "Z" });
      band.style.fill = own.fill;
      svg.append(band);
    } else {
      for (const [a, from, to] of line.intervals) {
        const whisker = drawn("line", { class: "whisker", x1: x(a), x2: x(a), y1: y(from), y2: y(to) });
        whisker.style.stroke = own.stroke;
        svg.append(whisker);
      }
    }
    const noisy = line.points.length > 60;
    const put = (kind, points) => {
      const made = drawn("path", { class: kind, d: path(points) });
      made.style.stroke = own.stroke;
      svg.append(made);
    };
    if (noisy) put("raw", line.points);
    put("line", noisy ? smooth(line.points) : line.points);
    if (line.points.length < 25) {
      for (const [a, b] of line.points) {
        const dot = drawn("circle", { cx: x(a), cy: y(b), r: 2.6 });
        dot.style.fill = own.fill;
        svg.append(dot);
      }
    }
  });
  const cursor = drawn("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, x1: -9, x2: -9 });
  svg.append(cursor);
  const places = Array.from(new Set(xs)).sort((a, b) => a - b);
  const point = (event) => {
    const at = left + ((event.clientX - svg.getBoundingClientRect().left) / svg.clientWidth * width - LEFT)
      / (width - LEFT - RIGHT) * (end - left);
    const place = places.reduce((best, p) => (Math.abs(p - at) < Math.abs(best - at) ? p : best), places[0]);
    cursor.setAttribute("x1", x(place));
    cursor.setAttribute("x2", x(place));
    legend.replaceChildren();
    add(legend, [el("span", {}, words ? words[place] : "step " + place), lines.map((line, n) => {
      const found = line.points.find(([a]) => a === place), around = line.intervals.find(([a]) => a === place);
      if (!found) return null;
      const mark = el("i");
      mark.style.background = colour(n);
      const interval = around ? " [" + number(around[1]) + ", " + number(around[2]) + "]" : "";
      return el("span", {}, mark, lines.length > 1 ? line.name + " " : "", number(found[1]) + interval);
    })]);
  };
  svg.onpointermove = point;
  svg.onpointerdown = point;
  svg.onpointerleave = () => { cursor.setAttribute("x1", -9); cursor.setAttribute("x2", -9); plain(); };
}

const points = (series) =>
  series.steps.map((step, at) => [step, series.values[at]]).filter(([, value]) => known(value));

const isShare = (figure) => (data.described[figure] || {}).unit === "share";

// What stands for the star of a pattern; null where the name is no such.
function star(pattern, name) {
  const at = pattern.indexOf("*");
  if (at < 0) return pattern === name ? "" : null;
  const tail = pattern.slice(at + 1), inner = name.slice(at, name.length - tail.length);
  const is = name.startsWith(pattern.slice(0, at)) && name.endsWith(tail) && inner && !inner.includes("/");
  return is ? inner : null;
}

function panels(stage) {
  const figures = stage.figures || {};
  return data.panels.map((panel) => {
    const lines = panel.figures.flatMap(([pattern, called]) => Object.keys(figures).map((name) => {
      const inner = star(pattern, name);
      return inner === null ? null : { name: called || inner, figure: name, points: points(figures[name]), intervals: [] };
    }).filter((line) => line && line.points.length)).slice(0, 6);
    if (!lines.length) return null;
    const [low, high] = (panel.interval || []).map((name) => (figures[name] ? points(figures[name]) : []));
    if (low && high) lines[0].intervals = low.map(([x, from], at) => [x, from, (high[at] || [x, from])[1]]);
    return chart(panel.title, lines, lines.every((line) => isShare(line.figure)));
  }).filter(Boolean);
}
