// What the daemon is doing right now.

import { retry } from "./actions.js";
import { bdi, button, gauge, h, sparkline } from "./dom.js";
import { bytes, duration, percent, when, word } from "./format.js";
import { number, t } from "./i18n.js";
import { stream } from "./stream.js";

const HISTORY = 120;
const rates = [];
stream.addEventListener("status", ({ detail }) => {
  if (known(detail.images_per_second)) rates.push(detail.images_per_second);
  if (rates.length > HISTORY) rates.shift();
});

const known = (value) => value !== null && value !== undefined;

export class LiveView {
  constructor() {
    this.element = h("div", { class: "view live" });
    this.onStatus = () => this.#draw();
  }

  connect() {
    stream.addEventListener("status", this.onStatus);
    this.#draw();
  }

  disconnect() {
    stream.removeEventListener("status", this.onStatus);
  }

  #draw() {
    const status = stream.status;
    if (!status) return this.element.replaceChildren(h("p", { class: "muted" }, t("loading")));
    return this.element.replaceChildren(h("h1", { class: "visually-hidden" }, t("nav.live")), h("div", { class: "tiles" }, tiles(status)), ...panels(status));
  }
}

function tiles(status) {
  return [
    tile(t("live.rate"), known(status.images_per_second) ? t("live.rate.value", { rate: number(status.images_per_second, 1) }) : null, sparkline(rates.length > 1 ? rates : [0, 0])),
    tile(t("live.backlog"), known(status.backlog) ? number(status.backlog) : null, h("p", { class: "muted" }, timeLeft(status))),
    tile(t("live.flight"), known(status.in_flight) ? number(status.in_flight) : null, h("p", { class: "muted" }, t("live.flight.help"))),
    tile(t("live.rejected"), known(status.rejected) ? number(status.rejected) : null, h("p", { class: "muted" }, t("live.rejected.help"))),
  ];
}

function timeLeft(status) {
  if (status.backlog === 0) return t("live.idle");
  return known(status.seconds_left) ? t("live.left", { time: duration(status.seconds_left) }) : t("live.left.unknown");
}

const tile = (name, value, below) => h("section", { class: "tile" }, h("h2", {}, name), h("p", { class: "value" }, value ?? t("unknown")), below);

function panels(status) {
  return [
    h("section", { class: "panel" }, h("h2", {}, t("live.workers")), status.workers?.length ? workerTable(status.workers) : h("p", { class: "muted" }, t("live.workers.none"))),
    status.devices?.length > 0 && h("section", { class: "panel" }, h("h2", {}, t("live.devices")), h("ul", { class: "devices" }, status.devices.map(device))),
    h("section", { class: "panel" }, h("h2", {}, t("live.failures")), status.failures?.length ? h("ul", { class: "failures" }, status.failures.map(failure)) : h("p", { class: "muted" }, t("live.failures.none"))),
  ].filter(Boolean);
}

function workerTable(workers) {
  const cells = (worker) => [worker.name, worker.device, worker.model, h("span", { class: `state ${worker.state}` }, h("i", { class: "dot", "aria-hidden": "true" }), word("worker", worker.state)), known(worker.finished) ? number(worker.finished) : t("unknown")];
  return h("div", { class: "table" }, h("table", {},
    h("thead", {}, h("tr", {}, ["worker", "device", "model", "state", "finished"].map((name) => h("th", { scope: "col" }, t(`live.${name}`))))),
    h("tbody", {}, workers.map((worker) => h("tr", {}, cells(worker).map((cell) => h("td", {}, cell ?? t("unknown"))))))));
}

function device({ name, memory_used: used, memory_total: total }) {
  const share = known(used) && total ? used / total : null;
  return h("li", {}, h("span", {}, name), share === null ? h("span", { class: "muted" }, t("unknown"))
    : gauge(share, { label: t("live.memory", { name }), text: percent(share), kind: share > 0.95 ? "poor" : share > 0.9 ? "fair" : "" }),
    share !== null && h("span", { class: "muted figure" }, t("live.memory.value", { used: bytes(used), total: bytes(total) })));
}

function failure(item) {
  const details = [item.message, known(item.finished) && when(item.finished)].filter(Boolean).join(" · ");
  return h("li", {}, h("div", {}, h("strong", {}, bdi(item.name)), h("p", {}, word("reason", item.reason ?? "other")), h("p", { class: "muted" }, bdi(details))),
    button({ text: t("retry"), icon: "redo", onclick: () => retry(item), "aria-label": t("retry.named", { name: item.name }) }));
}
