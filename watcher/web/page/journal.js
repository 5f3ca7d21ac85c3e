// Which pictures of which batch have been sent, so that a page that was closed in the middle can say what is missing.

import { names, recall, remember } from "./remember.js";

const PREFIX = "unsent.";
const WRITE_EVERY = 500;
/** Milliseconds after which a record that nobody wrote belongs to a page that is gone, though it did not say so. */
const GONE_AFTER = 30000;

const fingerprint = ({ path, file }) => `${path}|${file.size}|${file.lastModified}`;
const pathOf = (key) => key.split("|").slice(0, -2).join("|");

/** By batch: {files: {fingerprint: whether it was sent}, open: how many were not}. Those of this page are `own`. */
const records = new Map();
const own = new Set();
let timer = 0;

for (const name of names(PREFIX)) {
  const { files, written } = recall(name);
  const open = Object.values(files).filter((sent) => !sent).length;
  if (Date.now() - written > GONE_AFTER) records.set(name.slice(PREFIX.length), { files, open });
}

function write(written = Date.now()) {
  clearTimeout(timer);
  timer = 0;
  for (const batch of own) {
    const record = records.get(batch);
    remember(PREFIX + batch, record ? { files: record.files, written } : null);
    if (!record) own.delete(batch);
  }
}

function writeSoon() {
  timer ||= setTimeout(write, WRITE_EVERY);
}

// A page that is being closed says so: the next one need not wait until its records are old.
window.addEventListener("pagehide", () => write(0));

/** What earlier visits did not send: [{batch, paths, sent}]. */
export function leftOver() {
  return [...records].filter(([batch]) => !own.has(batch)).map(([batch, { files, open }]) => {
    const keys = Object.keys(files);
    return { batch, paths: keys.filter((key) => !files[key]).map(pathOf), sent: keys.length - open };
  });
}

/** Divide pictures: those that continue a batch of an earlier visit, and those that are new. What was sent is left out. */
export function resume(pictures) {
  const continued = [];
  const fresh = [];
  for (const picture of pictures) {
    const key = fingerprint(picture);
    const [batch, record] = [...records].find(([, { files }]) => key in files) ?? [];
    if (!record) fresh.push(picture);
    else if (!record.files[key]) continued.push({ ...picture, batch });
  }
  return { continued, fresh };
}

/** Pictures of a batch are about to be sent. */
export function begin(batch, pictures) {
  const record = records.get(batch) ?? { files: {}, open: 0 };
  for (const key of pictures.map(fingerprint)) {
    if (!(key in record.files)) record.open++;
    record.files[key] ??= 0;
  }
  records.set(batch, record);
  own.add(batch);
  write();
}

/** A picture is with the daemon, or will never be: the batch's last one ends its record. */
export function end(batch, picture) {
  const record = records.get(batch);
  if (!record) return;
  record.files[fingerprint(picture)] = 1;
  if (--record.open <= 0) records.delete(batch);
  writeSoon();
}

/** Nobody wants to know any more what earlier visits did not send. */
export function forget() {
  for (const { batch } of leftOver()) {
    records.delete(batch);
    remember(PREFIX + batch, null);
  }
}
