// Builds elements. Text reaches the page only as text nodes, so that no file name is ever read as HTML.

const PROPERTIES = new Set(["checked", "disabled", "hidden", "value", "indeterminate", "multiple", "webkitdirectory"]);
const SVG = "http://www.w3.org/2000/svg";

/** An element. Attributes that are null, undefined or false are left out; `on...` are listeners; `style` is an object. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) set(element, key, value);
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Make these the element's children. Those that it has already are not touched: they keep the focus, and a press that has begun. */
export function fill(element, children) {
  for (const child of [...element.children]) if (!children.includes(child)) child.remove();
  children.forEach((child, i) => element.children[i] === child || element.insertBefore(child, element.children[i] ?? null));
}

function set(element, key, value) {
  if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (key === "style") for (const [name, text] of Object.entries(value)) element.style.setProperty(name, text);
  else if (PROPERTIES.has(key)) element[key] = value;
  else if (value === true) element.setAttribute(key, "");
  else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
}

const ICONS = {
  accept: "M5 12.5l4.5 4.5L19 7.5",
  arrow: "M5 12h14M13 6l6 6-6 6",
  back: "M19 12H5M11 6l-6 6 6 6",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  drop: "M12 3c4 4.3 6.5 7.6 6.5 11a6.5 6.5 0 0 1-13 0C5.5 10.6 8 7.3 12 3z",
  folder: "M3 7.5V19h18V8.5h-9L10 6H3z",
  keys: "M3 7h18v10H3zM7 10.5h.01M12 10.5h.01M17 10.5h.01M8 14h8",
  live: "M3 12h4l3-7 4 14 3-7h4",
  moon: "M20 14.5A8 8 0 0 1 9.5 4a8 8 0 1 0 10.5 10.5z",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9h.01",
  redo: "M4 12a8 8 0 1 0 2.5-5.8M4 4v4.5h4.5",
  review: "M4 6h10M4 12h7M4 18h5M14 16l3 3 5-6",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5",
  upload: "M12 20V8M7 12l5-5 5 5M5 4h14",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
};

/** A line drawing that assistive technology ignores: the text beside it, or the button's label, says the same. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A line through values from 0 to the largest of them, in a box of 100 by 30. */
export function sparkline(values) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("class", "sparkline");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(...values, 0.001);
  const points = values.map((value, i) => `${(100 * i) / Math.max(1, values.length - 1)},${29 - (27 * value) / most}`);
  for (const [kind, more] of [["polygon", ["100,30", "0,30"]], ["polyline", []]]) {
    const shape = document.createElementNS(SVG, kind);
    shape.setAttribute("points", [...points, ...more].join(" "));
    svg.append(shape);
  }
  return svg;
}

/** A bar of a share, 0 to 1, in words for those who do not see it; `kind` is fair or poor. */
export function gauge(share, { label, text, kind = "" }) {
  return h("div", { class: `gauge ${kind}`, role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": share, "aria-valuetext": text },
    h("i", { style: { width: `${100 * share}%` } }));
}

/** A name of somebody's file: its own writing direction does not turn the text around it. */
export const bdi = (text) => h("bdi", {}, text);

/** A button with an icon, a text, or both; `label` names one without a text. */
export function button({ text, icon: name, label, key, kind = "", ...attributes }) {
  return h("button", { type: "button", class: `button ${kind}`, "aria-label": text ? null : label, title: label, ...attributes },
    name && icon(name), text && h("span", {}, text), key && h("kbd", { "aria-hidden": "true" }, key));
}
