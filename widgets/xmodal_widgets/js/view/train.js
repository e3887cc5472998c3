// "Train here" asks Python to compute the exact setting; "Follow" does whenever a control is let go. Both show progress
// and learning curves, let the reader cancel, and say so when no kernel answers.

import { minus, readable } from "../data/numbers.js";
import { make } from "./dom.js";

const ANSWER = 5000; // milliseconds that a kernel which is free needs at most (ours)
const SILENCE = 9000; // the kernel speaks every two seconds while it trains
const REST = 180; // milliseconds without another key or release, so that a walk with arrows is one question

const NO_ANSWER = "The kernel does not answer. If it is busy with another cell, training starts after that; "
  + "if it has died, restart it and run this view's cell again.";
const SILENT = "No word from the kernel for 9 seconds: it may have died. Restart it and run this view's cell again.";
const GONE = "There is no kernel to train with; restart it and run this view's cell again.";

let questions = 0;

export function makeTrainer(app) {
  const start = make("button", { type: "button", class: "xm-button xm-start" }, "Train here");
  const stop = make("button", { type: "button", class: "xm-button" }, "Cancel");
  const follow = make("input", { type: "checkbox" });
  const switchBox = make("label", { class: "xm-free", title: "Train what the controls show whenever one is let go" }, follow, make("span", {}, "Follow"));
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Progress of the training" });
  const note = make("span", { class: "xm-note", role: "status" });
  const curves = make("div", { class: "xm-curves", hidden: true });
  const element = make("div", { class: "xm-train", hidden: true }, start, switchBox);
  const status = make("div", { class: "xm-train-status", hidden: true }, stop, bar, note, curves);
  let running = false;
  let waiting = 0;
  let resting = 0;
  const say = (words, wrong = false) => {
    note.textContent = words;
    tidy();
    note.classList.toggle("xm-wrong", wrong);
  };
  const expect = (patience, words) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      idle();
      say(words, true);
    }, patience);
  };
  const idle = () => {
    running = false;
    start.setAttribute("aria-disabled", "false");
    stop.hidden = bar.hidden = true;
    tidy();
  };
  // No empty line where nothing is said.
  const tidy = () => (status.hidden = stop.hidden && !note.textContent);
  const ask = (message, words) => {
    try {
      const sent = app.send({ ...message, ask: ++questions });
      if (sent && sent.catch) sent.catch(() => say(GONE, true));
      say(words);
      expect(ANSWER, NO_ANSWER);
    } catch (error) {
      console.warn(error.message);
      clearTimeout(waiting);
      idle();
      say(GONE, true);
    }
  };
  const question = () => {
    app.asked = JSON.stringify(app.controls.map(({ dim }) => app.state[dim]));
    ask({ kind: "follow", state: app.state }, "asking the kernel \u2026");
  };
  const released = () => {
    if (!app.mayTrain || !app.state.follow) return;
    clearTimeout(resting);
    resting = setTimeout(app.guard(() => {
      if (app.state.follow && JSON.stringify(app.controls.map(({ dim }) => app.state[dim])) !== app.asked) question();
    }), REST);
  };
  start.addEventListener("click", () => running || ask({ kind: "compute", state: app.state }, "asking the kernel \u2026"));
  stop.addEventListener("click", () => ask({ kind: "cancel" }, "cancelling \u2026"));
  follow.addEventListener("change", app.guard(() => {
    app.set(follow.checked ? { follow: true, free: true } : { follow: false });
    if (follow.checked) question();
    else if (running) ask({ kind: "cancel" }, "cancelling \u2026");
  }));
  idle();
  return {
    element,
    status,
    released,
    held: () => clearTimeout(resting), // pressed again before it rested: the next release asks
    show: (job) => {
      clearTimeout(waiting);
      element.hidden = !job.possible;
      running = Boolean(job.running);
      start.setAttribute("aria-disabled", String(running)); // not "disabled", which would lose the focus
      stop.hidden = bar.hidden = !running;
      bar.value = job.share || 0;
      say([(job.message || "").trim(), running && job.seconds ? `${job.seconds} s` : ""].filter(Boolean).join(", "));
      curves.hidden = !running || !Object.keys(job.curves || {}).length;
      if (!curves.hidden) curves.replaceChildren(...Object.entries(job.curves).map(curveOf));
      if (running) expect(SILENCE, SILENT);
    },
    showState: (state) => (follow.checked = Boolean(state.follow)),
    close: () => {
      clearTimeout(waiting);
      clearTimeout(resting);
    },
  };
}

const WIDE = 96; // pixels of a small curve
const HIGH = 24;

// One learning curve, as it comes: its name, its last value and its shape on a scale of its own.
function curveOf([name, values]) {
  const word = name.replaceAll("_", " ").replace(/ curve$/, "");
  const [lo, hi] = [Math.min(...values), Math.max(...values)];
  const at = (v, i) => `${((WIDE - 2) * i) / Math.max(1, values.length - 1) + 1},${HIGH - 2 - ((HIGH - 4) * (v - lo)) / (hi - lo || 1)}`;
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", values.map(at).join(" "));
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ width: WIDE, height: HIGH, "aria-hidden": "true", class: "xm-curve" })) picture.setAttribute(key, value);
  picture.append(line);
  return make("div", { class: "xm-curve-row" }, picture, make("span", { class: "xm-note" }, `${word} ${minus(readable(Number(values[values.length - 1].toPrecision(3))))}`));
}
