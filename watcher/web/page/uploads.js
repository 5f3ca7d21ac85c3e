// Sends pictures to the daemon: a few at a time, with progress, and again when the network or the daemon could not.

import { ApiError, failure, PAGE_HEADER, session, withQuery } from "./api.js";
import { begin, end, resume } from "./journal.js";
import { stream } from "./stream.js";

const AT_ONCE = 3;
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;
const MOST_TRIES = 8;

/** Whether it is worth while to send the same again: no connection, the daemon is busy or has an outage. */
const isTransient = (error) => error.status === 0 || error.status === 408 || error.status === 429 || error.status >= 500;

/** The name of a new batch: when it was dropped, and two letters, so that two of one second stay apart. */
export function newBatch(now = new Date()) {
  const two = (value) => String(value).padStart(2, "0");
  const day = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`;
  const letters = Math.floor(1296 * Math.random()).toString(36).padStart(2, "0");
  return `${day}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}-${letters}`;
}

/** Emits `change`. An upload is {path, file, batch, state, loaded, error, tries}; its state is one of the lists' names. */
class Uploads extends EventTarget {
  waiting = [];
  sending = [];
  failed = [];
  /** Since the lists were empty: pictures and bytes, in all and sent. */
  count = 0;
  sent = 0;
  bytes = 0;
  bytesSent = 0;
  /** Until when the daemon asked for patience, in milliseconds. */
  pausedUntil = 0;
  #signedOut = false;
  #retryTimer = 0;
  #announced = false;

  constructor() {
    super();
    session.addEventListener("needed", () => (this.#signedOut = true));
    session.addEventListener("begun", () => {
      this.#signedOut = false;
      this.#next();
    });
    window.addEventListener("online", () => this.#next());
    window.addEventListener("beforeunload", (event) => this.busy && event.preventDefault());
  }

  get busy() {
    return this.waiting.length + this.sending.length > 0;
  }

  /** Bytes that are with the daemon, including those of the pictures that are being sent. */
  get loaded() {
    return this.sending.reduce((sum, upload) => sum + upload.loaded, this.bytesSent);
  }

  /** Send pictures as a new batch; those that an earlier visit did not send continue theirs. */
  add(pictures) {
    const { continued, fresh } = resume(pictures);
    const batch = newBatch();
    const all = [...continued, ...fresh.map((picture) => ({ ...picture, batch }))];
    if (!this.busy && !this.failed.length) this.count = this.sent = this.bytes = this.bytesSent = 0;
    for (const [name, group] of Map.groupBy(all, (picture) => picture.batch)) begin(name, group);
    for (const picture of all) this.#enqueue(picture);
    this.#next();
    return { count: all.length, known: pictures.length - all.length, batch: all[0]?.batch };
  }

  /** Send again what has failed: one upload, or all. */
  retry(uploads = this.failed) {
    for (const upload of [...uploads]) {
      this.failed.splice(this.failed.indexOf(upload), 1);
      this.waiting.push(Object.assign(upload, { tries: 0, error: null, notBefore: 0 }));
    }
    this.#next();
  }

  /** Send no more; what is with the daemon stays there. */
  stop() {
    for (const upload of [...this.waiting, ...this.failed]) end(upload.batch, upload);
    this.count -= this.waiting.length + this.failed.length;
    this.waiting = [];
    this.failed = [];
    for (const upload of [...this.sending]) upload.request.abort(); // each leaves the list at once
    this.#change();
  }

  #enqueue(picture) {
    const key = `${picture.batch}-${Math.random().toString(36).slice(2)}`; // one for all tries: the daemon keeps the first
    this.waiting.push({ ...picture, key, loaded: 0, tries: 0, error: null, notBefore: 0 });
    this.count++;
    this.bytes += picture.file.size;
  }

  #next() {
    const now = Date.now();
    const pause = this.pausedUntil - now;
    while (pause <= 0 && !this.#signedOut && this.sending.length < AT_ONCE) {
      const index = this.waiting.findIndex((upload) => upload.notBefore <= now);
      if (index < 0) break;
      const [upload] = this.waiting.splice(index, 1);
      this.sending.push(upload);
      this.#send(upload);
    }
    this.#wakeLater(now, pause);
    this.#change();
  }

  #wakeLater(now, pause) {
    clearTimeout(this.#retryTimer);
    if (!this.waiting.length || this.sending.length === AT_ONCE) return;
    const soonest = this.waiting.reduce((least, upload) => Math.min(least, upload.notBefore), Infinity);
    this.#retryTimer = setTimeout(() => this.#next(), Math.max(50, pause, soonest - now));
  }

  /** `fetch` reports no progress of what it sends, so this is an XMLHttpRequest. */
  #send(upload) {
    const request = new XMLHttpRequest();
    upload.request = request;
    request.open("POST", withQuery("/v1/cutouts", { path: upload.path, batch: upload.batch }));
    request.setRequestHeader("Content-Type", upload.file.type.startsWith("image/") ? upload.file.type : "image/unknown");
    request.setRequestHeader("Idempotency-Key", upload.key);
    for (const [name, value] of Object.entries(PAGE_HEADER)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => this.#progress(upload, event);
    request.onload = () => this.#answered(upload, request);
    request.onerror = () => this.#failed(upload, new ApiError(0, ""));
    request.onabort = () => this.#dropped(upload);
    upload.since = performance.now();
    request.send(upload.file);
  }

  #progress(upload, event) {
    upload.loaded = event.loaded;
    this.#change();
  }

  #answered(upload, request) {
    if (request.status >= 400 || request.status === 0) {
      this.#failed(upload, failure(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      return;
    }
    this.sent++;
    this.bytesSent += upload.file.size;
    end(upload.batch, upload);
    stream.answered(JSON.parse(request.responseText), upload.since);
    this.#leave(upload);
  }

  #failed(upload, error) {
    upload.loaded = 0;
    upload.error = error;
    const signedOut = error.status === 401;
    if (!signedOut) upload.tries++;
    const again = signedOut || (isTransient(error) && upload.tries < MOST_TRIES);
    if (again) this.#again(upload, error);
    else this.failed.push(upload);
    this.#leave(upload);
  }

  #again(upload, error) {
    const wait = Math.min(FIRST_WAIT * 2 ** (upload.tries - 1), LONGEST_WAIT) * (0.75 + Math.random() / 2);
    upload.notBefore = Date.now() + Math.max(wait, 1000 * error.retryAfter);
    if (error.status === 429) this.pausedUntil = Date.now() + 1000 * Math.max(1, error.retryAfter);
    this.waiting.unshift(upload);
  }

  #dropped(upload) {
    this.count--;
    this.bytes -= upload.file.size;
    end(upload.batch, upload);
    this.#leave(upload);
  }

  #leave(upload) {
    upload.request = null;
    this.sending.splice(this.sending.indexOf(upload), 1);
    this.#next();
  }

  /** One event a frame is enough for eyes. */
  #change() {
    if (this.#announced) return;
    this.#announced = true;
    setTimeout(() => {
      this.#announced = false;
      this.dispatchEvent(new Event("change"));
    }, 60);
  }
}

export const uploads = new Uploads();
