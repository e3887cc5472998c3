// "Train here": asks Python to compute the exact setting, shows progress, lets the reader cancel.

import { make } from "./dom.js";

export function makeTrainer(app) {
  const start = make("button", { type: "button", class: "xm-button" }, "Train here");
  const stop = make("button", { type: "button", class: "xm-button" }, "Cancel");
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Progress of the training" });
  const note = make("span", { class: "xm-note", role: "status" });
  const element = make("div", { class: "xm-train", hidden: true }, start, stop, bar, note);
  let running = false;
  start.addEventListener("click", () => running || app.send({ kind: "compute", state: app.state }));
  stop.addEventListener("click", () => app.send({ kind: "cancel" }));
  return {
    element,
    show: (job) => {
      element.hidden = !job.possible;
      running = Boolean(job.running);
      start.setAttribute("aria-disabled", String(running)); // not "disabled", which would lose the focus
      stop.hidden = bar.hidden = !running;
      bar.value = job.share || 0;
      note.textContent = job.message || "";
    },
  };
}
