// Step 2: adapting, and what came of it.

import { $, attempt, h, plural, toast } from "./dom.js";
import { plot } from "./plot.js";
import { server } from "./server.js";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const percent = (value) => `${Math.round(100 * value)} %`;

export class Learning {
  /** `learned(adapted)` is called when an adaptation ends well. */
  constructor(classes, learned) {
    this.classes = classes;
    this.learned = learned;
    this.adapted = null;
    this.busy = false;
    $("adapt").onclick = () => this.adapt();
  }

  show(state) {
    this.adapted = state.adapted;
    this.render();
    if (state.job && ["waiting", "running"].includes(state.job.state)) this.follow(state.job);
  }

  /** The classes are no longer those that were learned. */
  outdate() {
    if (this.adapted) this.adapted.stale = true;
    this.render();
  }

  /** What still has to be done before adapting, in words; empty when nothing has. */
  missing() {
    const { list } = this.classes;
    const filled = list.filter((one) => one.images.length > 0);
    const empty = list.filter((one) => one.images.length === 0);
    if (list.length < 2) return "Make at least two classes to tell apart.";
    if (filled.length === 0) return "Add a few pictures to each class first.";
    if (empty.length > 0) return `Add a picture to “${empty[0].name}”, or remove that class.`;
    return "";
  }

  render() {
    const missing = this.missing();
    const { list } = this.classes;
    const images = list.reduce((sum, one) => sum + one.images.length, 0);
    const stale = this.adapted?.stale;
    $("ready").textContent = missing || (this.adapted && !stale
      ? "Change anything in step 1 and adapt again: it takes seconds."
      : stale ? "You changed something since. Adapt again to have it learn that too."
        : `Ready to learn ${plural(list.length, "class", "classes")} from ${plural(images, "picture")}.`);
    $("adapt").disabled = Boolean(missing) || this.busy;
    $("adapt").textContent = this.adapted ? "Adapt again" : "Adapt";
    $("adapt").classList.toggle("calm", Boolean(this.adapted) && !stale);
    $("working").hidden = !this.busy;
    $("learned").hidden = !this.adapted;
    $("learned").classList.toggle("stale", Boolean(stale));
    $("learned").replaceChildren(...(this.adapted ? this.result(this.adapted) : []));
    this.classes.mark(this.adapted ? this.doubts(this.adapted) : []);
  }

  result(adapted) {
    const parts = [];
    const { estimate } = adapted;
    parts.push(estimate
      ? h("p", { class: "score" }, h("b", {}, percent(estimate.right / estimate.of)),
        h("span", {}, `Each picture was left out once and guessed from the others: ${estimate.right} of ${estimate.of} right.`))
      : h("p", { class: "score" }, h("b", {}, "Done"),
        h("span", {}, "With one picture a class there is none left over to check it with. Add a few more to see how good it is.")));
    if (adapted.trace.length > 1) {
      parts.push(h("figure", {}, h("figcaption", {}, "Right on pictures left out, step by step"), plot(adapted.trace)));
    }
    const doubts = this.doubts(adapted);
    const pair = this.confused(adapted);
    if (pair) {
      parts.push(h("div", { class: "doubts" }, h("p", {}, h("span", {}, "It often mixes up ", h("b", {}, pair[0]), " and ", h("b", {}, pair[1]),
        $("kinds").hidden ? ". More pictures of both would help." : ". More pictures of both would help, or the other kind of pictures in step 1."))));
    } else if (doubts.length) {
      parts.push(h("div", { class: "doubts" }, h("h3", {}, "Worth a second look"),
        ...doubts.slice(0, 4).map((doubt) => h("p", {}, h("img", { src: doubt.found.image.thumbnail, alt: "" }),
          h("span", {}, "Filed under ", h("b", {}, doubt.found.one.name), ", looks more like ", h("b", {}, doubt.looks_like), "."))),
        doubts.length > 4 ? h("p", { class: "hint" }, `and ${doubts.length - 4} more, marked in step 1`) : null));
    }
    const use = `from genmeta.estimators import FewShotClassifier\nmodel = FewShotClassifier.load("model.safetensors")\nmodel.predict(["photo.jpg"])`;
    parts.push(h("div", { class: "take" },
      h("button", { type: "button", class: "button", id: "download", onclick: () => this.download() }, "Download the model"),
      h("span", { class: "hint" }, `Learned in ${adapted.seconds < 10 ? adapted.seconds.toFixed(1) : Math.round(adapted.seconds)} s. Your pictures are not in the file.`)));
    parts.push(h("details", { class: "use" }, h("summary", {}, "How to use it"), h("pre", {}, use)));
    return parts;
  }

  /** Pictures that look misfiled: few of them are; where many are guessed wrong, it is the guesses that are bad. */
  doubts(adapted) {
    const { estimate, doubts, stale } = adapted;
    if (stale || !estimate || doubts.length > Math.max(2, estimate.of / 4)) return [];
    return doubts.map((doubt) => ({ ...doubt, found: this.classes.find(doubt.image) })).filter((doubt) => doubt.found);
  }

  /** The two classes most often taken for each other, where many guesses are wrong. */
  confused(adapted) {
    if (adapted.stale || adapted.doubts.length === 0 || this.doubts(adapted).length) return null;
    const counts = new Map();
    for (const doubt of adapted.doubts) {
      const found = this.classes.find(doubt.image);
      if (!found) continue;
      const pair = JSON.stringify([found.one.name, doubt.looks_like].sort());
      counts.set(pair, (counts.get(pair) ?? 0) + 1);
    }
    const most = [...counts].sort((a, b) => b[1] - a[1])[0];
    return most ? JSON.parse(most[0]) : null;
  }

  async adapt() {
    if (this.busy) return;
    this.busy = true;
    $("working-text").textContent = this.classes.pending.size ? "Waiting for the pictures to arrive…" : "Starting…";
    this.render();
    await this.classes.settled();
    const answer = await attempt(() => server.adapt($("quick").checked));
    this.busy = false;
    if (answer) await this.follow(answer.job);
    else this.render();
  }

  async follow(job) {
    this.busy = true;
    this.render();
    let failures = 0;
    for (;;) {
      $("working-text").textContent = job.state === "waiting"
        ? `Waiting for your turn: ${plural(job.ahead, "adaptation")} before yours.`
        : `Learning… ${Math.round(job.seconds)} s`;
      await pause(350);
      try {
        const answer = await server.progress();
        failures = 0;
        job = answer.job;
        if (job.state === "failed") toast(job.error);
        if (job.state === "done") this.adapted = answer.adapted;
        if (job.state === "failed" || job.state === "done") break;
      } catch (error) {
        failures += 1;
        if (error.status === 410 || failures > 5) {
          if (error.status !== 410) toast(error.message);
          break;
        }
      }
    }
    this.busy = false;
    this.render();
    if (job.state === "done") this.learned(this.adapted);
  }

  async download() {
    const blob = await attempt(() => server.model());
    if (!blob) return;
    const link = h("a", { href: URL.createObjectURL(blob), download: "model.safetensors" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
}
