// What the page shows, and elements made of it: text of data is text, whatever is in it.
const data = JSON.parse(document.getElementById("content").textContent);
const SVG = "http://www.w3.org/2000/svg";

// Characters that are obeyed or that turn the order of text about, made visible.
function visible(text) {
  const shown = (c) => {
    const code = c.codePointAt(0);
    if (code < 32) return String.fromCodePoint(0x2400 + code);
    if (code === 127) return "\u2421";
    return "⟨U+" + code.toString(16).toUpperCase().padStart(4, "0") + "⟩";
  };
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, shown);
}

// An element with attributes (`on…` are listeners) and children; what is no element is text.
function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else made.setAttribute(name, value === true ? "" : visible(value));
  }
  add(made, children);
  return made;
}

function add(to, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    to.append(child instanceof Node ? child : document.createTextNode(visible(child)));
  }
}

function drawn(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = visible(text);
  return made;
}

const known = (value) => typeof value === "number" && Number.isFinite(value);

// A number as short as it is still told from others.
function number(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (Number.isInteger(value) && size < 1e7) return String(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(size >= 1 ? 4 : 3)));
}

// A text without its many empty lines, of which it says how many there were.
const folded = (text) => text.replace(/\n{4,}/g, (all) => "\n⟨" + all.length + " line ends⟩\n");

const signed = (value) => (known(value) && value > 0 ? "+" : "") + number(value);
const percent = (share) => (known(share) ? (100 * share).toFixed(1) + " %" : "–");
const when = (seconds) => (known(seconds) ? new Date(1000 * seconds).toLocaleString() : "unknown");

function duration(seconds) {
  if (!known(seconds)) return "–";
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return seconds.toFixed(1) + " s";
  if (minutes < 60) return minutes + " min " + Math.round(seconds % 60) + " s";
  return Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}

const right = (is) =>
  is === null || is === undefined
    ? el("span", { class: "chip" }, "–")
    : el("span", { class: is ? "chip good" : "chip bad" }, is ? "right" : "wrong");

const stageName = (stage) => (stage.round > 1 ? stage.name + ", round " + stage.round : stage.name);
const choose = (label, options, changed) =>
  el("label", {}, label, el("select", { onchange: (e) => changed(e.target.value) },
    options.map(([value, text]) => el("option", { value }, text))));

// A part of the page, which the bar on top leads to; nothing where it has nothing.
const parts = [];
function part(id, title, ...children) {
  const made = el("section", { id }, el("h2", {}, title), children);
  parts.push([id, title]);
  return made;
}
