// The one connection by which the daemon says what happens. It is closed while nobody looks, and comes back by itself.

import { session } from "./api.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;
const HIDDEN_FOR = 60000;

/** Emits `status`, `items` (all that changed since the last frame), `state` and `resumed` (something may be missed). */
class Stream extends EventTarget {
  state = "connecting";
  status = null;
  #source = null;
  #wait = FIRST_WAIT;
  #timer = 0;
  #hidden = 0;
  #changed = new Map();
  /** When the daemon last reported an item, by id. */
  #reportedAt = new Map();
  #missed = false;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => this.#look());
    window.addEventListener("online", () => this.#retryNow());
  }

  open() {
    clearTimeout(this.#timer);
    this.close();
    const source = new EventSource("/v1/events");
    this.#source = source;
    source.onopen = () => this.#opened();
    source.onerror = () => this.#failed();
    source.addEventListener("status", (event) => this.#take(JSON.parse(event.data)));
    source.addEventListener("reload", () => this.dispatchEvent(new Event("resumed"))); // too much has changed to be sent
    source.addEventListener("item", (event) => this.#hear(JSON.parse(event.data)));
  }

  close() {
    this.#source?.close();
    this.#source = null;
  }

  /** An item from the response to a request that was sent at `since`, a time of `performance.now()`.
   *
   * What the daemon has said of it meanwhile may be newer; if it is not, the change of the request is still to be said.
   */
  answered(item, since) {
    if (!(this.#reportedAt.get(item.id) >= since)) this.#apply(item);
  }

  #hear(item) {
    this.#reportedAt.set(item.id, performance.now());
    this.#apply(item);
  }

  #apply(item) {
    if (this.#changed.size === 0) setTimeout(() => this.#flush(), 80);
    this.#changed.set(item.id, item);
  }

  #flush() {
    const items = [...this.#changed.values()];
    this.#changed.clear();
    this.dispatchEvent(new CustomEvent("items", { detail: items }));
  }

  #take(status) {
    this.status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: status }));
  }

  #opened() {
    this.#wait = FIRST_WAIT;
    this.#become("live");
    if (this.#missed) this.dispatchEvent(new Event("resumed"));
    this.#missed = false;
  }

  #failed() {
    this.#missed = true;
    this.close(); // the browser's own retry gives up on an error status, and never waits longer
    this.#become("away");
    if (!document.hidden) this.#timer = setTimeout(() => this.#reopen(), this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT);
  }

  async #reopen() {
    const response = await fetch("/v1/status", { cache: "no-store" }).catch(() => null);
    if (response?.status === 401) session.dispatchEvent(new Event("needed"));
    else if (response?.ok) this.open();
    else this.#failed();
  }

  #retryNow() {
    if (this.state === "away") this.open();
  }

  #look() {
    clearTimeout(this.#hidden);
    if (document.hidden) this.#hidden = setTimeout(() => this.#rest(), HIDDEN_FOR);
    else if (!this.#source) this.open();
  }

  /** A browser opens few connections to one host: a tab that nobody sees must not hold one. */
  #rest() {
    this.#missed = true;
    clearTimeout(this.#timer);
    this.close();
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

export const stream = new Stream();
