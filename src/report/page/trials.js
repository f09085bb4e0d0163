// A run that sweeps: where its trials stand, and what they come to side by side.
const sweepFiles = [["NAME_seed=N/", "a trial: an ordinary run, with its own report.html, figures, traces and checkpoints"],
  ["comparison.txt, .md, .csv, .json, .svg", "what the trials come to, at the end"], ["table.csv", "every evaluation of every trial"], ["recipe.toml", "what ran, every key and the values of those that are swept"],
  ["trials.json", "which trials there are"], ["run.json", "which program, and who called it when and how"]];

function trialCount() {
  const of = (is) => data.trials.filter((trial) => trial.is === is).length;
  return el("p", {}, of("done") + " of " + data.trials.length + " trials done" + (of("failed") ? ", " + of("failed") + " failed" : ""));
}

function trials() {
  const words = { waiting: [data.state.is === "running" ? "waiting" : "not begun", ""], running: ["running", "warn"], done: ["done", "good"],
    stopped: ["stopped", "warn"], failed: ["failed", "bad"] };
  const keys = Array.from(new Set(data.trials.flatMap((trial) => Object.keys(trial.values))));
  const figures = Array.from(new Set(data.trials.flatMap((trial) => trial.figures.map(([name]) => name))));
  const figure = (trial, name) => (trial.figures.find(([known]) => known === name) || [])[1];
  const row = (trial) => el("tr", {},
    el("th", { class: "name" }, trial.report ? el("a", { href: encodeURIComponent(trial.name) + "/report.html" }, trial.name) : trial.name),
    el("td", {}, el("span", { class: "chip " + words[trial.is][1] }, words[trial.is][0]), trial.why && el("div", { class: "small" }, trial.why)),
    el("td", { class: "nowrap" }, trial.stage ? trial.stage + ", step " + trial.step + (trial.steps ? " of " + trial.steps : "") : ""),
    keys.map((key) => el("td", { class: "nowrap" }, trial.values[key] === undefined ? "" : el("code", {}, trial.values[key]))),
    el("td", {}, trial.seed), figures.map((name) => el("td", {}, number(figure(trial, name)))));
  const header = ["trial", "state", "has come to"].concat(keys.map(dotted), ["seed"], figures);
  return part("trials", "Trials", el("div", { class: "wide" }, el("table", {},
    el("thead", {}, el("tr", {}, header.map((text) => el("th", { class: "key" }, text)))), el("tbody", {}, data.trials.map(row)))),
  el("p", { class: "muted small" }, "The figures are the newest of each trial; its name leads to its own report."));
}

function comparison() {
  const found = data.comparison;
  if (found.none) return part("comparison", "Comparison", el("p", { class: "muted" }, found.none));
  return part("comparison", "Comparison", found.sentences.map((text) => el("p", {}, text)), found.arms.length > 0 && arms(found.arms),
    found.sheets.map((one) => el("div", { class: "pair" }, el("h3", {}, one.title), sheet(one), one.notes.map((note) => el("p", { class: "muted small" }, note)))),
    found.warnings.length > 0 && el("div", { class: "pair" }, el("h3", {}, "To be wary of"), el("ul", { class: "plain" }, found.warnings.map((text) => el("li", {}, text)))));
}

// Accuracies: a row an arm, with its interval as a line, its mean as a dot and its runs as rings.
function arms(all) {
  const svg = drawn("svg", { role: "img", "aria-label": "accuracy of every arm" });
  const box = el("figure", { class: "chart" }, el("h3", {}, "Accuracy: mean, 95 % over questions, each run"), svg);
  box.style.margin = "0";
  const row = 44, bottom = 24, height = all.length * row + bottom;
  const [low, high] = bounds(all.flatMap((arm) => arm.points.concat(arm.interval, arm.value)), 0.08, true);
  const draw = () => {
    const width = Math.round(box.clientWidth);
    if (width < 40) return;
    svg.replaceChildren();
    svg.setAttribute("viewBox", "0 0 " + width + " " + height);
    const x = (value) => 14 + (value - low) / (high - low) * (width - 28);
    for (const tick of ticks(low, high, Math.max(2, width / 110))) {
      svg.append(drawn("line", { class: "axis", x1: x(tick), x2: x(tick), y1: 0, y2: height - bottom }));
      svg.append(drawn("text", { x: x(tick), y: height - 8, "text-anchor": "middle" }, number(tick)));
    }
    all.forEach((arm, at) => {
      const y = at * row + 30;
      const styled = (made, name, tone) => { made.style[name] = tone; svg.append(made); };
      svg.append(drawn("text", { x: 14, y: y - 14 }, arm.name));
      if (arm.interval.every(known)) styled(drawn("line", { x1: x(arm.interval[0]), x2: x(arm.interval[1]), y1: y, y2: y, "stroke-width": 2 }), "stroke", colour(0));
      for (const point of arm.points) styled(drawn("circle", { cx: x(point), cy: y, r: 5, fill: "none", "stroke-width": 1.4 }), "stroke", colour(1));
      styled(drawn("circle", { cx: x(arm.value), cy: y, r: 4 }), "fill", colour(0));
    });
  };
  new ResizeObserver(draw).observe(box);
  return box;
}
