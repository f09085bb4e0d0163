// Rollouts and held-out completions, with what they were worth: found by filters, a page at a time.
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ON_PAGE = 20;

function samples() {
  const rollouts = data.rollouts.all.map((one) => ({ ...one, prompt: data.rollouts.prompts[one.prompt] }));
  const held = data.held_out.all.map((one) => ({
    stage: one.stage, step: one.step, example: one.question, text: one.completion ?? "", answer: one.answer, gold: one.gold,
    right: one.right, tokens: one.tokens, scores: one.measures || {}, confidence: one.confidence, truncated: one.truncated,
    prompt: one.at === null ? null : data.held_out.prompts[one.at], sample: one.sample, held: true,
  }));
  const kinds = [[rollouts, "rollouts", "Rollouts of training"], [held, "held", "Held-out completions"]].filter(([all]) => all.length);
  if (!kinds.length) return null;
  const state = { kind: kinds[0][1], stage: "", right: "", from: null, to: null, low: null, high: null, words: "", order: "", page: 0, shade: "" };
  const list = el("div"), count = el("span", { class: "muted small" }), foot = el("div", { class: "pages" });
  const left = el("p", { class: "muted small" });
  const again = (key, value) => { state[key] = value; if (key !== "page") state.page = 0; show(); };
  const bound = (key) => el("input", {
    type: "number", step: "any", placeholder: { from: "first", to: "last", low: "least", high: "most" }[key],
    "aria-label": { from: "first step", to: "last step", low: "least reward", high: "greatest reward" }[key],
    oninput: (e) => again(key, e.target.value === "" ? null : Number(e.target.value)),
  });
  const show = () => {
    const all = state.kind === "held" ? held : rollouts;
    const words = state.words.toLowerCase();
    const inside = (value, low, high) => (low === null || value >= low) && (high === null || value <= high);
    let found = all.filter((one) =>
      (state.stage === "" || one.stage === Number(state.stage))
      && (state.right === "" || (state.right === "unknown" ? one.right === null : one.right === (state.right === "right")))
      && inside(one.step, state.from, state.to)
      && ((state.low === null && state.high === null) || (known(one.reward) && inside(one.reward, state.low, state.high)))
      && (!words || [one.text, one.prompt, one.example, one.answer, one.gold].some((text) => text && text.toLowerCase().includes(words))));
    const by = {
      most: (one) => -(one.reward ?? -Infinity), least: (one) => one.reward ?? Infinity,
      credit: (one) => -Math.abs(one.advantage ?? 0), long: (one) => -one.tokens, late: (one) => -one.step,
    }[state.order];
    if (by) found = found.slice().sort((a, b) => by(a) - by(b));
    const pages = Math.max(1, Math.ceil(found.length / ON_PAGE));
    state.page = Math.min(state.page, pages - 1);
    count.textContent = found.length + " of " + all.length;
    list.replaceChildren(...found.slice(state.page * ON_PAGE, (state.page + 1) * ON_PAGE).map((one) => sample(one, state)));
    foot.replaceChildren(
      el("button", { disabled: state.page === 0, onclick: () => again("page", state.page - 1) }, "Previous"),
      el("span", { class: "small" }, "page " + (state.page + 1) + " of " + pages),
      el("button", { disabled: state.page >= pages - 1, onclick: () => again("page", state.page + 1) }, "Next"));
    left.textContent = visible(outside(state.kind === "held" ? data.held_out.files : data.rollouts.files));
  };
  const used = data.stages.map((stage, at) => [String(at), stageName(stage)])
    .filter(([at]) => rollouts.concat(held).some((one) => one.stage === Number(at)));
  const filters = el("div", { class: "filters" },
    kinds.length > 1 && choose("What", kinds.map(([, value, text]) => [value, text]), (value) => again("kind", value)),
    choose("Stage", [["", "all"]].concat(used), (value) => again("stage", value)),
    choose("Answer", [["", "all"], ["right", "right"], ["wrong", "wrong"], ["unknown", "no gold answer"]], (value) => again("right", value)),
    el("label", {}, "Steps", el("span", { class: "ends" }, bound("from"), bound("to"))),
    el("label", {}, "Reward", el("span", { class: "ends" }, bound("low"), bound("high"))),
    el("label", {}, "Text", el("input", { type: "search", placeholder: "in prompts and completions", oninput: (e) => again("words", e.target.value) })),
    choose("Order", [["", "as they came"], ["late", "last steps first"], ["most", "greatest reward"], ["least", "least reward"],
      ["credit", "strongest advantage"], ["long", "longest"]], (value) => again("order", value)),
    choose("Shade tokens by", [["", "nothing"], ["surprise", "how unlikely they were"], ["advantage", "advantage"]],
      (value) => again("shade", value)));
  show();
  return part("samples", "Samples", filters, count, left, list, foot);
}

// What is not on this page, and where it is.
function outside(files) {
  const cut = files.filter((file) => file.shown < file.lines);
  if (!cut.length) return "";
  const words = cut.slice(0, 4).map((file) => file.shown + " of " + file.lines + " lines of " + file.file).join(", ");
  return "Here are " + words + (cut.length > 4 ? " and parts of " + (cut.length - 4) + " further files" : "")
    + ", spread evenly; the rest is in " + (cut.length > 1 ? "these files." : "that file.");
}

function sample(one, state) {
  const stage = data.stages[one.stage];
  const head = el("summary", {},
    right(one.right),
    el("span", {}, one.held ? one.tokens + " tokens" : "reward " + number(one.reward)),
    el("span", {}, one.held ? (known(one.confidence) ? "sure " + number(one.confidence) : "") : one.advantage === null ? "" : "advantage " + signed(one.advantage)),
    el("span", { class: "from small" }, stageName(stage) + ", step " + one.step),
    el("span", { class: "first" }, one.text.slice(0, 160).replace(/\s+/g, " ")));
  const made = el("details", { class: "sample" }, head);
  made.addEventListener("toggle", () => {
    if (made.open && made.childElementCount === 1) made.append(inside(one, state));
  });
  return made;
}

// Why a completion ended, in words; nothing where the chip "cut off" says it.
function ended(stop) {
  if (!stop || stop === "length") return null;
  if (stop.eos !== undefined) return "ended by itself";
  if (stop.stop_string !== undefined) return "ended at " + JSON.stringify(stop.stop_string);
  return "ended by " + (typeof stop === "string" ? stop : Object.keys(stop)[0]).replace(/_/g, " ");
}

function inside(one, state) {
  const scores = Object.entries(one.scores || {}).map(([name, score]) => el("span", { class: "chip" }, name + " " + number(score)));
  return el("div", { class: "inside" },
    el("div", { class: "facts" },
      el("span", { class: "chip" }, one.example), el("span", { class: "chip" }, one.tokens + " tokens"),
      !one.held && el("span", { class: "chip" }, known(one.advantage) ? "advantage " + signed(one.advantage) : "not learned from"),
      ended(one.stop) && el("span", { class: "chip" }, ended(one.stop)), one.truncated && el("span", { class: "chip warn" }, "cut off"), scores),
    one.prompt !== null && [el("div", { class: "small muted" }, "Prompt"), el("div", { class: "text" }, folded(one.prompt))],
    el("div", { class: "small muted" }, "Completion", explained(one, state)), completion(one, state),
    el("div", { class: "small" }, "answer ", el("code", {}, one.answer ?? "none"), one.gold !== null && [", gold ", el("code", {}, one.gold)]));
}

function explained(one, state) {
  if (state.shade === "surprise" && one.lengths) return ", darker where a token was less likely";
  if (state.shade === "advantage" && one.lengths) {
    return one.advantages ? ", green where tokens are made likelier, red where less" : ", of which each token has the advantage " + signed(one.advantage);
  }
  return state.shade && !one.held ? ", whose tokens are not known here" : "";
}

// The text, cut where tokens are shaded or steps end.
function completion(one, state) {
  const box = el("div", { class: "text" });
  const steps = one.steps || [], scores = Object.entries(one.step_scores || {});
  const marks = new Map(steps.map(([, end], at) => [end, scores.map(([name, all]) => name + " " + number(all[at]))]));
  for (const [end, good, of] of one.cuts || []) marks.set(end, (marks.get(end) || []).concat([good + " of " + of + " go on right"]));
  const shaded = state.shade && one.lengths;
  const cuts = new Set(Array.from(marks.keys()).concat([0, one.text.length], steps.flat()));
  const levels = [];
  if (shaded) {
    let at = 0;
    one.lengths.forEach((length, token) => { levels.push([at, token]); at += length; cuts.add(at); });
  }
  const of = new Map(levels);
  const credit = [];
  (one.advantages || []).forEach(([count, value]) => { for (let n = 0; n < count; n += 1) credit.push(value); });
  const most = Math.max(1e-9, ...credit.map(Math.abs), Math.abs(one.advantage ?? 0));
  const places = Array.from(cuts).sort((a, b) => a - b);
  let token;
  for (let at = 0; at + 1 < places.length; at += 1) {
    token = of.has(places[at]) ? of.get(places[at]) : token;
    // What is said of a step stands behind it, before the line ends.
    const mark = marks.get(places[at + 1]) || [], whole = one.text.slice(places[at], places[at + 1]);
    const ends = mark.length ? /\s*$/.exec(whole)[0] : "";
    const piece = el("span", {}, folded(whole.slice(0, whole.length - ends.length)));
    if (shaded && token !== undefined) shade(piece, one, state, token, credit, most);
    box.append(piece);
    if (mark.length) add(box, [el("span", { class: "mark" }, mark.join(", ")), ends]);
  }
  if (!one.text) box.append(el("span", { class: "muted" }, one.held && one.tokens ? "not kept: eval.keep_text is off" : "empty"));
  return box;
}

function shade(piece, one, state, token, credit, most) {
  const surprise = Math.max(0, LETTERS.indexOf(one.shades[token])) / 63;
  const value = credit.length ? credit[token] : one.advantage;
  if (state.shade === "surprise") {
    piece.style.backgroundColor = "rgba(var(--shade), " + (0.75 * Math.sqrt(surprise)).toFixed(3) + ")";
    piece.title = "log p " + (surprise >= 1 ? "−8 or less" : "−" + (8 * surprise).toFixed(2));
  } else if (known(value)) {
    const tone = value >= 0 ? "--plus" : "--minus";
    piece.style.backgroundColor = "rgba(var(" + tone + "), " + (0.55 * Math.abs(value) / most).toFixed(3) + ")";
    piece.title = "advantage " + signed(value);
  }
}
