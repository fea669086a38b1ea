// A pad to draw on: dark ink on white paper, with a mouse, a pen or a finger.

const INK = "#14181d";
const SIDE = 224;
const MARGIN = 1.4;

export class Pad {
  /** `changed` is called whenever a stroke ends, is taken back, or the pad is cleared. */
  constructor(canvas, changed = () => {}) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.changed = changed;
    this.strokes = [];
    this.active = null;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.end(event));
    this.draw();
  }

  get blank() {
    return this.strokes.length === 0;
  }

  begin(event) {
    if (event.button !== 0 || this.active !== null) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.active = event.pointerId;
    this.strokes.push([this.point(event)]);
    this.draw();
  }

  move(event) {
    if (event.pointerId !== this.active) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.strokes.at(-1).push(this.point(each));
    this.draw();
  }

  end(event) {
    if (event.pointerId !== this.active) return;
    this.active = null;
    this.changed();
  }

  undo() {
    this.strokes.pop();
    this.active = null;
    this.draw();
    this.changed();
  }

  clear() {
    this.strokes = [];
    this.active = null;
    this.draw();
    this.changed();
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  draw() {
    const { context, canvas } = this;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.strokeStyle = context.fillStyle = INK;
    context.lineWidth = canvas.width * 0.06;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      context.beginPath();
      context.moveTo(...stroke[0]);
      // through the middles of the points, so that the line has no corners
      for (let i = 1; i < stroke.length - 1; i++) {
        const [x, y] = stroke[i];
        const [nextX, nextY] = stroke[i + 1];
        context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
      }
      context.lineTo(...stroke.at(-1));
      context.stroke();
    }
  }

  /** The drawing as a picture, cut to its ink with a margin: where on the pad it was drawn does not matter. */
  blob() {
    const reach = this.context.lineWidth / 2;
    const xs = this.strokes.flat().map(([x]) => x);
    const ys = this.strokes.flat().map(([, y]) => y);
    const range = (values) => [Math.min(...values) - reach, Math.max(...values) + reach];
    const [[left, right], [top, bottom]] = [range(xs), range(ys)];
    // a dot stays a dot
    const side = Math.max(MARGIN * Math.max(right - left, bottom - top), this.canvas.width / 3);
    const picture = document.createElement("canvas");
    picture.width = picture.height = SIDE;
    const context = picture.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, SIDE, SIDE);
    context.imageSmoothingQuality = "high";
    const scale = SIDE / side;
    context.setTransform(scale, 0, 0, scale, SIDE / 2 - ((left + right) / 2) * scale, SIDE / 2 - ((top + bottom) / 2) * scale);
    context.drawImage(this.canvas, 0, 0);
    return new Promise((resolve) => picture.toBlob(resolve, "image/png"));
  }
}
