// Rules are put in another order by dragging, or with Alt and an arrow key. The number fields and the buttons
// of each row do the same, also without this.
"use strict";

let dragged = null;

function rowAt(event) {
  const row = event.target.closest?.("#rules tr[data-place]");
  return row && row !== dragged ? row : null;
}

// Whether what is dropped here comes after this row.
function isBelow(event, row) {
  const box = row.getBoundingClientRect();
  return event.clientY > box.top + box.height / 2;
}

function mark(row, below) {
  for (const other of document.querySelectorAll("#rules .before, #rules .after")) other.classList.remove("before", "after");
  row?.classList.add(below ? "after" : "before");
}

function prepare() {
  for (const grip of document.querySelectorAll("#rules .grip")) {
    grip.hidden = false;
    grip.draggable = true;
    grip.title = "Drag to another place";
  }
}

document.addEventListener("dragstart", (event) => {
  if (!event.target.matches?.("#rules .grip")) return;
  dragged = event.target.closest("tr");
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", "");
  event.dataTransfer.setDragImage(dragged, 8, 8);
  dragged.classList.add("dragged");
});
document.addEventListener("dragover", (event) => {
  const row = dragged && rowAt(event);
  if (!row) return;
  event.preventDefault();
  mark(row, isBelow(event, row));
});
document.addEventListener("drop", (event) => {
  const row = dragged && rowAt(event);
  if (!row) return;
  event.preventDefault();
  const from = Number(dragged.dataset.place);
  const to = Number(row.dataset.place) + (isBelow(event, row) ? 1 : 0);
  const field = dragged.querySelector("input[type=number]");
  field.value = to > from ? to - 1 : to;
  if (Number(field.value) !== from) document.getElementById("order").requestSubmit(document.getElementById("take-order"));
});
document.addEventListener("dragend", () => {
  dragged?.classList.remove("dragged");
  dragged = null;
  mark(null);
});

document.addEventListener("keydown", (event) => {
  const way = { ArrowUp: "up", ArrowDown: "down" }[event.key];
  const row = event.altKey && way && event.target.closest?.("#rules tr[data-place]");
  if (!row) return;
  event.preventDefault();
  const button = row.querySelector(`button[name=${way}]`);
  button.focus();
  button.click();
});

document.addEventListener("northing:replaced", prepare);
prepare();
