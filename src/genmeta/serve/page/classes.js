// Step 1: classes and their pictures.

import { $, attempt, dropzone, each, h, plural, toast } from "./dom.js";
import { Pad } from "./pad.js";
import { server } from "./server.js";

const COLOURS = 7;

export class Classes {
  /** `changed` is called after every change that matters for learning. */
  constructor(changed) {
    this.changed = changed;
    this.list = [];
    this.doubts = new Map();
    this.pending = new Set();
    this.limits = {};
    this.into = null;
    this.drawn = 0;
    this.pad = new Pad($("draw-pad"), () => ($("draw-add").disabled = this.pad.blank));
    $("draw-undo").onclick = () => this.pad.undo();
    $("draw-clear").onclick = () => this.pad.clear();
    $("draw-close").onclick = () => $("draw").close();
    $("draw-add").onclick = () => this.track(this.addDrawing());
  }

  show(classes, limits) {
    this.list = classes;
    this.limits = limits;
    this.doubts = new Map();
    this.render();
  }

  /** Marks pictures that look as if they were in the wrong class. */
  mark(doubts) {
    this.doubts = new Map(doubts.map((doubt) => [doubt.image, doubt]));
    this.render();
  }

  colour(id) {
    return this.list.findIndex((one) => one.id === id) % COLOURS;
  }

  find(imageId) {
    for (const one of this.list) {
      const image = one.images.find((each) => each.id === imageId);
      if (image) return { one, image };
    }
    return null;
  }

  /** Draws all classes anew; a name that is being typed stays as it is. */
  render() {
    const typed = document.activeElement?.closest?.(".class .name");
    const kept = typed && { id: typed.closest(".class").dataset.class, value: typed.value, at: [typed.selectionStart, typed.selectionEnd] };
    const more = h("button", { type: "button", class: "add-class", onclick: () => this.add() }, "+ Add a class");
    $("classes").replaceChildren(...this.list.map((one, at) => this.card(one, at)), more);
    const again = kept && $("classes").querySelector(`[data-class="${kept.id}"] .name`);
    if (again) {
      again.value = kept.value;
      again.focus({ preventScroll: true });
      again.setSelectionRange(...kept.at);
    }
  }

  /** Waits until everything that was begun has reached the server. */
  async settled() {
    while (this.pending.size) await Promise.all(this.pending);
  }

  /** Notes work that is under way. */
  track(work) {
    this.pending.add(work);
    return work.finally(() => this.pending.delete(work));
  }

  card(one, at) {
    const name = h("input", {
      class: "name", value: one.name, maxlength: 60, "aria-label": `Name of class ${at + 1}`, spellcheck: "false",
      onclick: (event) => event.target.selectionStart === event.target.selectionEnd && /^Class \d+$/.test(one.name) && event.target.select(),
      onkeydown: (event) => event.key === "Enter" && event.target.blur(),
      onchange: (event) => this.track(this.rename(one, event.target)),
    });
    const files = h("input", {
      type: "file", accept: "image/*", multiple: true, "aria-label": `Pictures for ${one.name}`,
      onchange: (event) => {
        this.track(this.upload(one, [...event.target.files]));
        event.target.value = "";
      },
    });
    const card = h(
      "div", { class: `class colour-${at % COLOURS}`, "data-class": one.id },
      h("div", { class: "class-head" },
        h("i", { class: "swatch" }), name,
        h("button", { type: "button", class: "remove", title: "Remove this class", "aria-label": `Remove ${one.name}`, onclick: () => this.remove(one) }, "×")),
      h("div", { class: "thumbs" },
        ...one.images.map((image) => this.thumb(one, image)),
        one.images.length ? null : h("p", { class: "empty" }, "Drop pictures here")),
      h("div", { class: "class-foot" },
        h("label", { class: "button" }, files, "Add pictures"),
        h("button", { type: "button", class: "button", onclick: () => this.openPad(one) }, "Draw"),
        h("span", { class: "count" }, one.images.length ? plural(one.images.length, "picture") : "")),
    );
    dropzone(card, (dropped) => this.track(this.upload(one, dropped)));
    return card;
  }

  thumb(one, image) {
    const doubt = this.doubts.get(image.id);
    const title = doubt ? `Looks more like “${doubt.looks_like}”. Is it in the right class?` : null;
    return h("div", { class: doubt ? "thumb doubt" : "thumb", title },
      h("img", { src: image.thumbnail, alt: title ?? `Picture of ${one.name}` }),
      h("button", { type: "button", class: "remove", "aria-label": `Remove this picture of ${one.name}`, onclick: () => this.removeImage(one, image) }, "×"));
  }

  async add() {
    const added = await attempt(() => server.addClass(""));
    if (!added) return;
    this.list.push({ ...added, images: [] });
    this.render();
    this.changed();
    $("classes").querySelector(`[data-class="${added.id}"] .name`).focus();
  }

  async rename(one, input) {
    const answer = await attempt(() => server.rename(one.id, input.value));
    if (answer) one.name = answer.name;
    input.value = one.name;
    if (answer) this.changed();
  }

  async remove(one) {
    if (await attempt(() => server.removeClass(one.id))) {
      this.list = this.list.filter((each) => each !== one);
      this.render();
      this.changed();
    }
  }

  async removeImage(one, image) {
    if (await attempt(() => server.removeImage(image.id))) {
      one.images = one.images.filter((each) => each !== image);
      this.render();
      this.changed();
    }
  }

  async upload(one, files) {
    const good = files.filter((file) => {
      if (file.size <= this.limits.upload_mb * 1e6) return true;
      toast(`“${file.name}” is larger than the ${this.limits.upload_mb} MB that are allowed.`);
      return false;
    });
    if (files.length === 0) return;
    const card = $("classes").querySelector(`[data-class="${one.id}"]`);
    card?.classList.add("busy");
    await each(good, async (file) => {
      try {
        one.images.push(await server.addImage(one.id, file));
      } catch (error) {
        if (error.status !== 410) toast(file.name ? `${file.name}: ${error.message}` : error.message);
      }
    });
    this.render();
    this.changed();
  }

  openPad(one) {
    this.into = one;
    this.drawn = 0;
    $("draw-title").textContent = `Draw “${one.name}”`;
    $("draw-count").textContent = "Draw it a few times, each a little differently.";
    this.pad.clear();
    $("draw").showModal();
  }

  async addDrawing() {
    const one = this.into;
    const blob = await this.pad.blob();
    this.pad.clear(); // at once: the next drawing may begin before this one has arrived
    const image = await attempt(() => server.addImage(one.id, blob));
    if (!image) return;
    one.images.push(image);
    this.drawn += 1;
    $("draw-count").textContent = `${plural(this.drawn, "drawing")} added. ${this.drawn < 3 ? "One more?" : "That is enough, more is fine."}`;
    this.render();
    this.changed();
  }
}
