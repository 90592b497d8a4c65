// The agenda beside an item: its place is in view, however long it is.
"use strict";

const nav = document.querySelector(".session > nav");
const here = nav?.querySelector("[aria-current]");
if (here && nav.scrollHeight > nav.clientHeight) nav.scrollTop = here.offsetTop - nav.clientHeight / 2;
