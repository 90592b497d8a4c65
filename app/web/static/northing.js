// Makes pages that work without a script quicker: forms that change their page in place, and pages that follow
// what is going on. Everything here is a form or a link first.
"use strict";

const parser = new DOMParser();

// Puts the elements with these ids, as another version of this page has them, into this one.
function replace(html, ids) {
  const fresh = parser.parseFromString(html, "text/html");
  const focused = document.activeElement?.id;
  for (const id of ids) {
    const from = fresh.getElementById(id);
    const to = document.getElementById(id);
    if (from && to) to.replaceWith(from);
  }
  document.title = fresh.title;
  if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus();
  document.dispatchEvent(new CustomEvent("northing:replaced", { detail: ids }));
}

// <form data-replace="rows said">: sent in the background; of the answer these elements replace the present ones.
async function send(form, submitter) {
  const ids = form.dataset.replace.split(" ");
  const data = new FormData(form, submitter);
  const posts = (submitter?.formMethod || form.method) === "post";
  const address = new URL(submitter?.hasAttribute("formaction") ? submitter.formAction : form.action);
  if (!posts) address.search = new URLSearchParams(data).toString();
  form.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, posts ? { method: "POST", body: data } : {});
    const kind = answer.headers.get("content-type") || "";
    // Signed out meanwhile, or an error: as without a script, the answer is the next page.
    if (!kind.startsWith("text/html") || new URL(answer.url).pathname !== location.pathname) {
      location.assign(answer.url);
      return;
    }
    const html = await answer.text();
    if (!posts || answer.redirected) history.replaceState(null, "", answer.url);
    replace(html, ids);
    // data-focus: where the focus goes when what had it is no longer there.
    if (document.activeElement === document.body) document.getElementById(form.dataset.focus)?.focus();
  } catch {
    form.removeAttribute("aria-busy");
    form.submit();
  } finally {
    form.removeAttribute("aria-busy");
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.replace || event.submitter?.hasAttribute("data-whole")) return;
  event.preventDefault();
  send(form, event.submitter);
});

// <div id="run" data-follow="2">: read again after so many seconds, for as long as the new version says so.
function follow() {
  const followed = [...document.querySelectorAll("[data-follow]")];
  if (!followed.length) return;
  const seconds = Math.min(...followed.map((element) => Number(element.dataset.follow)));
  setTimeout(async () => {
    try {
      const answer = await fetch(location.href);
      if (answer.ok && !answer.redirected) {
        const html = await answer.text();
        // It is over, and the page is another one now.
        if (followed.some((element) => !html.includes(`id="${element.id}"`))) return location.reload();
        replace(html, followed.map((element) => element.id));
      }
    } catch {
      // The next attempt may meet the server again.
    }
    follow();
  }, seconds * 1000);
}
follow();

// <form data-waits="Waiting for …">: says what is waited for until the next page comes, and is sent once.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.waits === undefined || form.dataset.replace) return;
  const status = form.querySelector("[role=status]");
  if (status) status.textContent = form.dataset.waits;
  form.setAttribute("aria-busy", "true");
  // Not at once: the name and value of the button belong to what is sent.
  setTimeout(() => {
    for (const button of form.querySelectorAll("button")) button.disabled = true;
  });
});

// Back from the next page, which the browser may have kept as it was.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-waits][aria-busy]")) {
    form.removeAttribute("aria-busy");
    for (const button of form.querySelectorAll("button")) button.disabled = false;
  }
});
