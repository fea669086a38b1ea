// Small helpers. Text always goes in as text: nothing a visitor typed is ever read as HTML.

export const $ = (id) => document.getElementById(id);

/** Makes an element: `h("p", { class: "hint", onclick: f }, "text", child)`. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** Shows a message for a while. */
export function toast(message) {
  const shown = [...$("toasts").children];
  if (shown.some((each) => each.firstChild.textContent === message)) return;
  const element = h("div", { class: "toast" }, h("span", {}, message));
  const close = () => element.remove();
  element.append(h("button", { type: "button", "aria-label": "Dismiss", onclick: close }, "×"));
  $("toasts").append(element);
  if (shown.length > 2) shown[0].remove();
  setTimeout(close, 9000);
}

/** Runs something that may be refused, and says so in the page. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.status !== 410) toast(error.message);
    return undefined;
  }
}

/** Lets files be dropped on an element. */
export function dropzone(element, take) {
  let depth = 0;
  const over = (yes) => element.classList.toggle("over", yes);
  element.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    over(true);
  });
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) over(false);
  });
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    take([...event.dataTransfer.files]);
  });
}

/** Runs `work` on every item, a few at a time, in order of the items. */
export async function each(items, work, width = 4) {
  const queue = [...items];
  const lane = async () => {
    while (queue.length) await work(queue.shift());
  };
  await Promise.all(Array.from({ length: width }, lane));
}
