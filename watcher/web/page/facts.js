// What is known about a picture and its cut-out, as a list.

import { statusText } from "./card.js";
import { bdi, gauge, h } from "./dom.js";
import { bytes, percent, when, word } from "./format.js";
import { t } from "./i18n.js";

const known = (value) => value !== null && value !== undefined && value !== "";

/** How sure the matte is, and why it may be wrong; null if nobody knows. */
export function doubtsOf(item) {
  if (!known(item.score)) return null;
  const share = percent(item.score);
  return h("div", { class: "doubts" },
    h("div", { class: "score" }, h("span", {}, t("score")), gauge(item.score, { label: t("score.long"), text: share, kind: item.score < 0.5 ? "poor" : item.score < 0.8 ? "fair" : "" }), h("strong", {}, share)),
    item.doubts?.length ? h("ul", {}, item.doubts.map((doubt) => h("li", {}, word("doubt", doubt)))) : h("p", { class: "muted" }, t("doubts.none")));
}

/** What a reviewer needs to know. */
export const BRIEF = ["fact.size", "fact.model", "fact.key"];

/** Pairs of terms and values: those of `terms`, or all. What is not known is left out. */
export function factsOf(item, output, terms = null) {
  const size = output && known(output.width) && `${output.width} × ${output.height}`;
  const pairs = {
    "fact.status": statusText(item), "fact.size": size, "fact.bytes": output && known(output.bytes) && bytes(output.bytes),
    "fact.kind": output?.media_type, "fact.model": item.model, "fact.batch": item.batch, "fact.key": item.key,
    "fact.created": known(item.created) && when(item.created), "fact.finished": known(item.finished) && when(item.finished),
  };
  return h("dl", { class: "facts" }, Object.entries(pairs).filter(([term, value]) => known(value) && value !== false && (terms?.includes(term) ?? true))
    .map(([term, value]) => h("div", {}, h("dt", {}, t(term)), h("dd", {}, bdi(value)))));
}

/** Why there is no cut-out; null unless the picture was rejected. */
export function rejectionOf(item) {
  if (item.status !== "rejected") return null;
  return h("div", { class: "rejection", role: "note" }, h("strong", {}, word("reason", item.reason ?? "other")), known(item.message) && h("p", {}, bdi(item.message)));
}
