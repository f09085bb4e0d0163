// The parts of the page beside samples.
function header() {
  const { state, run } = data;
  const words = { running: ["running", "warn"], done: ["done", "good"], stopped: ["stopped", "warn"], failed: ["failed", "bad"] }[state.is];
  const version = run && [run.version && "rationale " + run.version, run.git && "commit " + run.git.revision.slice(0, 10) + (run.git.dirty ? " with changes" : "")]
    .filter(Boolean).join(", ");
  const first = data.evaluations[0], last = data.evaluations[data.evaluations.length - 1];
  return el("section", {},
    el("div", { class: "head" }, el("h1", {}, data.name), el("span", { class: "chip " + words[1] }, words[0]),
      first && known(last.accuracy) && el("span", { class: "chip" }, "held-out accuracy " + percent(first.accuracy)
        + (last === first ? "" : " → " + percent(last.accuracy)))),
    state.why && el("p", {}, state.why),
    data.trials && trialCount(),
    el("p", { class: "muted small" }, [version, run && "begun " + when(run.started_time), "this page " + when(data.written_time) + (state.is === "running" ? ", reload it for news" : "")].filter(Boolean).join(" · ")),
    el("div", { class: "stages" }, data.stages.map((stage) => {
      const steps = stage.steps, share = stage.done ? 1 : steps ? Math.min(1, stage.step / steps) : stage.begun ? 0.5 : 0;
      const fill = el("div", { class: stage.done ? "done" : "" });
      fill.style.width = (100 * share).toFixed(1) + "%";
      const count = stage.begun ? "step " + stage.step + (steps ? " of " + steps : "") + (stage.step_time ? ", " + duration(stage.step_time) : "") : "not begun";
      return [el("span", { class: "name" }, stageName(stage), el("span", { class: "muted small" }, stage.method ? " " + stage.method : "")),
        el("div", { class: "bar", title: count }, fill), el("span", { class: "small muted count" }, count)];
    })));
}

function alarms() {
  if (!data.alarms.length) return null;
  const shown = (alarm) => el("li", {}, el("span", { class: "muted" }, alarm.stage + (alarm.round > 1 ? ", round " + alarm.round : "") + ", step " + alarm.step + ": "),
    alarm.text.replace(/^step \d+: /, ""));
  return part("alarms", "Alarms", el("ul", { class: "plain" }, data.alarms.slice(0, 8).map(shown)),
    data.alarms.length > 8 && el("details", {}, el("summary", {}, data.alarms.length - 8 + " earlier"), el("ul", { class: "plain" }, data.alarms.slice(8).map(shown))));
}

function curves() {
  const stages = data.stages.filter((stage) => stage.figures && Object.keys(stage.figures).length);
  if (!stages.length) return null;
  const whole = el("div"), grid = el("div", { class: "grid" }), more = el("div"), tabs = el("div", { class: "tabs" });
  const found = data.evaluations.filter((one) => known(one.accuracy));
  if (found.length > 1) {
    const line = { name: "accuracy", points: found.map((one, at) => [at, one.accuracy]),
      intervals: found.map((one, at) => [at, ...one.interval]).filter(([, low, high]) => known(low) && known(high)) };
    whole.append(chart("Held-out accuracy of every evaluation, with 95 % intervals", [line], true, found.map((one) => one.title)), el("br"));
  }
  const buttons = stages.map((stage) => el("button", { onclick: () => show(stage) }, stageName(stage)));
  const show = (stage) => {
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", stages[at] === stage));
    grid.replaceChildren(...panels(stage));
    more.replaceChildren(figures(stage, grid));
  };
  if (stages.length > 1) add(tabs, buttons);
  show(stages[stages.length - 1]);
  return part("curves", "Curves", whole, tabs, grid, more);
}

// Every figure of a stage, with what it means.
function figures(stage, grid) {
  const names = Object.keys(stage.figures);
  const body = el("tbody");
  const fill = (words) => body.replaceChildren(...names.filter((name) => name.toLowerCase().includes(words.toLowerCase())).map((name) => {
    const series = points(stage.figures[name]), about = data.described[name] || {};
    const draw = () => { grid.prepend(chart(name, [{ name, points: series, intervals: [] }], isShare(name))); grid.scrollIntoView({ block: "center" }); };
    const value = (at) => (series.length ? number(series.at(at)[1]) : "–");
    return el("tr", {}, el("td", {}, el("button", { onclick: draw, title: "draw it" }, name)), el("td", { class: "nowrap" }, value(0)),
      el("td", { class: "nowrap" }, value(-1), about.unit ? " " + about.unit : ""), el("td", { class: "small" }, about.meaning, about.healthy && el("span", { class: "muted" }, " " + about.healthy)));
  }));
  const mean = Math.max(...Object.values(stage.figures).map((series) => series.mean_of));
  const made = el("details", {}, el("summary", {}, "All " + names.length + " figures of " + stageName(stage)),
    mean > 1 && el("p", { class: "muted small" }, "A point of a long curve is the mean of " + mean + " steps; metrics.jsonl has every step."),
    el("p", {}, el("input", { type: "search", placeholder: "find a figure", oninput: (e) => fill(e.target.value) })),
    el("div", { class: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, ["figure", "first", "last", "what it is"].map((text) => el("th", {}, text)))), body)));
  made.addEventListener("toggle", () => { if (made.open && !body.childElementCount) fill(""); });
  return made;
}

// A table in a box of its own, which scrolls where it is wider than the page.
const sheet = ({ header, rows }) => el("div", { class: "wide" }, el("table", {},
  el("thead", {}, el("tr", {}, header.map((text) => el("th", { class: "nowrap" }, text)))),
  el("tbody", {}, rows.map((row) => el("tr", {}, row.map((text, at) => el(at ? "td" : "th", { class: at ? "nowrap" : "name" }, text)))))));

function table() {
  if (!data.table.rows.length) return null;
  return part("table", "Evaluations", sheet(data.table),
  el("p", { class: "muted small" }, "The same as table.md and, with all figures of every evaluation, as table.csv, once the run has ended."));
}

function beforeAfter() {
  const all = data.before_after.concat(changed());
  if (!all.length) return null;
  return part("before-after", "Before and after", all.map((one, at) => el("div", { class: "pair" },
    el("h3", {}, "Question " + (at + 1) + (one.why ? ": " + one.why : "")),
    el("div", { class: "text" }, folded(one.prompt.trimEnd())),
    el("div", { class: "sides" }, one.points.map((point) => el("div", {},
      el("div", { class: "small" }, point.title, " ", right(point.right)), el("div", { class: "text" }, folded(point.text))))),
    el("p", { class: "small" }, "gold answer ", el("code", {}, one.gold)))));
}

// Held-out questions that the first evaluation had wrong and the last has right, and one the other way about.
function changed() {
  const asked = new Map(), shown = new Set(data.before_after.map((one) => one.prompt));
  for (const one of data.held_out.all) {
    if (one.repeat || one.sample || typeof one.completion !== "string" || one.at === null) continue;
    asked.set(one.question, (asked.get(one.question) || []).concat([one]));
  }
  const pairs = Array.from(asked.values()).map((all) => [all[0], all[all.length - 1]])
    .filter(([first, last]) => first !== last && first.right !== last.right && !shown.has(data.held_out.prompts[first.at]));
  const better = pairs.filter(([, last]) => last.right).slice(0, 2), worse = pairs.filter(([, last]) => !last.right).slice(0, 1);
  const point = (one) => ({ title: stageName(data.stages[one.stage]) + ", step " + one.step, text: one.completion, right: one.right });
  return better.concat(worse).map(([first, last]) => ({
    why: last.right ? "wrong before, right after" : "right before, wrong after",
    prompt: data.held_out.prompts[first.at], gold: first.gold, points: [point(first), point(last)],
  }));
}

function trees() {
  const all = data.rollouts.trees;
  if (!all.length) return null;
  const box = el("div", { class: "tree" });
  const show = (tree) => {
    const values = tree.nodes.map((node) => node.value).filter(known), low = Math.min(...values), high = Math.max(...values);
    const tone = (value) => {
      const made = el("span", { class: "worth", title: "what it is worth, by the leaves below it" }, number(value));
      const share = high > low ? (value - low) / (high - low) : 1;
      made.style.backgroundColor = share >= 0.5 ? "rgba(var(--plus), " + (share - 0.4).toFixed(2) + ")" : "rgba(var(--minus), " + (0.6 - share).toFixed(2) + ")";
      return made;
    };
    const node = (one) => el("span", { class: "node" + (one.leaf ? " leaf" : "") }, tone(one.value),
      one.vote ? el("span", { class: "small muted" }, one.copies + "/" + one.vote.asked + " " + signed(one.vote.marks)) : one.copies > 1 && el("span", { class: "small muted" }, "×" + one.copies),
      el("span", { class: "what" }, one.text.trim() || "⏎"));
    const below = (parent) => {
      const children = tree.nodes.map((one, at) => [one, at]).filter(([one]) => one.parent === parent);
      return children.length ? el("ul", {}, children.map(([one, at]) => {
        const inner = below(at);
        return el("li", {}, inner ? el("details", { open: true }, el("summary", {}, node(one)), inner) : node(one));
      })) : null;
    };
    const stage = data.stages[tree.stage];
    box.replaceChildren();
    add(box, [el("p", { class: "small muted" }, stageName(stage) + ", step " + tree.step + ", " + tree.example, tree.gold !== null && ", gold answer " + tree.gold,
      tree.all > tree.nodes.length && ", the first " + tree.nodes.length + " of " + tree.all + " nodes"), el("div", { class: "text" }, tree.prompt.trimEnd()), below(null)]);
  };
  show(all[0]);
  return part("trees", "Thought trees", all.length > 1 && el("div", { class: "filters" }, choose("Tree", all.map((tree, at) =>
    [String(at), stageName(data.stages[tree.stage]) + ", step " + tree.step + ", " + tree.example]), (at) => show(all[Number(at)]))), box);
}

// A key that breaks at its dots and nowhere else.
const dotted = (key) => key.split(".").map((word, at) => (at ? [".", el("wbr"), word] : word));

function recipe() {
  const names = Array.from(new Set(data.stages.concat(data.recipe.rows.map((row) => ({ name: row.stage }))).map((stage) => stage.name))).filter(Boolean);
  const rows = [], known = new Map();
  for (const stage of [""].concat(names)) {
    for (const row of data.recipe.rows.filter((row) => row.stage === stage)) {
      // What several stages have alike is one row.
      const same = JSON.stringify([row.key, row.value]);
      if (known.has(same)) known.get(same).stages.push(stage);
      else { const made = { ...row, stages: [stage] }; known.set(same, made); rows.push(made); }
    }
  }
  if (!rows.length) return null;
  const whose = (row) => (row.stages[0] === "" ? "run" : row.stages.length === names.length ? "all" : row.stages.join(", "));
  const body = el("tbody"), state = { all: false, words: "" };
  const stages = names.length > 1;
  const show = () => body.replaceChildren(...rows.filter((row) => (state.all || row.changed) && (whose(row) + " " + row.key).includes(state.words)).map((row) =>
    el("tr", {}, stages && el("td", {}, whose(row)), el("td", { class: "key" }, el("code", { title: row.meaning }, dotted(row.key))),
      el("td", { class: "value" }, el("code", {}, row.value)), el("td", { class: "value muted" }, row.default === null ? "" : el("code", {}, row.default)))));
  show();
  return part("recipe", "Recipe against its defaults",
    el("div", { class: "filters" },
      el("label", {}, "Key", el("input", { type: "search", oninput: (e) => { state.words = e.target.value; show(); } })),
      el("label", { class: "line" }, el("input", { type: "checkbox", onchange: (e) => { state.all = e.target.checked; show(); } }), "with all that is as by default")),
    el("div", { class: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, stages && el("th", {}, "stage"), ["key", "here", "by default"].map((text) => el("th", {}, text)))), body)),
    el("details", {}, el("summary", {}, "The whole recipe, resolved"), el("pre", { class: "text" }, data.recipe.text)));
}

function machine() {
  const rows = (data.machine && data.machine.rows) || [], starts = (data.run && data.run.starts) || [];
  return part("machine", "Machine and files", el("dl", {}, rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    starts.map((one, at) => [el("dt", {}, at ? "resumed" : "begun"), el("dd", {}, when(one.time) + " on " + one.host + " by ", el("code", {}, one.command))]),
    (data.trials ? sweepFiles : [["metrics.jsonl", "every figure, a line a step"], ["evaluations.jsonl, evaluations/", "every evaluation, and each held-out completion"],
      ["traces/", "every rollout with its token ids and log-probabilities"], ["recipe.toml", "what ran, every key"],
      ["stages.json", "what is done"], ["run.json", "which program, and who called it when and how"]]).map(([name, what]) => [el("dt", {}, el("code", {}, name)), el("dd", {}, what)])));
}
