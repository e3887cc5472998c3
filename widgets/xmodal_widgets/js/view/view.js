// The whole: state, one frame for all panels, errors. anywidget calls render({ model, el }).

import { readCube, onGrid } from "../data/cube.js";
import { readTheme, watchTheme } from "../data/theme.js";
import { COLORBAR_WIDTH } from "../draw/canvas.js";
import { makeControls, valueText } from "./controls.js";
import { make } from "./dom.js";
import { makeView, updateView, describePanel } from "./panel.js";
import { makeTrainer } from "./train.js";

export function render({ model, el }) {
  const root = make("div", { class: "xm-root" });
  el.append(root);
  const box = makeErrorBox(model);
  root.append(box.element);
  let app = null;
  const build = box.guard(() => {
    const old = app;
    const focused = root.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    app = makeApp(model, root, box);
    if (old) old.close();
    if (focused) [...root.querySelectorAll("input, select, button, canvas")].find((e) => nameOf(e) === focused)?.focus();
  });
  const rebuild = () => queueMicrotask(build); // layout and payload arrive together: build once, after both
  const onError = () => box.show(model.get("error"));
  model.on("change:_payload", rebuild);
  model.on("change:_layout", rebuild);
  model.on("change:error", onError);
  onError();
  build();
  return () => {
    model.off("change:_payload", rebuild);
    model.off("change:_layout", rebuild);
    model.off("change:error", onError);
    if (app) app.close();
    root.remove();
  };
}

const nameOf = (element) => element.getAttribute("aria-label") || element.value || element.textContent;

// -- errors: Python's callbacks and this file's own show in one visible box ----------------------

function makeErrorBox(model) {
  const text = make("div", { class: "xm-error-text" });
  const more = make("pre", {});
  const details = make("details", {}, make("summary", {}, "where"), more);
  const close = make("button", { type: "button", class: "xm-button" }, "Dismiss");
  const element = make("div", { class: "xm-error", role: "alert", hidden: true }, text, details, close);
  const box = {
    element,
    show: (message) => {
      const [first, ...rest] = (message || "").split("\n");
      text.textContent = first;
      more.textContent = rest.join("\n").trim();
      details.hidden = !more.textContent;
      element.hidden = !message;
    },
    guard: (fn) => (...args) => {
      try {
        return fn(...args);
      } catch (error) {
        console.error(error);
        box.show(`The view could not be drawn: ${error.message}\nRun the cell again; if it stays, report this:\n${error.stack || ""}`);
      }
    },
  };
  close.addEventListener("click", () => {
    box.show("");
    model.set("error", "");
    saveQuietly(model);
  });
  return box;
}

// A dead kernel must not stop the view.
function saveQuietly(model) {
  try {
    model.save_changes();
  } catch (error) {
    console.warn("the kernel did not take the new state:", error.message);
  }
}

// -- the app -----------------------------------------------------------------------------------

function makeApp(model, root, box) {
  const app = {
    cube: readCube(model.get("_layout"), model.get("_payload")),
    controls: model.get("_controls"),
    state: { ...model.get("state") },
    hover: { panel: null, at: null },
    look: 0,
    generation: 0,
  };
  const frame = makeFrameLoop(box.guard(() => drawAll(app)));
  app.draw = frame.ask;
  app.save = () => {
    model.set("state", app.state);
    saveQuietly(model);
  };
  app.guard = box.guard;
  app.set = box.guard((patch, { later = false } = {}) => {
    app.state = { ...app.state, ...patch };
    app.panel.show(app.state);
    app.draw();
    if (!later) app.save();
    if (Object.keys(patch).some((name) => app.cube.dims.has(name))) app.announce(() => describeState(app));
  });
  app.send = (message) => model.send(message);
  const live = makeLiveRegion();
  app.announce = live.say;
  app.panel = makeControls(app);
  app.trainer = makeTrainer(app);
  app.views = model.get("_views").map((spec, index) => makeView(app, spec, index));
  app.grid = make("div", { class: "xm-views" }, ...app.views.map((view) => view.element));
  const title = model.get("title");
  const body = make("div", { class: "xm-main" });
  if (title) body.append(make("div", { class: "xm-heading" }, title));
  body.append(app.panel.element, app.trainer.element, app.grid, live.element);
  root.querySelector(":scope > .xm-main")?.remove();
  root.append(body);
  root.xmodal = app; // for tests and for the curious: the live state and what each panel shows
  app.panel.show(app.state);
  app.trainer.show(model.get("_job"));
  const listeners = listen(app, model, root, box, body);
  if (root.isConnected) box.guard(() => appear(app, root))(); // else the size observer does, once it is on the page
  app.close = () => {
    listeners();
    frame.stop();
  };
  return app;
}

function listen(app, model, root, box, body) {
  const onState = box.guard(() => {
    const state = model.get("state");
    if (JSON.stringify(state) === JSON.stringify(app.state)) return;
    app.state = { ...state };
    app.panel.show(app.state);
    app.draw();
  });
  const onJob = box.guard(() => app.trainer.show(model.get("_job")));
  model.on("change:state", onState);
  model.on("change:_job", onJob);
  const stopTheme = watchTheme(box.guard(() => {
    if (!root.isConnected) return;
    restyle(app, root);
    app.draw();
  }));
  const sizes = new ResizeObserver(box.guard(() => appear(app, root)));
  sizes.observe(body);
  return () => {
    model.off("change:state", onState);
    model.off("change:_job", onJob);
    stopTheme();
    sizes.disconnect();
  };
}

function makeFrameLoop(draw) {
  let asked = 0;
  return {
    ask: () => {
      if (!asked) {
        asked = requestAnimationFrame(() => {
          asked = 0;
          draw();
        });
      }
    },
    stop: () => cancelAnimationFrame(asked),
  };
}

// On the page for the first time, or in a new size. A view that is not on the page has no colours and no width.
function appear(app, root) {
  if (!root.clientWidth) return;
  if (!app.theme) restyle(app, root);
  layOut(app, root);
  drawAll(app);
}

function drawAll(app) {
  if (!app.theme) return;
  for (const view of app.views) updateView(view);
}

function restyle(app, root) {
  app.theme = readTheme(root);
  app.look++;
}

// Single views share rows evenly, four at most: on a projector they grow. A view with columns takes a row of its own.
function layOut(app, root) {
  const width = root.clientWidth;
  root.style.fontSize = `${Math.max(13, Math.min(16, Math.round(8 + width / 200)))}px`;
  const singles = app.views.filter((view) => view.panels.length === 1);
  const narrowest = Math.max(...singles.map((view) => leastWidth(app.cube, view.spec)));
  const fitting = Math.max(1, Math.min(4, singles.length, Math.floor(width / narrowest)));
  const columns = singles.length ? Math.ceil(singles.length / Math.ceil(singles.length / fitting)) : 1;
  app.grid.style.setProperty("--columns", columns);
  const alone = app.views.length === 1 && singles.length === 1; // one picture on a wide screen need not fill it
  app.grid.classList.toggle("xm-alone", alone);
  for (const view of app.views) {
    const many = view.panels.length;
    view.element.classList.toggle("xm-wide", many > 1);
    const across = Math.max(1, Math.min(many, Math.floor((width - COLORBAR_WIDTH) / 190)));
    const even = Math.ceil(many / Math.ceil(many / across));
    view.row.style.setProperty("--across", even);
    const each = many > 1 ? (width - COLORBAR_WIDTH) / even : Math.min(width, alone ? 900 : Infinity) / columns;
    view.width = width;
    view.height = Math.round(Math.max(230, Math.min(520, each * (many > 1 ? 0.92 : 0.68))));
  }
  app.look++;
}

// Bars need room for the names under them.
const leastWidth = (cube, spec) => (spec.kind === "bars" ? Math.max(285, Math.min(420, 60 + 52 * cube.dims.get(spec.x).size)) : 285);

// -- what a screen reader hears ------------------------------------------------------------------

function makeLiveRegion() {
  const element = make("div", { class: "xm-hidden", role: "status", "aria-live": "polite" });
  let timer = 0;
  return {
    element,
    // Waits until the slider rests, so that a drag is one sentence.
    say: (words) => {
      clearTimeout(timer);
      timer = setTimeout(() => (element.textContent = typeof words === "function" ? words() : words), 350);
    },
  };
}

function describeState(app) {
  const settings = app.controls.map(({ dim: name }) => {
    const dim = app.cube.dims.get(name);
    const value = app.state[name];
    if (value === "mean") return `${dim.label}: mean`;
    const word = dim.numeric ? valueText(dim, value) : dim.words[dim.exact.get(value)];
    return `${dim.label} ${word}${onGrid(dim, value) ? "" : ", interpolated"}`;
  });
  const shown = app.views.flatMap((view) => view.panels.map((panel) => describePanel(view, panel)));
  return `${settings.join(", ")}. ${shown.join(". ")}`;
}
