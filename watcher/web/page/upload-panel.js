// How far the uploads are: in all, for each picture that is being sent, and what has failed.

import { bdi, button, h } from "./dom.js";
import { bytes, percent } from "./format.js";
import { t } from "./i18n.js";
import { forget, leftOver } from "./journal.js";
import { uploads } from "./uploads.js";

const NEXT_SHOWN = 3;
const FAILED_SHOWN = 20;

/** An element that shows the uploads while there are any, and what an earlier visit did not send. */
export function uploadPanel() {
  const element = h("section", { class: "uploads", "aria-label": t("uploads.title"), hidden: true });
  const draw = () => {
    const left = leftOver();
    element.hidden = !uploads.busy && !uploads.failed.length && !left.length;
    element.replaceChildren(...(left.length ? [leftOverNote(left, draw)] : []), ...(uploads.busy || uploads.failed.length ? progress() : []));
  };
  uploads.addEventListener("change", draw);
  draw();
  return { element, disconnect: () => uploads.removeEventListener("change", draw) };
}

function leftOverNote(left, draw) {
  const paths = left.flatMap((batch) => batch.paths);
  const sent = left.reduce((sum, batch) => sum + batch.sent, 0);
  return h("div", { class: "left-over", role: "note" },
    h("p", {}, h("strong", {}, t("left.title", { n: paths.length })), " ", t("left.help", { n: sent })),
    h("details", {}, h("summary", {}, t("left.which")), h("ul", {}, paths.slice(0, 100).map((path) => h("li", {}, bdi(path))))),
    button({ text: t("left.dismiss"), kind: "plain", onclick: () => (forget(), draw()) }));
}

function progress() {
  const share = uploads.bytes ? uploads.loaded / uploads.bytes : 0;
  return [
    h("div", { class: "uploads-head" },
      h("strong", {}, summary()),
      h("span", { class: "muted" }, t("uploads.bytes", { sent: bytes(uploads.loaded), all: bytes(uploads.bytes) })),
      uploads.failed.length > 0 && button({ text: t("uploads.retry", { n: uploads.failed.length }), icon: "redo", onclick: () => uploads.retry() }),
      button({ text: uploads.busy ? t("uploads.stop") : t("uploads.dismiss"), kind: "plain", onclick: () => uploads.stop() })),
    bar(share, t("uploads.title")),
    h("ul", { class: "upload-list" },
      uploads.failed.slice(0, FAILED_SHOWN).map(failedRow),
      uploads.failed.length > FAILED_SHOWN && h("li", { class: "muted" }, t("uploads.more", { n: uploads.failed.length - FAILED_SHOWN })),
      uploads.sending.map(sendingRow),
      uploads.waiting.slice(0, NEXT_SHOWN).map(waitingRow),
      uploads.waiting.length > NEXT_SHOWN && h("li", { class: "muted" }, t("uploads.more", { n: uploads.waiting.length - NEXT_SHOWN }))),
  ];
}

function summary() {
  const text = t("uploads.summary", { sent: uploads.sent, n: uploads.count });
  return uploads.failed.length ? `${text}, ${t("uploads.failed", { n: uploads.failed.length })}` : text;
}

const bar = (share, label) => h("progress", { value: share, max: 1, "aria-label": label }, percent(share));

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
