// A grid of any length: only the cells that are in sight, and some above and below, are elements of the page.

import { fill, h } from "./dom.js";

const OVERSCAN = 2;
/** Rows below the last in sight at which the next page is read. */
const AHEAD = 6;
const GAP = 16;
const CAPTION = 52;

/** Draws `items` as cells of `render(item)`. `onEnd` is called when the last ones come into sight. */
export class Grid {
  #items = [];
  #cells = new Map();
  #columns = 1;
  #size = 0;
  #focused = 0;
  #scheduled = false;

  constructor({ label, render, onEnd, smallest = 190 }) {
    this.render = render;
    this.onEnd = onEnd;
    this.smallest = smallest;
    this.element = h("div", { class: "grid", role: "list", "aria-label": label, onkeydown: (event) => this.#key(event),
      onfocusin: (event) => this.#focusIn(event) });
    this.draw = () => this.#schedule();
    this.observer = new ResizeObserver(this.draw);
  }

  connect() {
    this.observer.observe(this.element);
    window.addEventListener("scroll", this.draw, { passive: true });
    window.addEventListener("resize", this.draw);
  }

  disconnect() {
    this.observer.disconnect();
    window.removeEventListener("scroll", this.draw);
    window.removeEventListener("resize", this.draw);
  }

  show(items) {
    this.#items = items;
    this.#schedule();
  }

  /** Draw every cell in sight anew: something beside the items has changed, such as the selection. */
  redraw() {
    for (const cell of this.#cells.values()) cell.item = null;
    this.#schedule();
  }

  get rowHeight() {
    return this.#size + CAPTION + GAP;
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      if (this.element.isConnected) this.#draw();
    });
  }

  #draw() {
    const width = this.element.clientWidth;
    const smallest = width < 520 ? width / 2 - GAP : this.smallest;
    this.#columns = Math.max(2, Math.floor((width + GAP) / (smallest + GAP)));
    this.#size = Math.floor((width + GAP) / this.#columns - GAP);
    const rows = Math.ceil(this.#items.length / this.#columns);
    this.element.style.height = `${Math.max(0, rows * this.rowHeight - GAP)}px`;
    const [first, last] = this.#inSight();
    this.#place(first, last);
    if (last >= this.#items.length - AHEAD * this.#columns) this.onEnd();
  }

  /** The first item in sight, and the one after the last. */
  #inSight() {
    const top = -this.element.getBoundingClientRect().top;
    const firstRow = Math.max(0, Math.floor(top / this.rowHeight) - OVERSCAN);
    const lastRow = Math.ceil((top + window.innerHeight) / this.rowHeight) + OVERSCAN;
    return [firstRow * this.#columns, Math.min(this.#items.length, Math.max(0, lastRow) * this.#columns)];
  }

  /** The elements have the order of the items, which is the one in which they are read out. */
  #place(first, last) {
    const active = this.element.contains(document.activeElement) ? document.activeElement : null;
    const stale = new Set(this.#cells.keys());
    this.#focused = Math.min(this.#focused, Math.max(0, this.#items.length - 1));
    const placed = [];
    for (let index = first; index < last; index++) placed.push(this.#cell(index));
    for (const { item } of placed) stale.delete(item.id);
    for (const id of stale) this.#cells.delete(id);
    fill(this.element, placed.map(({ element }) => element));
    for (const cell of placed) cell.target().tabIndex = cell.index === this.#focused ? 0 : -1;
    if (active?.isConnected && active !== document.activeElement) active.focus({ preventScroll: true }); // its cell was moved
  }

  #cell(index) {
    const item = this.#items[index];
    let cell = this.#cells.get(item.id);
    if (cell?.item !== item) cell = this.#drawCell(item, cell);
    const [column, row] = [index % this.#columns, Math.floor(index / this.#columns)];
    const { element } = cell;
    element.style.width = `${this.#size}px`;
    element.style.height = `${this.#size + CAPTION}px`;
    element.style.transform = `translate(${column * (this.#size + GAP)}px, ${row * this.rowHeight}px)`;
    element.setAttribute("aria-posinset", index + 1);
    element.setAttribute("aria-setsize", this.#items.length);
    cell.index = index;
    return cell;
  }

  #drawCell(item, cell) {
    const element = cell?.element ?? h("div", { class: "cell", role: "listitem" });
    const hadFocus = element.contains(document.activeElement);
    element.replaceChildren(this.render(item));
    cell = { item, element, index: cell?.index ?? 0, target: () => element.querySelector("[data-open]") };
    this.#cells.set(item.id, cell);
    if (hadFocus) cell.target().focus({ preventScroll: true });
    return cell;
  }

  #focusIn(event) {
    for (const cell of this.#cells.values()) if (cell.element.contains(event.target)) this.#focused = cell.index;
  }

  #key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.focus(this.#focused + steps[event.key]);
  }

  /** Move the focus to an item, and scroll until it is in sight. */
  focus(index) {
    this.#focused = Math.max(0, Math.min(this.#items.length - 1, index));
    const top = this.element.getBoundingClientRect().top + Math.floor(this.#focused / this.#columns) * this.rowHeight;
    const [above, below] = [top - 150, top + this.rowHeight - window.innerHeight + 80];
    if (above < 0) window.scrollBy(0, above);
    else if (below > 0) window.scrollBy(0, below);
    this.#draw();
    this.#cells.get(this.#items[this.#focused]?.id)?.target().focus({ preventScroll: true });
  }
}
