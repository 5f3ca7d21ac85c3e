// What a cut-out is shown on: a choice that the browser remembers.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { recall, remember } from "./remember.js";

const KINDS = ["checker", "white", "black"];
const COLOUR = "#d9e4dd";

let ground = recall("ground") ?? "checker";

export const currentGround = () => ground;

/** A group of buttons that calls `onChange(ground)`. */
export function groundPicker(onChange) {
  const choose = (value) => {
    ground = value;
    remember("ground", value);
    onChange(value);
    mark();
  };
  const swatches = KINDS.map((kind) => h("button", { type: "button", class: `swatch ${kind}`, "aria-label": t(`ground.${kind}`), title: t(`ground.${kind}`),
    onclick: () => choose(kind) }));
  const colour = h("input", { type: "color", value: ground.startsWith("#") ? ground : COLOUR, "aria-label": t("ground.colour"), title: t("ground.colour"),
    oninput: (event) => choose(event.target.value), onclick: (event) => choose(event.target.value) });
  const mark = () => {
    swatches.forEach((swatch, i) => swatch.setAttribute("aria-pressed", String(KINDS[i] === ground)));
    colour.classList.toggle("chosen", ground.startsWith("#"));
  };
  mark();
  const next = () => choose(KINDS[(KINDS.indexOf(ground) + 1) % KINDS.length]);
  return { element: h("div", { class: "swatches", role: "group", "aria-label": t("ground.label") }, swatches, colour), next };
}
