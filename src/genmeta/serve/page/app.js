// Puts the three steps together.

import { Classes } from "./classes.js";
import { $, attempt, h, toast } from "./dom.js";
import { Learning } from "./learning.js";
import { onEnded, server } from "./server.js";
import { Trying } from "./trying.js";

const classes = new Classes(() => learning.outdate());
const trying = new Trying(classes);
const learning = new Learning(classes, () => {
  trying.enable(true);
  trying.again();
});
let checkpoint = "";

function show(state) {
  checkpoint = state.checkpoint;
  for (const radio of document.querySelectorAll("#kinds input")) radio.checked = radio.value === checkpoint;
  classes.show(state.classes, state.limits);
  learning.show(state);
  trying.enable(Boolean(state.adapted));
}

function offer(state) {
  $("private").textContent = state.local
    ? "Runs on this computer. Your pictures stay in its memory and are gone when you leave."
    : "Your pictures stay in the memory of the computer that serves this page, and are gone when you leave.";
  $("kinds").append(...state.checkpoints.map((each) => h("label", {},
    h("input", { type: "radio", name: "kind", value: each.name, onchange: () => choose(each.name) }),
    h("span", {}, h("b", {}, each.title), h("small", {}, each.summary)))));
  $("kinds").hidden = state.checkpoints.length < 2;
  $("examples").append(...state.examples.map((each) => h("button", { type: "button", class: "quiet", "data-example": each.name, onclick: () => load(each.name) }, each.title)));
  $("examples").hidden = state.examples.length === 0;
}

async function choose(name) {
  const state = await attempt(() => server.choose(name));
  if (!state) return show({ ...state, checkpoint });
  checkpoint = state.checkpoint;
  learning.show(state);
}

async function load(name) {
  const own = classes.list.some((one) => one.images.length > 0);
  if (own && !confirm("This replaces the classes you have now. Go on?")) return;
  const state = await attempt(() => server.example(name));
  if (!state) return;
  trying.reset();
  show(state);
  trying.offer(state.tries);
}

$("restart").onclick = async () => {
  const own = classes.list.some((one) => one.images.length > 0);
  if (own && !confirm("This forgets your classes, pictures and what was learned. Go on?")) return;
  await attempt(() => server.end());
  location.reload();
};

onEnded(() => {
  server.forget();
  if (!$("ended").open) $("ended").showModal();
});
$("ended-reload").onclick = () => location.reload();

// a file dropped beside the places for it would replace the page
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
// an open page is not forgotten
setInterval(() => server.progress().catch(() => {}), 60000);

try {
  const state = await server.begin();
  offer(state);
  show(state);
  document.documentElement.dataset.ready = "yes";
} catch (error) {
  toast(error.message);
}
