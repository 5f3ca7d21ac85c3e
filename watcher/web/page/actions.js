// What can be done with a picture, wherever it is shown.

import { post } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { stream } from "./stream.js";
import { say, sayError } from "./toast.js";

const AT_ONCE = 4;

const path = (item, verb) => `/v1/cutouts/${encodeURIComponent(item.id)}/${verb}`;

/** Ask the daemon for something; the changed item goes to every list. True if it was done. */
async function act(item, verb, body) {
  const since = performance.now();
  try {
    const changed = await post(path(item, verb), body);
    if (changed) stream.answered(changed, since);
    return true;
  } catch (error) {
    sayError(error);
    return false;
  }
}

export const accept = (item) => act(item, "accept");
export const reject = (item) => act(item, "reject");
export const retry = (item) => act(item, "retry");

/** Make the outputs again, with a model or a preset if they are named. */
export async function redo(item, choice = {}) {
  const body = Object.fromEntries(Object.entries(choice).filter(([, value]) => value));
  return act(item, "redo", body);
}

/** Do the same with each of many items, some at a time; it ends at the first that fails. */
export async function forAll(items, action) {
  for (let i = 0; i < items.length; i += AT_ONCE) {
    const done = await Promise.all(items.slice(i, i + AT_ONCE).map((item) => action(item)));
    if (done.includes(false)) return;
  }
}

/** Download an output. */
export function download(output) {
  const link = h("a", { href: output.url, download: output.name.split("/").pop() });
  document.body.append(link);
  link.click();
  link.remove();
}

/** Whether this browser lets a page put pictures on the clipboard: only over HTTPS and on this machine. */
export const canCopy = () => window.isSecureContext && typeof ClipboardItem === "function" && Boolean(navigator.clipboard?.write);

/** Put an output on the clipboard, as PNG, which is what other programs take. */
export async function copy(output) {
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": asPng(output.url) })]);
    say(t("copied"), { kind: "good" });
  } catch {
    say(t("copy.failed"), { kind: "bad" });
  }
}

async function asPng(url) {
  const blob = await (await fetch(url)).blob();
  if (blob.type === "image/png") return blob;
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
