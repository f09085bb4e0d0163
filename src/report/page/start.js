// The page, put together.
const main = document.getElementById("main");
const content = (data.trials ? [trials(), comparison(), recipe(), machine()] : [alarms(), curves(), table(), beforeAfter(), samples(), rationales(), trees(), recipe(), machine()]).filter(Boolean);
main.replaceChildren(header(), el("nav", { "aria-label": "parts of this report" }, parts.map(([id, title]) => el("a", { href: "#" + id }, title))), ...content);
