// A picture in the grid: thumbnail, name, and what has become of it.

import { bdi, h, icon } from "./dom.js";
import { percent, word } from "./format.js";
import { t } from "./i18n.js";

/** What has become of an item, in the reader's words. */
export function statusText(item) {
  if (item.status === "rejected") return word("reason", item.reason ?? "other");
  if (item.decision) return t(`decision.${item.decision}`);
  return t(`status.${item.status}`);
}

/** Where the thumbnail of an item is: of its output if there is one. */
export function thumbnail(item, of = item.status === "done" ? "output" : "original") {
  const url = new URL(item.thumbnail, location.href);
  url.searchParams.set("of", of);
  return url.href;
}

/** A cell of the grid. */
export function card(item, { selected, open, select }) {
  return h("article", { class: `card ${item.status} ${selected ? "selected" : ""}` },
    h("button", { type: "button", class: "card-open", "data-open": item.id, "aria-label": `${item.name}, ${statusText(item)}`,
      onclick: () => open(item) }, picture(item)),
    h("label", { class: "card-select" }, h("input", { type: "checkbox", checked: selected, "aria-label": t("card.select", { name: item.name }),
      onclick: (event) => select(item, event) })),
    h("div", { class: "card-caption" },
      h("span", { class: "card-name", title: item.key }, bdi(item.name)),
      h("span", { class: `card-status ${item.decision ?? item.status}` }, mark(item), h("span", { class: "cut" }, statusText(item)),
        item.status === "done" && known(item.score) && h("span", { class: `card-score ${item.score < 0.5 ? "bad" : ""}`, title: t("score.long") }, percent(item.score)))));
}

const known = (value) => value !== null && value !== undefined;

function picture(item) {
  const image = h("img", { src: thumbnail(item), alt: "", decoding: "async", draggable: "false",
    onload: () => image.classList.add("here"), onerror: () => image.replaceWith(h("span", { class: "no-picture" }, icon("picture"))) });
  return h("span", { class: "frame checker" }, image);
}

function mark(item) {
  if (item.status === "rejected") return icon("warning");
  if (item.decision === "accepted") return icon("accept");
  if (item.decision === "rejected") return icon("close");
  return h("i", { class: "dot", "aria-hidden": "true" });
}
