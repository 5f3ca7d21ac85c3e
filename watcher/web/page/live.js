// What the daemon is doing right now.

import { retry } from "./actions.js";
import { bdi, button, gauge, h, sparkline } from "./dom.js";
import { bytes, duration, percent, when, word } from "./format.js";
import { number, t } from "./i18n.js";
import { stream } from "./stream.js";

const HISTORY = 120;
const EVERY = 1000;
const rates = [];
const known = (value) => value !== null && value !== undefined;

/** The daemon says nothing while nothing changes, and the curve goes on. */
setInterval(() => {
  if (stream.state !== "live" || !known(stream.status?.throughput)) return;
  rates.push(stream.status.throughput);
  if (rates.length > HISTORY) rates.shift();
}, EVERY);

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

  /** Parts are replaced only where they have changed, so that a button keeps its focus. */
  #draw() {
    const { status } = stream;
    const parts = status ? [tiles(status), ...panels(status)] : [h("p", { class: "muted" }, t("loading"))];
    const shown = [h("h1", { class: "visually-hidden" }, t("nav.live")), ...parts];
    const old = [...this.element.children];
    if (old.length !== shown.length) return this.element.replaceChildren(...shown);
    return old.forEach((element, i) => element.isEqualNode(shown[i]) || element.replaceWith(shown[i]));
  }
}

function tiles(status) {
  const workers = status.workers ?? [];
  const ready = workers.filter(({ state }) => state === "ready").length;
  const unready = Object.entries(status.unready ?? {});
  return h("div", { class: "tiles" },
    tile(t("live.rate"), known(status.throughput) && t("live.rate.value", { rate: number(status.throughput, 1) }), sparkline(rates.length > 1 ? rates : [0, 0])),
    tile(t("live.backlog"), known(status.backlog) && number(status.backlog), h("p", { class: "muted" }, timeLeft(status))),
    tile(t("live.workers"), workers.length > 0 && t("live.workers.value", { ready, all: workers.length }), h("p", { class: "muted" }, t("live.workers.ready"))),
    tile(t("live.health"), unready.length ? t("live.unready") : t("live.ready"),
      unready.length ? h("ul", { class: "bad" }, unready.map(([part, reason]) => h("li", {}, bdi(`${part}: ${reason}`)))) : h("p", { class: "muted" }, status.version && `alphadrop ${status.version}`)));
}

function timeLeft(status) {
  if (status.backlog === 0) return t("live.idle");
  return status.seconds_to_drain ? t("live.left", { time: duration(status.seconds_to_drain) }) : t("live.left.unknown");
}

const tile = (name, value, below) => h("section", { class: "tile" }, h("h2", {}, name), h("p", { class: "value" }, value || t("unknown")), below);

function panels(status) {
  const devices = (status.devices ?? []).filter((device) => known(device.memory_total));
  return [
    panel(t("live.workers"), status.workers?.length ? workerTable(status) : h("p", { class: "muted" }, t("live.workers.none"))),
    devices.length > 0 && panel(t("live.devices"), h("ul", { class: "devices" }, devices.map(device))),
    panel(t("live.failures"), status.failures?.length ? h("ul", { class: "failures" }, status.failures.map(failure)) : h("p", { class: "muted" }, t("live.failures.none"))),
  ].filter(Boolean);
}

const panel = (name, content) => h("section", { class: "panel" }, h("h2", {}, name), content);

function workerTable({ workers, model }) {
  const head = ["worker", "state", "model", "flight", "memory"].map((name) => h("th", { scope: "col" }, t(`live.column.${name}`)));
  return h("div", { class: "table", tabindex: "0", role: "region", "aria-label": t("live.workers") }, h("table", {},
    h("thead", {}, h("tr", {}, head)),
    h("tbody", {}, workers.map((worker) => h("tr", {}, workerCells(worker, model).map((cell) => h("td", {}, cell || t("unknown"))))))));
}

function workerCells(worker, model) {
  const state = worker.state === "ready" && worker.in_flight ? "working" : worker.state;
  return [worker.name, h("span", { class: `state ${state}` }, h("i", { class: "dot", "aria-hidden": "true" }), word("worker", state), worker.problem && bdi(`: ${worker.problem}`)), model,
    known(worker.in_flight) && number(worker.in_flight), worker.resident_bytes ? bytes(worker.resident_bytes) : null];
}

function device({ name, model, memory_used: used, memory_total: total, utilization, celsius }) {
  const share = known(used) && total ? used / total : null;
  const more = [model, known(utilization) && t("live.utilization", { share: percent(utilization > 1 ? utilization / 100 : utilization) }), known(celsius) && `${number(celsius)} °C`];
  return h("li", {}, h("span", {}, name, h("small", { class: "muted" }, more.filter(Boolean).join(" · "))),
    share !== null && gauge(share, { label: t("live.memory", { name }), text: percent(share), kind: share > 0.97 ? "poor" : share > 0.9 ? "fair" : "" }),
    h("span", { class: "muted figure" }, share === null ? t("unknown") : t("live.memory.value", { used: bytes(used), total: bytes(total) })));
}

function failure(item) {
  const details = [item.message, known(item.finished) && when(item.finished)].filter(Boolean).join(" · ");
  return h("li", {}, h("div", {}, h("strong", {}, bdi(item.name)), h("p", {}, word("reason", item.reason ?? "other")), h("p", { class: "muted" }, bdi(details))),
    button({ text: t("retry"), icon: "redo", onclick: () => retry(item), "aria-label": t("retry.named", { name: item.name }) }));
}
