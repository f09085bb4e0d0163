// Texts with the parts that their labels are told by: what was selected, how each part was scored, what people marked.
function rationales() {
  const all = data.rationales.all;
  if (!all.length) return null;
  const rightly = (one) => one.predicted.join("\n") === one.gold.join("\n");
  const runs = new Map();
  for (const one of all) runs.set(one.stage + "/" + one.step, stageName(data.stages[one.stage]) + ", step " + one.step);
  const state = { run: Array.from(runs.keys()).pop(), right: "", words: "", page: 0 };
  const list = el("div"), count = el("span", { class: "muted small" }), foot = el("div", { class: "pages" });
  const again = (key, value) => { state[key] = value; if (key !== "page") state.page = 0; show(); };
  const show = () => {
    const words = state.words.toLowerCase();
    const found = all.filter((one) => one.stage + "/" + one.step === state.run
      && (state.right === "" || rightly(one) === (state.right === "right"))
      && (!words || [one.row, ...one.units.map((unit) => unit.text)].join(" ").toLowerCase().includes(words)));
    const pages = Math.max(1, Math.ceil(found.length / ON_PAGE));
    state.page = Math.min(state.page, pages - 1);
    count.textContent = found.length + " rows";
    list.replaceChildren(...found.slice(state.page * ON_PAGE, (state.page + 1) * ON_PAGE).map((one) => rationale(one, rightly(one))));
    foot.replaceChildren(
      el("button", { disabled: state.page === 0, onclick: () => again("page", state.page - 1) }, "Previous"),
      el("span", { class: "small" }, "page " + (state.page + 1) + " of " + pages),
      el("button", { disabled: state.page >= pages - 1, onclick: () => again("page", state.page + 1) }, "Next"));
  };
  const evaluations = choose("Evaluation", Array.from(runs.entries()), (value) => again("run", value));
  evaluations.querySelector("select").value = state.run;
  const filters = el("div", { class: "filters" }, evaluations,
    choose("Label", [["", "all"], ["right", "right"], ["wrong", "wrong"]], (value) => again("right", value)),
    el("label", {}, "Text", el("input", { type: "search", placeholder: "in rows", oninput: (e) => again("words", e.target.value) })));
  show();
  return part("rationales", "Rationales",
    el("p", { class: "small muted" }, "Framed: selected. Shaded: by score, from the row's least to its greatest. Underlined: marked by people."),
    filters, count, el("p", { class: "muted small" }, visible(outside(data.rationales.files))), list, foot);
}

function rationale(one, right_) {
  const scores = one.units.map((unit) => unit.score).filter(known);
  const low = Math.min(...scores), high = Math.max(...scores);
  const box = el("div", { class: "text" });
  one.units.forEach((unit) => {
    const piece = el("span", { class: "unit" + (unit.selected ? " selected" : "") + (unit.marked ? " marked" : ""), title: "score " + number(unit.score) }, unit.text);
    const share = known(unit.score) && high > low ? (unit.score - low) / (high - low) : 0;
    piece.style.backgroundColor = "rgba(var(--shade), " + (0.6 * share).toFixed(3) + ")";
    add(box, [piece, " "]);
  });
  const labels = (all) => (all.length ? all.join(", ") : "none");
  return el("div", { class: "rationale" },
    el("div", { class: "facts" }, right(right_), el("span", { class: "chip" }, one.row),
      el("span", { class: "small" }, "label ", el("code", {}, labels(one.predicted)), ", gold ", el("code", {}, labels(one.gold)))),
    box);
}
