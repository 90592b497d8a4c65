// Makes pages that work without a script quicker: forms that change their page in place, pages that follow what
// is going on, and a menu that closes. Everything here is a form or a link first.
"use strict";

const parser = new DOMParser();
const ALWAYS = ["held"]; // the count in the navigation is that of the newest answer
const SLOWEST = 60; // seconds between two readings of a page whose server does not answer
const FORGOTTEN = 10; // seconds after which a form may be sent again that led to no other page
const addressOf = (place) => place.pathname + place.search;
let shown = addressOf(location);

// Puts the elements with these ids, as another version of this page has them, into this one; where one of them is
// missing there, as on an error's page, the whole content. A status keeps its place: what is read aloud is a
// change within it.
function replace(fresh, ids, instead) {
  const lost = [document.activeElement?.id, instead, ...focusPath()];
  const known = ids.every((id) => fresh.getElementById(id));
  let first = null; // the field that a form in the answer begins with
  for (const id of known ? [...ids, ...ALWAYS] : ["main", ...ALWAYS]) {
    const from = fresh.getElementById(id);
    const to = document.getElementById(id);
    if (!from || !to) continue;
    if (to.getAttribute("role") === "status") to.replaceChildren(...from.childNodes);
    else to.replaceWith(from);
    first ||= from.querySelector("[autofocus]");
  }
  document.title = fresh.title;
  if (first) first.focus();
  else if (document.activeElement === document.body) restoreFocus(lost);
  document.dispatchEvent(new CustomEvent("northing:replaced", { detail: ids }));
  follow();
}

// Where the focus is, from the element outwards, for the time after it is replaced.
function focusPath() {
  const path = [];
  for (let one = document.activeElement; one && one !== document.body; one = one.parentElement) {
    if (one.id) path.push(one.id);
  }
  return path;
}

function restoreFocus(path) {
  const target = path.map((id) => document.getElementById(id)).find(Boolean);
  if (!target) return;
  target.focus();
  if (document.activeElement === target) return;
  target.tabIndex = -1;
  target.focus();
}

// What is said about the last change, where the page has a place for it, else at its beginning.
function say(text) {
  let place = document.getElementById("said");
  if (!place) {
    place = document.createElement("div");
    place.id = "said";
    place.setAttribute("role", "status");
    document.getElementById("main").prepend(place);
  }
  const words = document.createElement("p");
  words.className = "note";
  words.textContent = text;
  place.replaceChildren(words);
}

// <form data-replace="rows said">: sent in the background; of the answer these elements replace the present ones.
async function send(form, submitter) {
  const data = new FormData(form, submitter);
  const posts = (submitter?.hasAttribute("formmethod") ? submitter.formMethod : form.method) === "post";
  const address = new URL(submitter?.hasAttribute("formaction") ? submitter.formAction : form.action);
  if (!posts) address.search = new URLSearchParams(data).toString();
  let answer;
  try {
    answer = await fetch(address, posts ? { method: "POST", body: data } : {});
    const html = await answer.text();
    // Signed out meanwhile, or another page: the answer is the next page, as without a script.
    const moved = new URL(answer.url).pathname !== location.pathname;
    if (moved && answer.ok) return location.assign(answer.url);
    if (!(answer.headers.get("content-type") || "").startsWith("text/html")) throw new Error("no page");
    if (answer.ok) shown = addressOf(new URL(answer.url));
    if (shown !== addressOf(location)) history.pushState(null, "", answer.url);
    // data-focus: where the focus goes when what had it is no longer there.
    replace(parser.parseFromString(html, "text/html"), form.dataset.replace.split(" "), form.dataset.focus);
  } catch {
    // Not sent once more: what was asked for may be done already, and only its answer lost.
    say(
      posts
        ? "The server did not answer, so it is not known whether this was done. Reload the page to see."
        : "The server does not answer. Try again.",
    );
  }
}

// One submission of a form at a time, sent in the background or not; a page from the back button starts anew.
const sending = new Set();
addEventListener("pageshow", () => {
  for (const form of sending) done(form);
});

function done(form) {
  sending.delete(form);
  if (form.dataset.waits === undefined) return;
  form.removeAttribute("aria-busy");
  for (const button of form.querySelectorAll("button")) button.disabled = false;
}

// <form data-waits="Waiting for …">: says what is waited for until the next page comes.
function wait(form) {
  sending.add(form);
  if (form.dataset.waits === undefined) {
    setTimeout(() => done(form), FORGOTTEN * 1000);
    return;
  }
  const status = form.querySelector("[role=status]");
  if (status) status.textContent = form.dataset.waits;
  form.setAttribute("aria-busy", "true");
  // Not at once: the name and value of the button belong to what is sent.
  setTimeout(() => {
    for (const button of form.querySelectorAll("button")) button.disabled = true;
  });
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (sending.has(form)) return event.preventDefault();
  const inPlace = form.dataset.replace && !event.submitter?.hasAttribute("data-whole");
  if (!inPlace) {
    if (!event.defaultPrevented && (form.method === "post" || form.dataset.waits !== undefined)) wait(form);
    return;
  }
  if (event.defaultPrevented) return;
  event.preventDefault();
  sending.add(form);
  form.setAttribute("aria-busy", "true");
  await send(form, event.submitter);
  form.removeAttribute("aria-busy");
  sending.delete(form);
});

// Back to an address that a form in place has left: the page as it is there.
addEventListener("popstate", () => {
  if (addressOf(location) !== shown) location.reload();
});

// <div id="run" data-follow="2">: read again after so many seconds, for as long as the new version says so. Not
// while nobody looks; more slowly while the server does not answer.
let timer = 0;
let slower = 1;

function follow() {
  clearTimeout(timer);
  const followed = [...document.querySelectorAll("[data-follow]")];
  if (!followed.length) return;
  const seconds = Math.min(...followed.map((element) => Number(element.dataset.follow) || 2));
  timer = setTimeout(() => read(followed.map((element) => element.id)), Math.min(seconds * slower, SLOWEST) * 1000);
}

async function read(ids) {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href);
    if (answer.redirected) return location.reload(); // signed out: to the login, and from there back
    if (!answer.ok) throw new Error("no page");
    slower = 1;
    const fresh = parser.parseFromString(await answer.text(), "text/html");
    if (!ids.every((id) => fresh.getElementById(id))) return location.reload(); // it is over: another page now
    replace(fresh, ids);
  } catch {
    slower *= 2;
    follow();
  }
}

document.addEventListener("visibilitychange", () => document.hidden || follow());
follow();

// The person's menu closes by Escape and by a click elsewhere.
const openMenu = () => document.querySelector("details.menu[open]");
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && openMenu();
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
document.addEventListener("click", (event) => {
  const menu = openMenu();
  if (menu && !menu.contains(event.target)) menu.open = false;
});
