// Numbers for people.

import { has, languageTag, number, t } from "./i18n.js";

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** 1234567 as "1.2 MB". */
export function bytes(count) {
  const power = count < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(count) / 3));
  return `${number(count / 1000 ** power, power ? 1 : 0)} ${UNITS[power]}`;
}

/** 100 as "1 min 40 s". */
export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  if (hours) return t("duration.hours", { hours, minutes });
  return minutes ? t("duration.minutes", { minutes, seconds: whole % 60 }) : t("duration.seconds", { seconds: whole });
}

/** A time of day today, otherwise a date with it. */
export function when(text) {
  const date = new Date(text);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString(languageTag(), { timeStyle: "short", ...(today ? {} : { dateStyle: "medium" }) });
}

/** 0.873 as "87 %". */
export const percent = (share) => `${number(Math.floor(100 * share))} %`;

/** A word of the daemon in the reader's language, such as a doubt or a rejection reason; as it is if we have none. */
export function word(kind, name) {
  const key = `${kind}.${name}`;
  return has(key) ? t(key) : String(name).replaceAll("_", " ");
}
