// From what somebody dropped, chose or pasted to a list of pictures with paths.

const PICTURES = /\.(jpe?g|jfif|png|webp|tiff?|bmp|gif|avif|heic|heif)$/i;
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069\\]/gu;
/** What a file input offers. */
export const ACCEPT = "image/*,.tif,.tiff,.heic,.heif,.avif";

/** Pictures as {file, path}, and how many files are none. Hidden files are left out without a word. */
export class Found {
  pictures = [];
  others = 0;
  #paths = new Set();

  add(file, path) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (name.startsWith(".") || name === "Thumbs.db" || name === "desktop.ini") return;
    if (PICTURES.test(name)) this.pictures.push({ file, path: this.#unused(safePath(path)) });
    else this.others++;
  }

  /** Two files of one name that were dropped together both arrive. */
  #unused(path) {
    let free = path;
    for (let n = 2; this.#paths.has(free); n++) free = path.replace(/(\.[^.]+)$/, ` (${n})$1`);
    this.#paths.add(free);
    return free;
  }
}

/** A path that every store takes: without control characters, and without those that turn the text after them. */
function safePath(path) {
  const parts = path.normalize("NFC").split("/").map((part) => part.replace(UNSAFE, "_").replace(/^[ .]+|[ .]+$/g, "_"));
  return parts.join("/");
}

/** Everything in a drop, with all sub-folders. Must be called while the drop event is handled. */
export async function fromDrop(transfer) {
  const found = new Found();
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry());
  for (const entry of entries) if (entry) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file) found.add(file, entry.fullPath.slice(1));
    return;
  }
  const reader = entry.createReader();
  for (let part = await read(reader); part.length; part = await read(reader)) {
    for (const child of part) await walk(child, found);
  }
}

/** A reader hands out a folder in parts, and an empty one at the end. */
const read = (reader) => new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));

/** What an input of files or of a folder holds. */
export function fromInput(input) {
  const found = new Found();
  for (const file of input.files) found.add(file, file.webkitRelativePath || file.name);
  return found;
}

/** Pictures on the clipboard. The browser calls each of them image.png, so they are named by the time. */
export function fromPaste(transfer) {
  const found = new Found();
  const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
  for (const file of transfer.files) found.add(file, file.name === "image.png" ? `pasted-${time}.png` : file.name);
  return found;
}
