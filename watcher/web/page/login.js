// Asks for a token where the daemon wants one.

import { session, signIn } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";

let asking = false;

/** Open the dialog, once, until a session has begun. */
export function askToken() {
  if (asking) return;
  asking = true;
  const token = h("input", { type: "password", name: "token", required: true, autocomplete: "current-password", "aria-describedby": "login-error" });
  const problem = h("p", { id: "login-error", class: "bad", role: "alert" });
  const dialog = h("dialog", { class: "small login", "aria-labelledby": "login-title", oncancel: (event) => event.preventDefault() },
    h("form", { onsubmit: (event) => submit(event) },
      h("h2", { id: "login-title" }, t("login.title")), h("p", { class: "muted" }, t("login.help")),
      h("label", { class: "field" }, h("span", {}, t("login.token")), token), problem,
      h("div", { class: "dialog-buttons" }, h("button", { class: "button primary" }, t("login.go")))));

  async function submit(event) {
    event.preventDefault();
    try {
      await signIn(token.value.trim());
      asking = false;
      dialog.close();
      dialog.remove();
      session.dispatchEvent(new Event("begun"));
    } catch (error) {
      problem.textContent = error.status === 0 ? t("error.offline") : t("login.wrong");
      token.select();
    }
  }

  document.body.append(dialog);
  dialog.showModal();
  token.focus();
}
