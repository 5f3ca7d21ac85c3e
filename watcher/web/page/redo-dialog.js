// Asks with which model and preset pictures are to be made again.

import { redo } from "./actions.js";
import { button, h } from "./dom.js";
import { t } from "./i18n.js";
import { stream } from "./stream.js";
import { say } from "./toast.js";

/** Open the dialog for one or several items. Resolves to true if they are being made again. */
export function askRedo(items) {
  const { models = [], presets = [] } = stream.status ?? {};
  const go = h("button", { class: "button primary", value: "go", autofocus: true }, t("redo.go"));
  const check = () => (go.disabled = !model.value && !preset.value); // the same again would be the same
  const model = select(models, t("redo.same.model"), check);
  const preset = select(presets, t("redo.same.preset"), check);
  model.value = models.find((name) => items.every((item) => item.model !== name)) ?? "";
  check();
  return open(items, go, field("redo.model", model), field("redo.preset", preset), () => start(items, { model: model.value, preset: preset.value }));
}

function open(items, go, model, preset, begin) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "small", "aria-labelledby": "redo-title", onclose: () => closed() },
      h("form", { method: "dialog" }, h("h2", { id: "redo-title" }, t("redo.title", { n: items.length })), model, preset,
        h("p", { class: "muted" }, t("redo.help")),
        h("div", { class: "dialog-buttons" }, button({ text: t("cancel"), onclick: () => dialog.close() }), go)));
    const closed = () => {
      const wanted = dialog.returnValue === "go";
      dialog.remove();
      if (wanted) begin();
      resolve(wanted);
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}

async function start(items, choice) {
  let begun = 0;
  for (const item of items) if (await redo(item, choice)) begun++;
  if (begun) say(t("redo.begun", { n: begun }), { kind: "good" });
}

const field = (key, element) => h("label", { class: "field" }, h("span", {}, t(key)), element);

const select = (options, first, onchange) => h("select", { onchange }, h("option", { value: "" }, first), options.map((name) => h("option", { value: name }, name)));
