// The editor of a rule: the preview follows what is typed, and names are offered for each value of a comma list.
"use strict";

const form = document.getElementById("rule");
const pause = 400; // ms without a key
let typed = 0;
let timer = 0;
let sending = false;

// One question at a time: while it is open, further keys only make its answer stale.
async function ask() {
  if (sending) return;
  sending = true;
  const asked = typed;
  const data = new FormData(form);
  data.set("do", "preview");
  document.getElementById("preview").setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(location.href, { method: "POST", body: data });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("preview");
    // None where the session is over: saving leads to the login.
    if (fresh && asked === typed) {
      document.getElementById("preview").replaceWith(fresh);
      document.getElementById("heard").textContent = fresh.querySelector(".mid")?.textContent ?? "";
    }
  } catch {
    // The next key asks again.
  } finally {
    sending = false;
    document.getElementById("preview").removeAttribute("aria-busy");
  }
  if (asked !== typed) later();
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(ask, pause);
}

function changed() {
  typed += 1;
  later();
}

// A list offers whole values of its field, so its names are made to begin with what stands before the last comma.
function offer(field) {
  const kind = field.closest(".test").querySelector("select").value;
  const names = document.getElementById(`names-${kind}`);
  field.toggleAttribute("list", Boolean(names));
  if (!names) return;
  field.setAttribute("list", names.id);
  const before = field.value.slice(0, field.value.lastIndexOf(",") + 1);
  if (names.dataset.before === before) return;
  names.dataset.before = before;
  for (const option of names.options) {
    option.dataset.name ??= option.value;
    const name = option.dataset.name;
    const quoted = /[",]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
    option.value = before ? `${before} ${quoted}` : quoted;
  }
}

form.addEventListener("input", (event) => {
  if (event.target.matches(".values")) offer(event.target);
  changed();
});
form.addEventListener("focusin", (event) => {
  if (event.target.matches(".values")) offer(event.target);
});
document.addEventListener("northing:replaced", (event) => {
  document.querySelector("#condition [data-new]")?.focus();
  // What the answer to a button shows is of that moment; without it, ask.
  typed += 1;
  if (!event.detail.includes("preview") || document.querySelector("#preview [data-ask]")) later();
});
if (document.querySelector("#preview [data-ask]") && form.elements.key_result.value) ask();
