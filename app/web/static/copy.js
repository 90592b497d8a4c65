// Adds a button to each line that can be copied. Without it the lines can be selected and copied by hand.
"use strict";

for (const field of document.querySelectorAll("input[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = field.dataset.copy === "main" ? "btn main" : "btn";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${field.value}`);
  const heard = document.getElementById("heard");
  button.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      // Over plain HTTP there is no clipboard to write to, but what is selected can be copied.
      field.select();
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : "Selected";
    heard.textContent = copied ? `Copied ${field.value}` : "Selected: press Ctrl or Command and C";
  });
  field.after(button);
  field.addEventListener("focus", () => field.select());
}
