// Accuracy against adaptation steps, as SVG.

const NS = "http://www.w3.org/2000/svg";

function s(tag, attributes, text) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** `trace`: list of { step, accuracy in [0, 1] }, steps rising. */
export function plot(trace) {
  const [width, height, left, right, top, bottom] = [360, 156, 42, 14, 12, 36];
  const last = Math.max(trace.at(-1).step, 1);
  const low = Math.min(...trace.map((each) => each.accuracy));
  const floor = low >= 0.8 ? 0.6 : low >= 0.5 ? 0.4 : 0;
  const x = (step) => left + ((width - left - right) * step) / last;
  const y = (value) => height - bottom - ((height - top - bottom) * (value - floor)) / (1 - floor);
  const said = trace.map((each) => `${Math.round(100 * each.accuracy)} % after ${each.step}`).join(", ");
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img" });
  svg.append(s("title", {}, `Accuracy against adaptation steps: ${said}`));
  for (let i = 0; i <= 2; i++) {
    const value = floor + ((1 - floor) * i) / 2;
    svg.append(s("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "grid" }));
    svg.append(s("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, `${Math.round(100 * value)} %`));
  }
  const stride = Math.ceil(last / 6);
  for (let step = 0; step <= last; step += stride) {
    svg.append(s("text", { x: x(step), y: height - bottom + 16, "text-anchor": "middle" }, step));
  }
  svg.append(s("text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, "steps"));
  const points = trace.map((each) => `${x(each.step)},${y(each.accuracy)}`);
  const base = y(floor);
  svg.append(s("polygon", { points: `${x(trace[0].step)},${base} ${points.join(" ")} ${x(last)},${base}`, class: "area" }));
  svg.append(s("polyline", { points: points.join(" "), class: "line" }));
  for (const each of trace) {
    const dot = s("circle", { cx: x(each.step), cy: y(each.accuracy), r: 4, class: "dot" });
    dot.append(s("title", {}, `${Math.round(100 * each.accuracy)} % after ${each.step} steps`));
    svg.append(dot);
  }
  return svg;
}
