// "Train here": asks Python to compute the exact setting, shows progress, lets the reader cancel, and says so when no
// kernel answers.

import { make } from "./dom.js";

const ANSWER = 5000; // milliseconds that a kernel which is free needs at most (ours)
const SILENCE = 9000; // the kernel speaks every two seconds while it trains

const NO_ANSWER = "The kernel does not answer. If it is busy with another cell, training starts after that; "
  + "if it has died, restart it and run this view's cell again.";
const SILENT = "No word from the kernel for 9 seconds: it may have died. Restart it and run this view's cell again.";
const GONE = "There is no kernel to train with; restart it and run this view's cell again.";

export function makeTrainer(app) {
  const start = make("button", { type: "button", class: "xm-button xm-start" }, "Train here");
  const stop = make("button", { type: "button", class: "xm-button" }, "Cancel");
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Progress of the training" });
  const note = make("span", { class: "xm-note", role: "status" });
  const element = make("div", { class: "xm-train", hidden: true }, start, stop, bar, note);
  let running = false;
  let waiting = 0;
  const say = (words, wrong = false) => {
    note.textContent = words;
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
  };
  const ask = (message, words) => {
    try {
      const sent = app.send(message);
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
  start.addEventListener("click", () => running || ask({ kind: "compute", state: app.state }, "asking the kernel …"));
  stop.addEventListener("click", () => ask({ kind: "cancel" }, "cancelling …"));
  idle();
  return {
    element,
    show: (job) => {
      clearTimeout(waiting);
      element.hidden = !job.possible;
      running = Boolean(job.running);
      start.setAttribute("aria-disabled", String(running)); // not "disabled", which would lose the focus
      stop.hidden = bar.hidden = !running;
      bar.value = job.share || 0;
      say([job.message, running && job.seconds ? `${job.seconds} s` : ""].filter(Boolean).join(", "));
      if (running) expect(SILENCE, SILENT);
    },
    close: () => clearTimeout(waiting),
  };
}
