// The review lane: the cut-outs that nobody has decided about, worst first, with one key for each decision.

import * as actions from "./actions.js";
import { thumbnail } from "./card.js";
import { Compare } from "./compare.js";
import { bdi, button, h, icon } from "./dom.js";
import { BRIEF, doubtsOf, factsOf } from "./facts.js";
import { currentGround, groundPicker } from "./grounds.js";
import { percent } from "./format.js";
import { t } from "./i18n.js";
import { Collection } from "./items.js";
import { askRedo } from "./redo-dialog.js";
import { zoomBar, zoomKey } from "./zoom-bar.js";

const AHEAD = 12;
const FEW = 20;

export class ReviewView {
  #current = null;
  #skipped = new Set();
  #decided = 0;
  #busy = false;

  constructor() {
    this.collection = new Collection({ order: "worst", status: "done", decision: "none" });
    this.compare = new Compare();
    this.compare.setGround(currentGround());
    this.ground = groundPicker((value) => this.compare.setGround(value));
    this.title = h("h1", { class: "review-name" });
    this.side = h("div", { class: "review-facts", tabindex: "0", role: "group", "aria-label": t("review.facts") });
    this.lane = h("ol", { class: "lane", "aria-label": t("review.next") });
    this.progress = h("p", { class: "muted", role: "status" });
    this.desk = h("div", { class: "review-desk" }, this.#picture(), this.#panel());
    this.empty = h("div", { class: "empty" }, h("span", { class: "empty-mark" }, icon("accept")), h("h1", {}, t("review.empty")), h("p", { class: "muted" }, t("review.empty.help")));
    this.element = h("div", { class: "view review" }, this.desk, this.lane, this.empty);
    this.onChange = () => this.#draw();
    this.onKey = (event) => this.#key(event);
    this.collection.addEventListener("change", this.onChange);
    this.desk.hidden = this.empty.hidden = true;
  }

  connect() {
    document.addEventListener("keydown", this.onKey);
    this.collection.open();
  }

  disconnect() {
    document.removeEventListener("keydown", this.onKey);
    this.compare.observer.disconnect();
    this.collection.close();
  }

  #picture() {
    return h("div", { class: "review-picture" }, this.compare.element, h("div", { class: "viewer-foot" }, zoomBar(this.compare), this.ground.element));
  }

  #panel() {
    return h("aside", { class: "review-panel" }, this.title, this.progress, this.side,
      h("div", { class: "review-actions" },
        button({ text: t("accept"), icon: "accept", key: "A", kind: "accept", onclick: () => this.#decide("accept") }),
        button({ text: t("redo"), icon: "redo", key: "R", onclick: () => this.#redo() }),
        button({ text: t("reject"), icon: "close", key: "X", kind: "reject", onclick: () => this.#decide("reject") }),
        button({ text: t("review.skip"), icon: "arrow", key: "→", kind: "plain", onclick: () => this.#skip() })),
      h("p", { class: "muted keys" }, t("review.keys")));
  }

  /** What is still to be looked at. */
  get #open() {
    return this.collection.items.filter((item) => !item.decision && item.status === "done" && !this.#skipped.has(item.id));
  }

  #draw() {
    const open = this.#open;
    if (open.length < FEW && !this.collection.complete && !this.collection.error) this.collection.more();
    const current = open.find(({ id }) => id === this.#current?.id) ?? open[0];
    const finished = this.collection.complete && !current;
    this.desk.hidden = this.lane.hidden = !current;
    this.empty.hidden = !finished;
    if (current) this.#show(current, open);
  }

  #show(item, open) {
    const same = item === this.#current;
    this.#current = item;
    this.progress.textContent = t("review.progress", { n: this.collection.complete ? open.length : this.collection.total ?? open.length, decided: this.#decided });
    this.#drawLane(open.filter((other) => other !== item).slice(0, AHEAD));
    if (same) return;
    this.title.replaceChildren(bdi(item.name));
    this.side.replaceChildren(...[doubtsOf(item), factsOf(item, item.outputs[0], BRIEF)].filter(Boolean));
    this.compare.show(item, item.outputs[0]);
  }

  #drawLane(items) {
    this.lane.replaceChildren(...items.map((item) => h("li", {}, h("button", { type: "button", class: "lane-item", "aria-label": `${item.name}, ${percent(item.score)}`, onclick: () => this.#jump(item) },
      h("span", { class: "frame checker" }, h("img", { src: thumbnail(item), alt: "", class: "here" })), h("span", { class: "lane-score" }, percent(item.score))))));
  }

  #jump(item) {
    this.#current = null;
    this.#show(item, this.#open);
  }

  async #decide(verb) {
    if (!this.#current || this.#busy) return;
    const item = this.#current;
    this.#busy = true;
    if (await actions[verb](item)) {
      this.#decided++;
      this.#leave(item);
    }
    this.#busy = false;
  }

  async #redo() {
    const item = this.#current;
    if (item && (await askRedo([item]))) this.#leave(item);
  }

  #skip() {
    if (this.#current) this.#leave(this.#current);
  }

  #leave(item) {
    this.#skipped.add(item.id);
    this.#draw();
  }

  #key(event) {
    if (event.target.closest("dialog, input:not([type=range]), select") || event.ctrlKey || event.metaKey || event.altKey || this.desk.hidden) return;
    const keys = { a: () => this.#decide("accept"), r: () => this.#redo(), x: () => this.#decide("reject"), g: () => this.ground.next(),
      ArrowRight: () => this.#skip() };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "ArrowRight" && event.target.matches("input")) return;
    if (zoomKey(this.compare, key) || keys[key]) event.preventDefault();
    keys[key]?.();
  }
}
