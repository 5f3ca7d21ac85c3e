// Short messages at the edge of the page, also spoken by screen readers.

import { bdi, button, h } from "./dom.js";
import { t } from "./i18n.js";

const SECONDS = 6;
const MOST = 3;

export const toasts = h("div", { class: "toasts", role: "status", "aria-live": "polite" });

/** Say something, for some seconds; `action` is {text, run}. */
export function say(text, { kind = "", action = null } = {}) {
  const toast = h("div", { class: `toast ${kind}` }, h("span", {}, bdi(text)),
    action && button({ text: action.text, kind: "plain", onclick: () => (toast.remove(), action.run()) }),
    button({ icon: "close", label: t("close"), kind: "plain round", onclick: () => toast.remove() }));
  toasts.append(toast);
  while (toasts.children.length > MOST) toasts.firstChild.remove();
  setTimeout(() => toast.remove(), 1000 * SECONDS * (kind === "bad" ? 2 : 1));
}

/** Say what is wrong with a request. */
export function sayError(error) {
  if (error.status === 401) return; // the page asks for a token
  say(error.status === 0 ? t("error.offline") : error.message || t("error.status", { status: String(error.status) }), { kind: "bad" });
}
