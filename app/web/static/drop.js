// A file that is dropped counts as chosen, and what it would do is shown at once.
"use strict";

const zone = document.getElementById("drop");
const input = document.getElementById("file");

for (const name of ["dragenter", "dragover"]) {
  zone?.addEventListener(name, (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) zone?.addEventListener(name, () => zone.classList.remove("over"));
zone?.addEventListener("drop", (event) => {
  event.preventDefault();
  if (!event.dataTransfer.files.length) return;
  input.files = event.dataTransfer.files;
  input.form.requestSubmit(input.form.querySelector('button[value="try"]'));
});
// What stands below is of another file now.
input?.addEventListener("change", () => document.getElementById("result").replaceChildren());
