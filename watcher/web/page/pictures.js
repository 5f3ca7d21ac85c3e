// The first view: where pictures are dropped, and everything that has become of them.

import { withQuery } from "./api.js";
import { button, h, icon } from "./dom.js";
import { card } from "./card.js";
import { ACCEPT, fromInput } from "./gather.js";
import { Grid } from "./grid.js";
import { t } from "./i18n.js";
import { Collection } from "./items.js";
import { recall } from "./remember.js";
import { Selection, selectionBar } from "./selection.js";
import { uploadPanel } from "./upload-panel.js";
import { Viewer } from "./viewer.js";

const SEARCH_DELAY = 250;
/** What the buttons above the grid show, as the API's `status`. */
const FILTERS = { all: "", working: "unfinished", done: "done", rejected: "rejected" };
const remembered = { filter: "all", query: "", batch: "", scroll: 0 };

/** The view; `take(found)` accepts pictures. */
export class PicturesView {
  #timer = 0;

  constructor({ take }) {
    this.take = take;
    this.collection = new Collection({ status: FILTERS[remembered.filter], query: remembered.query, batch: remembered.batch });
    this.selection = new Selection(() => this.#selected());
    this.grid = new Grid({ label: t("grid.label"), onEnd: () => this.#more(), render: (item) => this.#card(item) });
    this.panel = uploadPanel();
    this.note = h("div", { class: "grid-note" });
    this.fresh = button({ text: "", kind: "pill", hidden: true, onclick: () => this.#toTop() });
    this.count = h("p", { class: "muted count", role: "status" });
    this.zip = h("a", { class: "button", download: true }, icon("download"), h("span", {}, t("zip")));
    this.bar = selectionBar(this.selection);
    this.element = h("div", { class: "view pictures" }, this.#dropArea(), this.panel.element, this.#toolbar(), this.grid.element, this.note, this.fresh, this.bar.element);
    this.collection.addEventListener("change", () => this.#draw());
    this.onScroll = () => this.#scrolled();
  }

  connect() {
    window.addEventListener("scroll", this.onScroll, { passive: true });
    this.grid.connect();
    this.collection.open().then(() => window.scrollTo(0, remembered.scroll));
  }

  disconnect() {
    remembered.scroll = window.scrollY;
    window.removeEventListener("scroll", this.onScroll);
    this.grid.disconnect();
    this.collection.close();
    this.panel.disconnect();
  }

  #dropArea() {
    const files = h("input", { type: "file", hidden: true, multiple: true, accept: ACCEPT, "data-input": "files", "aria-label": t("drop.files"), onchange: () => this.#chosen(files) });
    const folder = h("input", { type: "file", hidden: true, webkitdirectory: true, "data-input": "folder", "aria-label": t("drop.folder"), onchange: () => this.#chosen(folder) });
    return h("section", { class: "drop", "aria-label": t("drop.label") },
      h("span", { class: "drop-mark", "aria-hidden": "true" }, icon("drop")),
      h("div", { class: "drop-text" }, h("h1", {}, t("drop.title")), h("p", { class: "muted" }, t("drop.help"))),
      h("div", { class: "drop-buttons" },
        button({ text: t("drop.files"), icon: "picture", kind: "primary", onclick: () => files.click() }),
        button({ text: t("drop.folder"), icon: "folder", onclick: () => folder.click() })), files, folder);
  }

  #chosen(input) {
    this.take(fromInput(input));
    input.value = "";
  }

  #toolbar() {
    const search = h("input", { type: "search", value: remembered.query, placeholder: t("search.placeholder"), "aria-label": t("search.placeholder"), spellcheck: "false",
      oninput: () => this.#later(() => this.#ask({ query: search.value.trim() })) });
    this.latest = button({ text: t("batch.latest"), icon: "upload", kind: "toggle", onclick: () => this.#toggleLatest() });
    this.filters = Object.keys(FILTERS).map((name) => button({ text: t(`filter.${name}`), kind: "segment", onclick: () => this.#filter(name) }));
    this.drawLatest();
    this.#mark();
    return h("div", { class: "toolbar" },
      h("div", { class: "segments", role: "group", "aria-label": t("filter.label") }, this.filters),
      h("div", { class: "search" }, icon("search"), search), this.latest, this.count, this.zip);
  }

  #later(action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, SEARCH_DELAY);
  }

  #filter(name) {
    remembered.filter = name;
    this.#mark();
    this.collection.ask({ status: FILTERS[name] });
  }

  #ask({ query }) {
    remembered.query = query;
    this.collection.ask({ query });
  }

  /** The button that shows alone what was sent last from here is there once something was. */
  drawLatest() {
    const batch = recall("latest");
    this.latest.hidden = !batch;
    this.latest.dataset.batch = batch;
    this.latest.setAttribute("aria-pressed", String(remembered.batch === batch));
  }

  #toggleLatest() {
    const batch = recall("latest");
    remembered.batch = remembered.batch === batch ? "" : batch;
    this.drawLatest();
    this.collection.ask({ batch: remembered.batch });
  }

  #mark() {
    Object.keys(FILTERS).forEach((name, i) => this.filters[i].setAttribute("aria-pressed", String(name === remembered.filter)));
  }

  #card(item) {
    return card(item, { selected: this.selection.has(item), open: () => this.open(item), select: (_, event) => this.selection.toggle(item, event, this.collection.items) });
  }

  #selected() {
    this.grid.redraw();
    this.bar.draw();
  }

  #more() {
    if (!this.collection.error) this.collection.more();
  }

  #draw() {
    const { collection } = this;
    this.selection.update(collection);
    this.grid.show(collection.items);
    const count = collection.total ?? (collection.complete ? collection.items.length : null);
    this.count.textContent = count ? t("count", { n: count }) : "";
    this.#offerZip(count);
    this.fresh.hidden = collection.waiting.length === 0;
    this.fresh.querySelector("span")?.replaceChildren(t("fresh", { n: collection.waiting.length }));
    this.element.classList.toggle("newcomer", this.#isEmpty() && this.#asksForAll());
    this.note.replaceChildren(...this.#notes());
  }

  #offerZip(count) {
    const { batch } = this.collection.query;
    this.zip.hidden = !count;
    this.zip.lastChild.textContent = t(batch ? "zip.batch" : "zip");
    this.zip.href = withQuery("/v1/archive", { status: "done", batch });
  }

  #isEmpty() {
    return this.collection.complete && this.collection.items.length === 0;
  }

  #asksForAll() {
    const { status, query, batch } = this.collection.query;
    return !status && !query && !batch;
  }

  #notes() {
    const { error, loading } = this.collection;
    if (error) return [h("p", {}, t("error.list")), button({ text: t("retry"), icon: "redo", onclick: () => this.collection.reload() })];
    if (loading) return [h("p", { class: "muted" }, t("loading"))];
    if (!this.#isEmpty()) return [];
    return this.#asksForAll() ? newcomer() : [h("p", { class: "muted" }, t("empty.search"))];
  }

  #scrolled() {
    this.collection.held = window.scrollY > 300;
    if (!this.collection.held && this.collection.waiting.length) this.collection.release();
  }

  #toTop() {
    this.collection.release();
    window.scrollTo({ top: 0 });
  }

  /** Show an item in full; afterwards the focus is on its card. */
  open(item) {
    new Viewer(item, {
      neighbour: (from, by) => this.collection.items[this.#indexOf(from) + by],
      onClose: (last) => this.grid.focus(Math.max(0, this.#indexOf(last))),
    }).open();
  }

  #indexOf(item) {
    return this.collection.items.findIndex(({ id }) => id === item.id);
  }
}

function newcomer() {
  const steps = ["drop", "watch", "take"].map((name, i) =>
    h("li", {}, h("span", { class: "step", "aria-hidden": "true" }, String(i + 1)), h("div", {}, h("h2", {}, t(`step.${name}`)), h("p", { class: "muted" }, t(`step.${name}.help`)))));
  return [h("ol", { class: "steps" }, steps)];
}
