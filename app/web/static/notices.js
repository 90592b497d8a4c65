// The page of notices: the row that is clicked, or gets the focus, shows its notice beside the list.
"use strict";

let latest = null; // the link whose notice was asked for last

async function show(link, scrolls) {
  const place = document.getElementById(link.dataset.show);
  const row = link.closest("[data-row]");
  if (latest === null && place.dataset.of === row.dataset.row) {
    if (scrolls) reveal(place);
    return;
  }
  latest = link;
  // Until it is there, a key or click must not reach the notice that is still shown.
  for (const button of place.querySelectorAll("button")) button.disabled = true;
  try {
    const answer = await fetch(link.href);
    if (!answer.ok || new URL(answer.url).pathname !== location.pathname) throw new Error(answer.url);
    const html = await answer.text();
    if (latest !== link) return;
    const fresh = new DOMParser().parseFromString(html, "text/html").getElementById(link.dataset.show);
    document.getElementById(link.dataset.show).replaceWith(fresh);
    history.replaceState(null, "", link.href);
    for (const other of document.querySelectorAll("tr.at")) {
      other.classList.remove("at");
      other.removeAttribute("aria-current");
    }
    row.classList.add("at");
    row.setAttribute("aria-current", "true");
    latest = null;
    if (scrolls) reveal(fresh);
  } catch {
    if (latest === link) location.assign(link.href);
  }
}

// On a phone it stands below the list.
function reveal(place) {
  if (place.getBoundingClientRect().top > innerHeight / 2) place.scrollIntoView();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-show]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  show(link, true);
});
document.addEventListener("focusin", (event) => {
  if (event.target.matches("a[data-show]")) show(event.target, false);
});
