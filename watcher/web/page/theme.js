// Light or dark: as the system says, until somebody switches.

import { button } from "./dom.js";
import { t } from "./i18n.js";
import { recall, remember } from "./remember.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const current = () => recall("theme") ?? (dark.matches ? "dark" : "light");

/** Set the theme before the page is drawn. */
export function applyTheme() {
  document.documentElement.dataset.theme = current();
}

dark.addEventListener("change", applyTheme);

export function themeButton() {
  const next = current() === "dark" ? "light" : "dark";
  return button({ icon: next === "dark" ? "moon" : "sun", label: t(`theme.${next}`), kind: "plain round", onclick: (event) => {
    remember("theme", next === (dark.matches ? "dark" : "light") ? null : next);
    applyTheme();
    event.currentTarget.replaceWith(themeButton());
  } });
}
