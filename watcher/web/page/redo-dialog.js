// Asks with which model and preset pictures are to be made again.

import { redo } from "./actions.js";
import { button, h } from "./dom.js";
import { t } from "./i18n.js";
import { stream } from "./stream.js";
import { say } from "./toast.js";

/** Open the dialog for one or several items. Resolves to true if they are being made again. */
export function askRedo(items) {
  const status = stream.status ?? {};
  const model = select("redo.model", names(status.models), t("redo.same.model"));
  const preset = select("redo.preset", names(status.presets), t("redo.same.preset"));
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "small", "aria-labelledby": "redo-title", onclose: () => (dialog.remove(), resolve(dialog.returnValue === "go")) },
      h("form", { method: "dialog" },
        h("h2", { id: "redo-title" }, t("redo.title", { n: items.length })),
        model.element, preset.element,
        h("p", { class: "muted" }, t("redo.help")),
        h("div", { class: "dialog-buttons" }, button({ text: t("cancel"), onclick: () => dialog.close() }),
          h("button", { class: "button primary", value: "go", autofocus: true }, t("redo.go")))));
    dialog.addEventListener("close", () => dialog.returnValue === "go" && start(items, { model: model.value(), preset: preset.value() }));
    document.body.append(dialog);
    dialog.showModal();
  });
}

async function start(items, choice) {
  let begun = 0;
  for (const item of items) if (await redo(item, choice)) begun++;
  if (begun) say(t("redo.begun", { n: begun }), { kind: "good" });
}

/** The daemon names models and presets by text, or by objects with a name. */
const names = (list) => (list ?? []).map((entry) => entry.name ?? entry);

function select(key, options, first) {
  const element = h("select", {}, h("option", { value: "" }, first), options.map((name) => h("option", { value: name }, name)));
  return { element: h("label", { class: "field" }, h("span", {}, t(key)), element), value: () => element.value };
}
