// The page's language: one table each in strings/. It follows the browser until somebody switches.

import en from "./strings/en.js";
import zh from "./strings/zh.js";
import { recall, remember } from "./remember.js";

const TABLES = { en, zh };
/** The languages that there are, each by its own name. */
export const LANGUAGES = { en: "English", zh: "中文" };
const TAGS = { en: "en", zh: "zh-CN" };

let language = choose();
let plural = new Intl.PluralRules(TAGS[language]);

function choose() {
  const wanted = [recall("language"), ...navigator.languages];
  return wanted.map((tag) => String(tag).slice(0, 2)).find((tag) => tag in TABLES) ?? "en";
}

/** The language in use: `en` or `zh`. */
export const currentLanguage = () => language;
/** Its tag for Intl. */
export const languageTag = () => TAGS[language];

/** Use another language from now on; the caller draws the page anew. */
export function setLanguage(name) {
  language = name;
  plural = new Intl.PluralRules(TAGS[name]);
  remember("language", name);
}

/** The text of `key`, with {name} replaced. A text with forms takes the one that `n` asks for. */
export function t(key, values = {}) {
  const entry = TABLES[language][key];
  const text = typeof entry === "string" ? entry : entry[plural.select(values.n)] ?? entry.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}

/** Whether there is a text of that key: the daemon may know words that this page does not. */
export const has = (key) => key in TABLES[language];

/** A number as this language writes it. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(TAGS[language], { maximumFractionDigits: digits }).format(value);
}
