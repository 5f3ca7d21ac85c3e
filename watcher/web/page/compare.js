// A picture before and after, with a slider between them. It can be enlarged and moved to look at the edges.

import { thumbnail } from "./card.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";

const LARGEST = 8;
const GRIP = 28;
const MARGIN = 16;

/** `show(item, output)` fills it. Emits `zoom` when the enlargement changes. */
export class Compare extends EventTarget {
  #shown = null;
  #width = 1;
  #height = 1;
  #scale = 1;
  #x = 0;
  #y = 0;
  #fitted = true;
  #split = 0.5;
  #pointers = new Map();
  #pinch = 0;

  constructor() {
    super();
    this.ground = h("div", { class: "compare-ground" });
    this.after = h("img", { class: "compare-after", alt: "", draggable: "false" });
    this.preview = h("img", { class: "compare-preview here", alt: "", draggable: "false", "aria-hidden": "true" });
    this.before = h("img", { class: "compare-before", alt: "", draggable: "false" });
    this.slider = h("input", { type: "range", class: "compare-slider", min: 0, max: 1000, value: 500, "aria-label": t("compare.slider"),
      oninput: () => this.#slideTo(this.slider.value / 1000) });
    this.divider = h("div", { class: "compare-divider", "aria-hidden": "true" }, h("i"));
    this.tags = [h("span", { class: "compare-tag left", "aria-hidden": "true" }, t("compare.before")),
      h("span", { class: "compare-tag right", "aria-hidden": "true" }, t("compare.after"))];
    this.element = h("div", { class: "compare", role: "group", "aria-label": t("compare.label"), onwheel: (event) => this.#wheel(event),
      onpointerdown: (event) => this.#down(event), onpointermove: (event) => this.#move(event), onpointerup: (event) => this.#up(event),
      onpointercancel: (event) => this.#up(event), ondblclick: (event) => this.#double(event) },
      this.ground, this.after, this.preview, this.before, this.divider, this.slider, ...this.tags);
    this.after.onload = () => this.#loaded(this.after);
    this.before.onload = () => this.#loaded(this.before);
    this.observer = new ResizeObserver(() => this.#layout());
    this.observer.observe(this.element);
  }

  /** Show an item: its original, and one of its outputs once there is one. The enlargement stays while it is the same item. */
  show(item, output) {
    if (item.id !== this.#shown) this.#fitted = true;
    this.#shown = item.id;
    this.element.classList.toggle("only-before", !output);
    this.before.onerror = () => this.#useThumbnail(item);
    this.preview.src = thumbnail(item); // the grid has loaded it already
    if (output?.width) this.#measure(output.width, output.height);
    this.#load(this.before, item.original, t("compare.before.alt", { name: item.name }));
    if (output) this.#load(this.after, output.url, t("compare.after.alt", { name: item.name }));
    this.#layout();
  }

  /** Enlarge so that one pixel of the picture is `scale` pixels of the screen; "fit" shows all of it. */
  zoom(scale, at = this.#middle()) {
    this.#fitted = scale === "fit";
    if (!this.#fitted) this.#zoomTo(scale / devicePixelRatio, at);
    this.#layout();
  }

  /** Enlarge or reduce by a factor. */
  zoomBy(factor, at = this.#middle()) {
    this.#fitted = false;
    this.#zoomTo(this.#scale * factor, at);
    this.#layout();
  }

  /** Pixels of the screen for one pixel of the picture. */
  get scale() {
    return this.#scale * devicePixelRatio;
  }

  get fitted() {
    return this.#fitted;
  }

  /** `checker`, `white`, `black`, or a colour such as #aabbcc. */
  setGround(ground) {
    this.ground.className = `compare-ground ${ground.startsWith("#") ? "" : ground}`;
    this.ground.style.backgroundColor = ground.startsWith("#") ? ground : "";
  }

  /** Move the divider by a share of the width. */
  slideBy(step) {
    this.#slideTo(this.#split + step);
  }

  #load(image, url, alt) {
    image.alt = alt;
    if (image.src !== new URL(url, location.href).href) {
      image.classList.remove("here");
      image.src = url;
    } else if (image.complete) this.#loaded(image);
  }

  #loaded(image) {
    image.classList.add("here");
    const only = this.element.classList.contains("only-before");
    if (image === this.after || only) this.#measure(image.naturalWidth, image.naturalHeight);
    this.#layout();
  }

  /** A browser cannot show every format that we read: the daemon's thumbnail can be shown. */
  #useThumbnail(item) {
    this.before.onerror = null;
    this.before.src = thumbnail(item, "original");
  }

  #measure(width, height) {
    this.#width = width || 1;
    this.#height = height || 1;
  }

  #fitScale() {
    const { clientWidth, clientHeight } = this.element;
    const fit = Math.min((clientWidth - 2 * MARGIN) / this.#width, (clientHeight - 2 * MARGIN) / this.#height);
    return Math.max(0.001, Math.min(fit, 4 / devicePixelRatio));
  }

  #zoomTo(scale, { x, y }) {
    const next = Math.max(this.#fitScale() / 2, Math.min(LARGEST / devicePixelRatio, scale));
    this.#x = x - ((x - this.#x) * next) / this.#scale;
    this.#y = y - ((y - this.#y) * next) / this.#scale;
    this.#scale = next;
  }

  #layout() {
    const { clientWidth, clientHeight } = this.element;
    if (!clientWidth) return;
    if (this.#fitted) this.#scale = this.#fitScale();
    const [width, height] = [this.#width * this.#scale, this.#height * this.#scale];
    this.#x = this.#fitted ? (clientWidth - width) / 2 : held(this.#x, clientWidth, width);
    this.#y = this.#fitted ? (clientHeight - height) / 2 : held(this.#y, clientHeight, height);
    for (const layer of [this.ground, this.after, this.preview, this.before]) {
      Object.assign(layer.style, { left: `${this.#x}px`, top: `${this.#y}px`, width: `${width}px`, height: `${height}px` });
    }
    this.element.classList.toggle("pixels", this.scale >= 2);
    this.element.classList.toggle("enlarged", !this.#fitted);
    this.#divide(width);
    this.dispatchEvent(new Event("zoom"));
  }

  /** The divider stays where it is on the screen; the part of the original left of it is shown. */
  #divide(width) {
    const [from, to] = [Math.max(0, this.#x), Math.min(this.element.clientWidth, this.#x + width)];
    const at = from + this.#split * (to - from);
    this.divider.style.left = `${at}px`;
    const only = this.element.classList.contains("only-before");
    this.before.style.clipPath = only ? "none" : `inset(0 ${Math.max(0, this.#x + width - at)}px 0 0)`;
    this.slider.value = Math.round(1000 * this.#split);
  }

  #slideTo(split) {
    this.#split = Math.max(0, Math.min(1, split));
    this.#layout();
  }

  #point(event) {
    const box = this.element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #middle() {
    return { x: this.element.clientWidth / 2, y: this.element.clientHeight / 2 };
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    this.zoomBy(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), this.#point(event));
  }

  #double(event) {
    if (this.#fitted) this.zoom(2, this.#point(event));
    else this.zoom("fit");
  }

  #down(event) {
    if (event.button !== 0) return;
    const point = this.#point(event);
    const near = Math.abs(point.x - parseFloat(this.divider.style.left)) < GRIP;
    this.#pointers.set(event.pointerId, { ...point, slides: !this.element.classList.contains("only-before") && (this.#fitted || near) });
    this.#pinch = this.#spread();
    this.element.setPointerCapture(event.pointerId);
    if (this.#pointers.get(event.pointerId).slides && this.#pointers.size === 1 && near) this.#slideAt(point.x);
  }

  #move(event) {
    const known = this.#pointers.get(event.pointerId);
    if (!known) return;
    const point = this.#point(event);
    const [dx, dy] = [point.x - known.x, point.y - known.y];
    Object.assign(known, point);
    if (this.#pointers.size === 2) this.#pinched();
    else if (known.slides) this.#slideAt(point.x);
    else this.#pan(dx, dy);
  }

  #up(event) {
    this.#pointers.delete(event.pointerId);
  }

  #pinched() {
    const spread = this.#spread();
    const [a, b] = [...this.#pointers.values()];
    if (this.#pinch) this.zoomBy(spread / this.#pinch, { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
    this.#pinch = spread;
  }

  #spread() {
    const [a, b] = [...this.#pointers.values()];
    return b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  #slideAt(x) {
    const width = this.#width * this.#scale;
    const [from, to] = [Math.max(0, this.#x), Math.min(this.element.clientWidth, this.#x + width)];
    this.#slideTo((x - from) / (to - from || 1));
  }

  #pan(dx, dy) {
    this.#x += dx;
    this.#y += dy;
    this.#layout();
  }
}

/** A picture larger than the window covers it; a smaller one stays inside. */
function held(at, room, length) {
  if (length <= room) return (room - length) / 2;
  return Math.min(MARGIN, Math.max(room - length - MARGIN, at));
}
