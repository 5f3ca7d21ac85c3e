// One picture in full: before and after, what is known of it, and what can be done with it.

import * as actions from "./actions.js";
import { Compare } from "./compare.js";
import { bdi, button, h } from "./dom.js";
import { doubtsOf, factsOf, rejectionOf } from "./facts.js";
import { currentGround, groundPicker } from "./grounds.js";
import { t } from "./i18n.js";
import { askRedo } from "./redo-dialog.js";
import { stream } from "./stream.js";
import { zoomBar, zoomKey } from "./zoom-bar.js";

/** Shows an item in a dialog until it is closed. `neighbour(item, step)` finds the one before or after it. */
export class Viewer {
  #output = 0;

  constructor(item, { neighbour, onClose }) {
    this.item = item;
    this.neighbour = neighbour;
    this.compare = new Compare();
    this.compare.setGround(currentGround());
    this.ground = groundPicker((value) => this.compare.setGround(value));
    this.title = h("h2", { id: "viewer-title", tabindex: "-1", autofocus: true }) // or the dialog would begin with its close button;
    this.side = h("aside", { class: "viewer-side" });
    this.onItems = (event) => this.#refresh(event.detail);
    this.dialog = h("dialog", { class: "viewer", "aria-labelledby": "viewer-title", onkeydown: (event) => this.#key(event),
      onclose: () => this.#closed(onClose) }, this.#head(), this.compare.element, this.side, this.#foot());
  }

  open() {
    stream.addEventListener("items", this.onItems);
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.#show(this.item);
  }

  close() {
    this.dialog.close();
  }

  #closed(onClose) {
    stream.removeEventListener("items", this.onItems);
    this.compare.observer.disconnect();
    this.dialog.remove();
    onClose(this.item);
  }

  #head() {
    return h("header", { class: "viewer-head" },
      button({ icon: "close", label: t("close"), kind: "plain round", onclick: () => this.close() }), this.title,
      h("div", { class: "viewer-steps" },
        button({ icon: "back", label: t("viewer.previous"), kind: "plain round", onclick: () => this.#step(-1) }),
        button({ icon: "arrow", label: t("viewer.next"), kind: "plain round", onclick: () => this.#step(1) })));
  }

  #foot() {
    return h("footer", { class: "viewer-foot" }, zoomBar(this.compare), this.ground.element);
  }

  #refresh(changed) {
    const item = changed.find(({ id }) => id === this.item.id);
    if (item) this.#show(item);
  }

  #show(item) {
    this.item = item;
    this.#output = Math.min(this.#output, Math.max(0, item.outputs.length - 1));
    this.title.replaceChildren(bdi(item.name));
    this.compare.show(item, this.output);
    this.#drawSide();
  }

  /** The button that has the focus keeps it: without a focus in the dialog, its keys would do nothing. */
  #drawSide() {
    const pressed = this.side.contains(document.activeElement) ? document.activeElement.textContent : null;
    this.side.replaceChildren(...[rejectionOf(this.item), this.#outputs(), this.#actions(), doubtsOf(this.item), factsOf(this.item, this.output)].filter(Boolean));
    if (pressed === null) return;
    const again = [...this.side.querySelectorAll("button")].find((one) => one.textContent === pressed);
    (again ?? this.title).focus();
  }

  get output() {
    return this.item.status === "rejected" ? undefined : this.item.outputs[this.#output];
  }

  #outputs() {
    const { outputs } = this.item;
    if (outputs.length < 2) return null;
    return h("div", { class: "segments wrap", role: "group", "aria-label": t("viewer.outputs") }, outputs.map((output, i) =>
      button({ text: output.name, kind: "segment", "aria-pressed": String(i === this.#output), onclick: () => this.#choose(i) })));
  }

  #choose(index) {
    this.#output = index;
    this.#show(this.item);
  }

  #actions() {
    const { item, output } = this;
    return h("div", { class: "viewer-actions" },
      output && button({ text: t("download"), icon: "download", key: "D", kind: "primary", onclick: () => actions.download(output) }),
      output && button({ text: t("copy"), icon: "copy", key: "C", disabled: !actions.canCopy(), onclick: () => actions.copy(output),
        title: actions.canCopy() ? null : t("copy.insecure") }),
      item.status === "done" && button({ text: t("redo"), icon: "redo", key: "R", onclick: () => askRedo([item]) }),
      item.status === "rejected" && button({ text: t("retry"), icon: "redo", key: "R", kind: "primary", onclick: () => actions.retry(item) }),
      item.status === "done" && this.#decide("accept"), item.status === "done" && this.#decide("reject"));
  }

  #decide(verb) {
    const pressed = this.item.decision === `${verb}ed`;
    return button({ text: t(verb), icon: verb === "accept" ? "accept" : "close", key: verb === "accept" ? "A" : "X", kind: pressed ? `chosen ${verb}` : "",
      "aria-pressed": String(pressed), onclick: () => actions[verb](this.item) });
  }

  #step(by) {
    const next = this.neighbour(this.item, by);
    if (next) this.#show(next);
  }

  #key(event) {
    if (event.target !== event.currentTarget && event.target.matches("input, select")) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { item, output } = this;
    const keys = {
      ArrowLeft: () => this.#step(-1), ArrowRight: () => this.#step(1), g: () => this.ground.next(),
      d: () => output && actions.download(output), c: () => output && actions.canCopy() && actions.copy(output),
      r: () => (item.status === "rejected" ? actions.retry(item) : item.status === "done" && askRedo([item])),
      a: () => item.status === "done" && actions.accept(item), x: () => item.status === "done" && actions.reject(item),
    };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (zoomKey(this.compare, key) || keys[key]) event.preventDefault();
    keys[key]?.();
  }
}
