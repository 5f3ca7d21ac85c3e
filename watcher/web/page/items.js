// A list of pictures as the daemon keeps it: read page by page, and kept up to date by the stream.

import { get } from "./api.js";
import { stream } from "./stream.js";

const PAGE = 200;
const UNFINISHED = new Set(["queued", "running"]);

/** Emits `change` when its items, its total or its state have changed. */
export class Collection extends EventTarget {
  items = [];
  /** Items that have arrived while `held` was true, newest first. */
  waiting = [];
  /** How many there are in all, as far as the daemon says so. */
  total = null;
  loading = false;
  error = null;
  complete = false;
  /** While true, new items are counted, but do not push down what somebody looks at. */
  held = false;
  #cursor = null;
  #generation = 0;
  #ids = new Map();
  /** What has changed since the request that is under way was sent, by id: the daemon may have read its list before. */
  #news = new Map();

  constructor(query = {}) {
    super();
    this.query = { order: "newest", ...query };
    this.onItems = (event) => this.#apply(event.detail);
    this.onResumed = () => this.reload();
  }

  /** Begin to listen, and read the first page. */
  open() {
    stream.addEventListener("items", this.onItems);
    stream.addEventListener("resumed", this.onResumed);
    return this.reload();
  }

  close() {
    stream.removeEventListener("items", this.onItems);
    stream.removeEventListener("resumed", this.onResumed);
    this.#generation++;
  }

  /** Another question: everything is read anew. */
  ask(query) {
    this.query = { ...this.query, ...query };
    return this.reload();
  }

  /** Read from the beginning; what is shown stays until the answer is here. */
  async reload() {
    this.#generation++;
    this.#cursor = null;
    this.complete = this.loading = false;
    await this.more(true);
  }

  /** Read the next page, unless there is none. */
  async more(anew = false) {
    if (this.loading || this.complete) return;
    const generation = this.#generation;
    this.loading = true;
    this.#news.clear();
    try {
      const page = await get("/v1/cutouts", { ...this.query, cursor: this.#cursor, limit: PAGE });
      if (generation === this.#generation) this.#take(page, anew);
    } catch (error) {
      if (generation === this.#generation) this.#fail(error);
    }
    if (generation === this.#generation) this.#changed();
  }

  /** Show the items that waited. */
  release() {
    for (const item of this.waiting.toReversed()) this.#insert(item);
    this.waiting = [];
    this.#changed();
  }

  find(id) {
    return this.#ids.get(id);
  }

  #take({ items, next, total }, anew) {
    this.loading = false;
    this.error = null;
    if (anew) {
      this.items = [];
      this.waiting = [];
      this.#ids.clear();
    }
    for (const item of items) if (!this.#ids.has(item.id)) this.#append(item);
    this.total = total ?? null;
    this.#cursor = next;
    this.complete = next === null;
    this.#applyEach(this.#news.values());
  }

  #fail(error) {
    this.loading = false;
    this.error = error;
  }

  #append(item) {
    this.items.push(item);
    this.#ids.set(item.id, item);
  }

  #apply(changed) {
    if (this.loading) for (const item of changed) this.#news.set(item.id, item);
    this.#applyEach(changed);
    this.#changed();
  }

  #applyEach(changed) {
    for (const item of changed) {
      const known = this.#ids.get(item.id);
      if (known) this.#replace(known, item);
      else if (this.#belongs(item) && !this.#isFurtherDown(item)) this.#arrive(item);
    }
  }

  /** Whether its place is in a part of the list that is not read yet: it comes, and is counted, with that part. */
  #isFurtherDown(item) {
    return !this.complete && this.items.length > 0 && this.#placeOf(item) === this.items.length;
  }

  #replace(known, item) {
    const index = this.items.indexOf(known);
    if (this.#belongs(item)) {
      this.items[index] = item;
      this.#ids.set(item.id, item);
    } else {
      this.items.splice(index, 1);
      this.#ids.delete(item.id);
      if (this.total !== null) this.total--;
    }
  }

  #arrive(item) {
    const index = this.waiting.findIndex((other) => other.id === item.id);
    if (index >= 0) this.waiting[index] = item;
    else if (this.held) this.waiting.unshift(item);
    else this.#insert(item);
  }

  #insert(item) {
    this.items.splice(this.#placeOf(item), 0, item);
    this.#ids.set(item.id, item);
    if (this.total !== null) this.total++;
  }

  /** Where the daemon's own list has it. */
  #placeOf(item) {
    const newest = this.query.order === "newest";
    const index = this.items.findIndex((other) => (newest ? other.created <= item.created : other.score > item.score));
    return index < 0 ? this.items.length : index;
  }

  #belongs(item) {
    const { status, batch, query, order, decision } = this.query;
    if (order === "worst" && (item.score ?? null) === null) return false;
    if (decision === "none" && item.decision) return false;
    if (status === "unfinished" ? !UNFINISHED.has(item.status) : status && item.status !== status) return false;
    if (batch && item.batch !== batch) return false;
    return !query || `${item.name} ${item.key}`.toLowerCase().includes(query.toLowerCase());
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
