// Step 3: new pictures, and what it takes them for.

import { $, attempt, dropzone, each, h } from "./dom.js";
import { Pad } from "./pad.js";
import { server } from "./server.js";

const SHOWN = 5;
const KEPT = 30;

function surety(p) {
  if (p >= 0.9) return "very sure";
  if (p >= 0.7) return "fairly sure";
  if (p >= 0.5) return "not so sure";
  return "guessing";
}

export class Trying {
  constructor(classes) {
    this.classes = classes;
    this.open = false;
    this.tried = [];
    this.drawing = 0;
    this.pad = new Pad($("try-pad"), () => this.live());
    $("try-undo").onclick = () => this.pad.undo();
    $("try-clear").onclick = () => this.pad.clear();
    $("try-files").onchange = (event) => {
      this.predict([...event.target.files]);
      event.target.value = "";
    };
    dropzone($("try-drop"), (files) => this.predict(files));
    for (const name of ["images", "draw"]) $(`tab-${name}`).onclick = () => this.tab(name);
  }

  tab(chosen) {
    for (const name of ["images", "draw"]) {
      $(`tab-${name}`).setAttribute("aria-selected", String(name === chosen));
      $(`try-${name}`).hidden = name !== chosen;
    }
    $("answers").hidden = chosen !== "images";
    $("live").hidden = chosen !== "draw";
  }

  /** Pictures that come with an example, to be tried with a click. */
  offer(tries) {
    $("tries").replaceChildren(h("span", {}, "or try one of these"), ...tries.map((source) => h("button", {
      type: "button", "aria-label": "Try this picture",
      onclick: async (event) => {
        event.currentTarget.classList.add("used");
        this.predict([toBlob(source)]);
      },
    }, h("img", { src: source, alt: "" }))));
    $("tries").hidden = tries.length === 0;
  }

  /** Nothing has been learned, or it was something else. */
  reset() {
    this.tried = [];
    $("answers").replaceChildren();
    this.pad.clear();
  }

  enable(open) {
    this.open = open;
    $("try").hidden = !open;
    $("try-hint").hidden = open;
  }

  /** A new model answers anew for everything that was tried before. */
  async again() {
    await each([...this.tried].reverse(), (entry) => this.answer(entry), 1);
    await this.live();
  }

  async predict(files) {
    await each(files.slice(0, KEPT), async (file) => {
      const entry = { blob: file, name: file.name ?? "", element: h("div", { class: "answer busy" }, h("p", { class: "hint" }, "Looking…")) };
      this.tried.unshift(entry);
      $("answers").prepend(entry.element);
      await this.answer(entry);
    }, 2);
    for (const old of this.tried.splice(KEPT)) old.element.remove();
  }

  async answer(entry) {
    try {
      const answer = await server.predict(entry.blob);
      const element = h("div", { class: "answer" }, h("img", { src: answer.thumbnail, alt: entry.name || "The picture" }), this.bars(answer.answers));
      entry.element.replaceWith(element);
      entry.element = element;
    } catch (error) {
      const element = h("div", { class: "answer refused" }, h("p", {}, entry.name ? `${entry.name}: ${error.message}` : error.message));
      entry.element.replaceWith(element);
      entry.element = element;
      this.tried = this.tried.filter((each) => each !== entry);
    }
  }

  /** Answers follow the pen; only the newest drawing counts. */
  async live() {
    const turn = ++this.drawing;
    if (this.pad.blank || !this.open) {
      $("live").replaceChildren(h("p", { class: "hint" }, "Draw something: the answer follows your pen."));
      return;
    }
    const blob = await this.pad.blob();
    const answer = await attempt(() => server.predict(blob));
    if (answer && turn === this.drawing) $("live").replaceChildren(h("div", { class: "answer" }, this.bars(answer.answers)));
  }

  bars(answers) {
    const best = answers[0];
    const list = h("div", { class: "bars" }, h("p", { class: "best" }, h("b", {}, best.name), h("span", {}, surety(best.probability))));
    for (const one of answers.slice(0, SHOWN)) {
      const known = this.classes.list.some((each) => each.id === one.id);
      const fill = h("i");
      fill.style.width = `${100 * one.probability}%`;
      list.append(h("div", { class: `bar-row colour-${known ? this.classes.colour(one.id) : "none"}` },
        h("span", { class: "label" }, one.name), h("span", { class: "track" }, fill),
        h("span", { class: "value" }, `${Math.round(100 * one.probability)} %`)));
    }
    if (answers.length > SHOWN) list.append(h("p", { class: "hint" }, `and ${answers.length - SHOWN} more classes`));
    return list;
  }
}

function toBlob(source) {
  const [head, data] = source.split(",");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}
