// Single keys, for lists that are worked through (docs/pages.md, "Keyboard"). A key presses what carries it as
// data-key: in the row at the cursor, else anywhere on the page. Nothing here does what no button does.
"use strict";

const OFF = "northing-keys-off";
const PAGES = { o: "/", e: "/epics", g: "/goals", n: "/notices", s: "/sources", r: "/rules" };
const FIELDS = "input:not([type=checkbox], [type=radio]), select, textarea, [contenteditable]";

let at = null; // the data-row of the row at the cursor, and its place, in case it goes
let place = 0;
let last = null; // the row whose box was ticked last
let going = false; // `g` was pressed
let selected = new Set(); // the names of the selected rows, for the time after they are replaced

const rows = () => [...document.querySelectorAll("[data-row]")];
const current = () => rows().find((row) => row.classList.contains("at"));
const off = () => localStorage.getItem(OFF) !== null;

// --- the cursor -----------------------------------------------------------------------------------

function moveTo(row, focus = true) {
  for (const other of rows()) {
    if (other === row) continue;
    other.classList.remove("at");
    other.removeAttribute("aria-current");
    other.querySelector('[data-key="1"]')?.classList.remove("main");
  }
  if (!row) return;
  at = row.dataset.row;
  place = rows().indexOf(row);
  row.classList.add("at");
  row.setAttribute("aria-current", "true");
  row.querySelector('[data-key="1"]')?.classList.add("main");
  if (focus) (row.querySelector("[data-title]") || row.querySelector("a, button"))?.focus();
  if (focus) row.scrollIntoView({ block: "nearest" });
}

function move(step) {
  const all = rows();
  const here = current();
  if (!all.length) return;
  const next = here ? all.indexOf(here) + step : 0;
  moveTo(all[Math.max(0, Math.min(all.length - 1, next))]);
}

// --- the selection ----------------------------------------------------------------------------------

const boxes = () => [...document.querySelectorAll('[data-row] input[type="checkbox"]')];
const chosen = () => boxes().filter((box) => box.checked);

function showSelection() {
  const number = chosen().length;
  for (const box of boxes()) box.closest("[data-row]").classList.toggle("on", box.checked);
  const bar = document.querySelector(".bulk");
  if (!bar) return;
  bar.hidden = number === 0;
  bar.querySelector("[data-count]").textContent = `${number} selected`;
  for (const button of bar.querySelectorAll("[data-act]")) button.textContent = `${button.dataset.act} ${number}`;
  selected = new Set(chosen().map((box) => box.value));
  const all = document.querySelector("[data-all]");
  if (!all) return;
  all.hidden = false;
  all.checked = number > 0 && number === boxes().length;
  all.indeterminate = number > 0 && !all.checked;
}

function select(upToHere) {
  const here = current();
  const box = here?.querySelector('input[type="checkbox"]');
  if (!box) return;
  const all = rows();
  const from = all.findIndex((row) => row.dataset.row === last);
  if (upToHere && from >= 0) {
    const [low, high] = [from, all.indexOf(here)].sort((a, b) => a - b);
    for (const row of all.slice(low, high + 1)) row.querySelector('input[type="checkbox"]').checked = true;
  } else {
    box.checked = !box.checked;
    last = here.dataset.row;
  }
  showSelection();
}

function clear() {
  for (const box of boxes()) box.checked = false;
  showSelection();
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-all]")) for (const box of boxes()) box.checked = event.target.checked;
  if (event.target.matches("[data-all], [data-row] input")) showSelection();
});
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-clear]")) {
    event.preventDefault();
    clear();
  }
  const box = event.target.closest('[data-row] input[type="checkbox"]');
  if (box) last = box.closest("[data-row]").dataset.row;
});

// What is sent for all that are selected ends the selection, but where the answer asks for more and shows it.
document.addEventListener("submit", (event) => {
  if (event.target.id === "bulk") selected = new Set();
});

// --- the keys -------------------------------------------------------------------------------------

function say(words) {
  const place = document.getElementById("said");
  if (!place) return;
  const line = document.createElement("p");
  line.className = "note calm";
  line.textContent = words;
  place.replaceChildren(line);
}

function press(key) {
  const here = current();
  const found =
    here?.querySelector(`[data-key="${key}"]`) ||
    [...document.querySelectorAll(`[data-key="${key}"]`)].find((one) => !one.closest("[data-row]"));
  if (!found) return false;
  if (found.matches(FIELDS)) found.focus();
  else found.click();
  return true;
}

// Links the first that fits; where that is not certain, it is the person who says so, with the next key.
function link() {
  const first = current()?.querySelector('[data-key="1"]');
  if (!first) return press("l");
  if ("sure" in first.dataset || document.activeElement === first) return press("1");
  first.focus();
  say(`${first.textContent} is not certain: press l once more, or 1, to link it.`);
  return true;
}

function escape() {
  if (press("Escape")) return true;
  if (chosen().length) clear();
  else moveTo(null);
  return true;
}

function showKeys() {
  const section = document.getElementById("keys");
  if (!section) return false;
  section.open = !section.open;
  if (section.open) section.querySelector("summary").focus();
  if (section.open) section.scrollIntoView({ block: "nearest" });
  return true;
}

function go(key) {
  const home = document.querySelector(".brand[href]");
  if (!(key in PAGES) || !home) return false;
  location.assign(home.getAttribute("href").replace(/\/$/, "") + PAGES[key]);
  return true;
}

const KEYS = {
  j: () => (move(1), true),
  k: () => (move(-1), true),
  x: () => (select(false), true),
  X: () => (select(true), true),
  l: link,
  o: () => (current() ? (current().querySelector("[data-title]")?.click(), true) : false),
  "/": () => {
    const find = document.querySelector("main [type=search]") || document.getElementById("find");
    find?.focus();
    return Boolean(find);
  },
  g: () => {
    going = true;
    setTimeout(() => (going = false), 1500);
    return true;
  },
  "?": showKeys,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.(FIELDS)) {
    if (event.key === "Escape" && !press("Escape")) event.target.blur();
    return;
  }
  if (event.key === "Escape") {
    escape();
    return;
  }
  if (off() || event.key.length !== 1) return;
  const wasGoing = going;
  going = false;
  const done = wasGoing ? go(event.key) : (KEYS[event.key] || (() => /^[a-z1-9]$/.test(event.key) && press(event.key)))();
  if (done) event.preventDefault();
});

document.addEventListener("focusin", (event) => {
  const row = event.target.closest?.("[data-row]");
  if (row && row !== current()) moveTo(row, false);
});

// What was replaced has neither cursor nor selection: the row is found again by its name, else by its place.
document.addEventListener("northing:replaced", () => {
  for (const box of boxes()) box.checked ||= selected.has(box.value);
  showSelection();
  if (at === null) return;
  const all = rows();
  const row = all.find((one) => one.dataset.row === at) || all[Math.min(place, all.length - 1)];
  const field = document.querySelector("#main [autofocus]");
  moveTo(row, !field);
  field?.focus();
});

// --- switched off ---------------------------------------------------------------------------------

const menu = document.querySelector(".menu ul");
if (menu) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const show = () => {
    button.textContent = off() ? "Single keys: off" : "Single keys: on";
    button.setAttribute("aria-pressed", String(!off()));
  };
  button.type = "button";
  button.className = "btn quiet";
  button.addEventListener("click", () => {
    if (off()) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
    show();
  });
  show();
  item.append(button);
  menu.insertBefore(item, menu.lastElementChild);
}
const help = document.getElementById("keys");
if (help) help.hidden = false;
showSelection();
