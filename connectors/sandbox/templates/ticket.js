"use strict";
// Asks for the comments every second and replaces those that changed; one that is being edited stays.

const SECOND = 1000;
const part = document.getElementById("comments");
const source = new URL(location.href);
source.searchParams.set("part", "comments");

const notesIn = (root) => [...root.querySelectorAll(".note")];
const shown = new Map(notesIn(part).map((note) => [note.id, note.outerHTML]));
const busy = (note) => note.querySelector("details[open]") !== null || note.contains(document.activeElement);

function renew(fresh) {
  const notes = notesIn(fresh);
  const kept = new Set(notes.map((note) => note.id));
  for (const old of notesIn(part)) {
    if (!kept.has(old.id) && !busy(old)) old.remove();
  }
  for (const note of notes) {
    const html = note.outerHTML;
    const old = document.getElementById(note.id);
    if (old === null) part.insertBefore(note, document.getElementById("none"));
    else if (shown.get(note.id) !== html && !busy(old)) old.replaceWith(note);
    else continue;
    shown.set(note.id, html);
  }
  document.getElementById("count").textContent = String(notes.length);
  document.getElementById("none").hidden = notes.length > 0;
}

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch(source, { headers: { Accept: "text/html" } });
      if (answer.ok) renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The tracker was stopped; it may come back.
    }
  }
  setTimeout(look, SECOND);
}

document.getElementById("as")?.addEventListener("change", (event) => event.target.form.submit());
setTimeout(look, SECOND);
