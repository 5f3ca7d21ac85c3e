// Buttons for the enlargement of a comparison.

import { button, h } from "./dom.js";
import { number, t } from "./i18n.js";

const STEPS = [1, 2, 4];

/** Buttons for `compare`, and the keys that do the same. */
export function zoomBar(compare) {
  const fit = button({ text: t("zoom.fit"), kind: "segment", onclick: () => compare.zoom("fit") });
  const steps = STEPS.map((scale) => button({ text: `${100 * scale} %`, kind: "segment", onclick: () => compare.zoom(scale) }));
  const now = h("span", { class: "zoom-now muted", "aria-live": "off" });
  compare.addEventListener("zoom", () => {
    fit.setAttribute("aria-pressed", String(compare.fitted));
    steps.forEach((step, i) => step.setAttribute("aria-pressed", String(!compare.fitted && Math.abs(compare.scale - STEPS[i]) < 0.005)));
    now.textContent = `${number(100 * compare.scale)} %`;
  });
  return h("div", { class: "segments", role: "group", "aria-label": t("zoom.label") }, fit, steps, now);
}

/** The keys for the enlargement; true if the key was one. */
export function zoomKey(compare, key) {
  const actions = {
    "+": () => compare.zoomBy(1.5), "=": () => compare.zoomBy(1.5), "-": () => compare.zoomBy(1 / 1.5), 0: () => compare.zoom("fit"),
    1: () => compare.zoom(1), 2: () => compare.zoom(2), 4: () => compare.zoom(4), "[": () => compare.slideBy(-0.05), "]": () => compare.slideBy(0.05),
  };
  if (!(key in actions)) return false;
  actions[key]();
  return true;
}
