// Several pictures at once: which are chosen, and what can be done with them.

import * as actions from "./actions.js";
import { withQuery } from "./api.js";
import { button, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { askRedo } from "./redo-dialog.js";

/** Ids in one URL: a request line of 64 kB is the most that the daemon reads. */
const MOST_IN_ARCHIVE = 1000;

/** The chosen items, by id. */
export class Selection {
  items = new Map();
  #last = null;

  constructor(onChange) {
    this.onChange = onChange;
  }

  has = (item) => this.items.has(item.id);

  /** Choose an item or let it go; with Shift, all from the last one to this. */
  toggle(item, event, all) {
    const on = !this.has(item);
    const ids = all.map(({ id }) => id);
    const [a, b] = [ids.indexOf(this.#last), ids.indexOf(item.id)].sort((x, y) => x - y);
    const range = event.shiftKey && a >= 0 ? all.slice(a, b + 1) : [item];
    for (const one of range) this.#set(one, on);
    this.#last = item.id;
    this.onChange();
  }

  #set(item, on) {
    if (on) this.items.set(item.id, item);
    else this.items.delete(item.id);
  }

  clear() {
    this.items.clear();
    this.onChange();
  }

  /** Take over what has become of the chosen items. */
  update(collection) {
    for (const id of this.items.keys()) {
      const item = collection.find(id);
      if (item) this.items.set(id, item);
    }
  }
}

/** A bar that is there while something is chosen. */
export function selectionBar(selection) {
  const element = h("div", { class: "selection-bar", role: "toolbar", "aria-label": t("selection.label"), hidden: true });
  const draw = () => {
    const chosen = [...selection.items.values()];
    const done = chosen.filter(({ status }) => status === "done");
    const rejected = chosen.filter(({ status }) => status === "rejected");
    element.hidden = chosen.length === 0;
    element.replaceChildren(...[
      h("strong", {}, t("selection.count", { n: chosen.length })),
      done.length > 0 && zipLink(done),
      done.length > 0 && button({ text: t("redo"), icon: "redo", onclick: () => askRedo(done) }),
      rejected.length > 0 && button({ text: t("retry"), icon: "redo", onclick: () => actions.forAll(rejected, actions.retry) }),
      done.length > 0 && button({ text: t("accept"), icon: "accept", onclick: () => actions.forAll(done, actions.accept) }),
      done.length > 0 && button({ text: t("reject"), icon: "close", onclick: () => actions.forAll(done, actions.reject) }),
      button({ text: t("selection.clear"), kind: "plain", onclick: () => selection.clear() }),
    ].filter(Boolean));
  };
  return { element, draw };
}

function zipLink(done) {
  const ids = done.slice(0, MOST_IN_ARCHIVE).map(({ id }) => id).join(",");
  return h("a", { class: "button primary", download: true, href: withQuery("/v1/archive", { ids }) }, icon("download"), h("span", {}, t("zip.chosen", { n: Math.min(done.length, MOST_IN_ARCHIVE) })));
}
