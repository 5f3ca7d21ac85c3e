// How far the uploads are: in all, for each picture that is being sent, and what has failed.

import { bdi, button, fill, h } from "./dom.js";
import { bytes, percent } from "./format.js";
import { t } from "./i18n.js";
import { forget, leftOver } from "./journal.js";
import { uploads } from "./uploads.js";

const NEXT_SHOWN = 3;
const FAILED_SHOWN = 20;

/** An element that shows the uploads while there are any, and what an earlier visit did not send. */
export function uploadPanel() {
  const element = h("section", { class: "uploads", "aria-label": t("uploads.title"), hidden: true });
  const [note, progress] = [leftOverNote(() => draw()), progressParts()];
  const draw = () => {
    const left = leftOver();
    const some = uploads.busy || uploads.failed.length > 0;
    if (left.length) note.update(left);
    if (some) progress.update();
    element.hidden = !some && !left.length;
    fill(element, [...(left.length ? [note.element] : []), ...(some ? progress.elements : [])]);
  };
  uploads.addEventListener("change", draw);
  draw();
  return { element, disconnect: () => uploads.removeEventListener("change", draw) };
}

/** The note is drawn many times a second while pictures are sent, so what can be pressed or opened in it stays. */
function leftOverNote(draw) {
  const [title, help, list] = [h("strong"), h("span"), h("ul")];
  const element = h("div", { class: "left-over", role: "note" }, h("p", {}, title, " ", help), h("details", {}, h("summary", {}, t("left.which")), list),
    button({ text: t("left.dismiss"), kind: "plain", onclick: () => (forget(), draw()) }));
  const update = (left) => {
    const paths = left.flatMap((batch) => batch.paths);
    title.textContent = t("left.title", { n: paths.length });
    help.textContent = t("left.help", { n: left.reduce((sum, batch) => sum + batch.sent, 0) });
    list.replaceChildren(...paths.slice(0, 100).map((path) => h("li", {}, bdi(path))));
  };
  return { element, update };
}

/** As the note above: its buttons stay. */
function progressParts() {
  const [title, amount, all, list] = [h("strong"), h("span", { class: "muted" }), bar(0, t("uploads.title")), h("ul", { class: "upload-list" })];
  const retry = button({ text: " ", icon: "redo", onclick: () => uploads.retry() });
  const stop = button({ text: " ", kind: "plain", onclick: () => uploads.stop() });
  const rows = new WeakMap();
  const update = () => {
    title.textContent = summary();
    amount.textContent = t("uploads.bytes", { sent: bytes(uploads.loaded), all: bytes(uploads.bytes) });
    retry.hidden = !uploads.failed.length;
    retry.lastChild.textContent = t("uploads.retry", { n: uploads.failed.length });
    stop.lastChild.textContent = uploads.busy ? t("uploads.stop") : t("uploads.dismiss");
    setBar(all, uploads.bytes ? uploads.loaded / uploads.bytes : 0);
    fill(list, uploadRows(rows));
  };
  return { elements: [h("div", { class: "uploads-head" }, title, amount, retry, stop), all, list], update };
}

function uploadRows(rows) {
  const failed = uploads.failed.slice(0, FAILED_SHOWN).map((upload) => {
    if (!rows.has(upload.error)) rows.set(upload.error, failedRow(upload));
    return rows.get(upload.error);
  });
  return [...failed, ...more(uploads.failed.length - FAILED_SHOWN), ...uploads.sending.map(sendingRow), ...uploads.waiting.slice(0, NEXT_SHOWN).map(waitingRow),
    ...more(uploads.waiting.length - NEXT_SHOWN)];
}

const more = (n) => (n > 0 ? [h("li", { class: "muted" }, t("uploads.more", { n }))] : []);

function summary() {
  const text = t("uploads.summary", { sent: uploads.sent, n: uploads.count });
  return uploads.failed.length ? `${text}, ${t("uploads.failed", { n: uploads.failed.length })}` : text;
}

const bar = (share, label) => h("progress", { value: share, max: 1, "aria-label": label }, percent(share));

function setBar(progress, share) {
  progress.value = share;
  progress.textContent = percent(share);
}

const name = (upload) => h("span", { class: "upload-name", title: upload.path }, bdi(upload.path));

function sendingRow(upload) {
  const share = upload.file.size ? upload.loaded / upload.file.size : 1;
  return h("li", {}, name(upload), bar(share, upload.path), h("span", { class: "muted figure" }, percent(share)));
}

function waitingRow(upload) {
  return h("li", {}, name(upload), h("span", { class: "muted" }, upload.error ? `${why(upload.error)} ${t("uploads.again")}` : t("uploads.waiting")));
}

function failedRow(upload) {
  return h("li", { class: "bad" }, name(upload), h("span", {}, why(upload.error)),
    button({ text: t("retry"), icon: "redo", onclick: () => uploads.retry([upload]), "aria-label": t("retry.named", { name: upload.path }) }));
}

function why(error) {
  if (error.status === 0) return t("error.offline");
  if (error.status === 429) return t("error.busy");
  return error.message || t("error.status", { status: String(error.status) });
}
