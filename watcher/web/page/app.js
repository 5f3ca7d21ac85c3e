// The page's frame: navigation, what may be dropped anywhere, and the connection to the daemon.

import { session } from "./api.js";
import { button, h, icon } from "./dom.js";
import { duration } from "./format.js";
import { fromDrop, fromPaste } from "./gather.js";
import { currentLanguage, LANGUAGES, languageTag, setLanguage, t } from "./i18n.js";
import { LiveView } from "./live.js";
import { askToken } from "./login.js";
import { PicturesView } from "./pictures.js";
import { ReviewView } from "./review.js";
import { remember } from "./remember.js";
import { stream } from "./stream.js";
import { applyTheme, themeButton } from "./theme.js";
import { say, toasts } from "./toast.js";
import { uploads } from "./uploads.js";

const VIEWS = { pictures: PicturesView, review: ReviewView, live: LiveView };
const ICONS = { pictures: "picture", review: "review", live: "live" };
let view = null;

/** Send what was dropped, chosen or pasted, and say what became of it. */
function take({ pictures, others }) {
  if (!pictures.length) return say(t("taken.none"), { kind: "bad" });
  const { count, known, batch } = uploads.add(pictures);
  const parts = [t("taken", { n: count })];
  if (known) parts.push(t("taken.known", { n: known }));
  if (others) parts.push(t("taken.others", { n: others }));
  if (location.hash !== "#pictures") location.hash = "#pictures";
  if (batch) remember("latest", batch);
  view.drawLatest?.();
  return say(parts.join(" "));
}

const route = () => (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "pictures");

function drawView() {
  const name = route();
  view?.disconnect();
  view = new VIEWS[name]({ take });
  document.querySelector("main").replaceChildren(view.element);
  document.title = `${t(`nav.${name}`)} · alphadrop`;
  for (const link of document.querySelectorAll("nav a")) link.toggleAttribute("data-here", link.hash === `#${name}`);
  for (const link of document.querySelectorAll("nav a")) link.setAttribute("aria-current", link.hash === `#${name}` ? "page" : "false");
  view.connect();
}

function navigation() {
  return h("nav", { "aria-label": t("nav.label") }, Object.keys(VIEWS).map((name) => h("a", { href: `#${name}` }, icon(ICONS[name]), h("span", {}, t(`nav.${name}`)))));
}

function languagePicker() {
  const options = Object.entries(LANGUAGES).map(([tag, name]) => h("option", { value: tag, lang: tag }, name));
  const picker = h("select", { class: "language", "aria-label": "Language / 语言", onchange: () => (setLanguage(picker.value), draw()) }, options);
  picker.value = currentLanguage();
  return picker;
}

/** One line about the connection and the backlog, on every view. */
function pulse() {
  const [text, left] = [h("span", { class: "cut" }), h("span", { class: "time-left" })];
  const element = h("a", { class: "pulse", href: "#live" }, h("i", { class: "dot", "aria-hidden": "true" }), text, left);
  const update = () => {
    const { state, status } = stream;
    element.dataset.state = state;
    text.textContent = state === "live" ? workText(status) : t(`stream.${state}`);
    left.textContent = state === "live" && status?.backlog && status.seconds_to_drain ? t("pulse.left", { time: duration(status.seconds_to_drain) }) : "";
  };
  update();
  return { element, update };
}

const workText = (status) => (status?.backlog ? t("pulse.backlog", { n: status.backlog }) : t("pulse.ready"));

function draw() {
  document.documentElement.lang = languageTag();
  const { element, update } = pulse();
  drawPulse = update;
  document.body.replaceChildren(
    h("a", { class: "skip", href: "#main", onclick: (event) => (event.preventDefault(), document.querySelector("main").focus()) }, t("skip")),
    h("header", { class: "top" }, h("a", { class: "brand", href: "#pictures" }, icon("drop"), h("span", {}, "alphadrop")), navigation(),
      h("div", { class: "tools" }, element, languagePicker(), themeButton())),
    h("main", { id: "main", tabindex: "-1" }), toasts, dropOverlay());
  drawView();
}

let drawPulse = () => {};

function dropOverlay() {
  return h("div", { class: "drop-overlay", "aria-hidden": "true" }, h("div", {}, icon("drop"), h("strong", {}, t("drop.here"))));
}

/** Files may be dropped and pasted anywhere. Enter and leave events are counted, since each element sends its own.
 *
 * An element that accepts only `dragover` would refuse what is let go in the moment in which it comes under the pointer.
 */
function acceptDrops() {
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = () => document.body.classList.toggle("dragging", depth > 0);
  addEventListener("dragenter", (event) => hasFiles(event) && (event.preventDefault(), depth++, mark()));
  addEventListener("dragleave", (event) => hasFiles(event) && ((depth = Math.max(0, depth - 1)), mark()));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("pointermove", () => depth && ((depth = 0), mark())); // none is sent during a drag: a leave event was missed
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    mark();
    take(await fromDrop(event.dataTransfer));
  });
  addEventListener("paste", (event) => event.clipboardData?.files.length && take(fromPaste(event.clipboardData)));
}

applyTheme();
session.addEventListener("needed", askToken);
session.addEventListener("begun", () => (stream.open(), drawView()));
stream.addEventListener("status", () => drawPulse());
stream.addEventListener("state", () => drawPulse());
addEventListener("hashchange", drawView);
draw();
acceptDrops();
stream.open();
