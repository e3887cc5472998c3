// The whole: state, one frame for all panels, errors. anywidget calls render({ model, el }).

import { joinCube, onGrid, readCube, relaidCube, sameAxes, within } from "../data/cube.js";
import { PAGE } from "../data/palette.js";
import { readTheme, watchTheme } from "../data/theme.js";
import { makeControls, valueText } from "./controls.js";
import { make } from "./dom.js";
import { keepReal } from "./corners.js";
import { makeEffects } from "./effects.js";
import { layOut } from "./layout.js";
import { describePanel, makeView, opensOf, updateView, variablesOf } from "./panel.js";
import { makeTools } from "./tools.js";
import { makeTrainer } from "./train.js";

export function render({ model, el }) {
  const root = make("div", { class: "xm-root" });
  el.append(root);
  const box = makeErrorBox(model);
  root.append(box.element);
  const store = makeStore(model);
  // An output that is written anew, as when its static picture comes, shows the view where it stood.
  const left = store.left();
  let app = left ? left.app() : null;
  const here = { el, root, focused: null, app: () => app, close: () => close() };
  const found = (name) => [...root.querySelectorAll("input, select, button, canvas")].find((e) => nameOf(e) === name);
  watchFocus(root, here);
  store.enter(here);
  const build = box.guard(() => {
    const old = app;
    const focused = root.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    app = makeApp(model, root, box, store.cube(), old);
    if (old) old.close();
    if (focused) found(focused)?.focus();
  });
  const rebuild = () => queueMicrotask(build); // layout and payload arrive together: build once, after both
  const onError = () => box.show(model.get("error"));
  const onMessage = box.guard((message, buffers) => {
    if (message.kind === "picture") app.views[message.index].own.take(message.key, buffers[0]);
    const taken = { joined: store.join, draft: store.draft, dropped: store.drop }[message.kind];
    if (taken && taken(message, buffers[0])) hold.pass();
  });
  const refresh = box.guard(() => {
    const cube = store.cube();
    if (sameAxes(app.cube, cube)) app.replace(cube);
    else build();
  });
  const hold = makeHold(root, refresh);
  model.on("change:_payload", rebuild);
  model.on("change:_layout", rebuild);
  model.on("change:error", onError);
  model.on("msg:custom", onMessage);
  onError();
  build();
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    model.off("change:_payload", rebuild);
    model.off("change:_layout", rebuild);
    model.off("change:error", onError);
    model.off("msg:custom", onMessage);
    store.close();
    hold.close();
    if (app) app.close();
    root.remove();
  };
  if (left) {
    const name = left.focused;
    if (name) whenShown(root, () => document.activeElement === document.body && found(name)?.focus({ preventScroll: true }));
    left.close();
  }
  return close;
}

// By name, what has the focus here; kept when the root is taken from the page, since then nobody has moved on.
function watchFocus(root, place) {
  root.addEventListener("focusin", (event) => (place.focused = nameOf(event.target)));
  root.addEventListener("focusout", () => setTimeout(() => {
    if (root.isConnected && !root.contains(document.activeElement)) place.focused = null;
  }));
}

function whenShown(root, then) {
  const sizes = new ResizeObserver(() => {
    if (!root.isConnected) return;
    sizes.disconnect();
    then();
  });
  sizes.observe(root);
}

// While the reader holds something, nothing is built anew under the hand: what came is shown on release.
function makeHold(root, show) {
  let held = false;
  let came = false;
  const press = () => (held = true);
  const release = () => {
    held = false;
    if (came) setTimeout(() => held || show(), 30); // after the click that the release makes
    came = came && held;
  };
  root.addEventListener("pointerdown", press);
  const ends = ["pointerup", "pointercancel", "blur"];
  ends.forEach((name) => window.addEventListener(name, release));
  return {
    pass: () => {
      if (held) came = true;
      else show();
    },
    close: () => ends.forEach((name) => window.removeEventListener(name, release)),
  };
}

// The cube of a view, with what was trained since it was sent. All places where a page shows one view share it; a place
// that missed a change asks for the whole.
function makeStore(model) {
  const id = model.get("_layout").id;
  const entry = PAGE.cubes.get(id) || { version: -1, cube: null, draft: null, number: 0, places: new Set() };
  PAGE.cubes.set(id, entry);
  let here = null;
  return {
    // A place that was on the page and was taken from it alone, without a word: not a cell that is out of sight.
    left: () => [...entry.places].find((place) => place.app()?.theme && place.root.getRootNode() === place.el),
    enter: (place) => entry.places.add((here = place)),
    cube: () => {
      const layout = model.get("_layout");
      const wanted = model.get("_version") || 0;
      if (entry.version === wanted) return entry.draft || entry.cube;
      if ((layout.version || 0) > entry.version) {
        entry.cube = readCube(layout, model.get("_payload"));
        entry.version = layout.version || 0;
        entry.draft = null;
      }
      if (entry.version !== wanted) model.send({ kind: "whole" });
      return entry.cube;
    },
    join: (message, payload) => {
      const { version } = message.layout;
      if (entry.version === version - 1) {
        entry.cube = joinCube(entry.cube, message, payload);
        entry.version = version;
        entry.draft = null;
      }
      if (entry.version >= version) return true;
      model.send({ kind: "whole" });
      return false;
    },
    // What is known so far of a setting in work lies over the cube, until the whole result comes or it is given up.
    draft: (message, payload) => {
      if (entry.version !== message.version) return false;
      if (entry.number >= message.number) return true; // another place that shows this view has taken it
      if (message.layout) entry.draft = joinCube(entry.cube, message, payload);
      else if (entry.draft) entry.draft = relaidCube(entry.draft, message.slabs, payload);
      entry.number = message.number;
      return Boolean(entry.draft);
    },
    drop: (message) => {
      if (entry.number < message.number) entry.draft = null;
      entry.number = Math.max(entry.number, message.number);
      return true;
    },
    close: () => {
      entry.places.delete(here);
      if (!entry.places.size) PAGE.cubes.delete(id);
    },
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

function makeApp(model, root, box, cube, old) {
  const app = {
    cube,
    mayTrain: Boolean(model.get("_job").possible),
    controls: model.get("_controls"),
    state: { ...model.get("state") },
    hover: { panel: null, at: null },
    look: 0,
    generation: 0,
  };
  const frame = makeFrameLoop(box.guard(() => drawAll(app)));
  app.draw = frame.ask;
  const saver = makeSaver(model);
  app.outdated = saver.outdated;
  app.save = () => {
    model.set("state", app.state);
    saver.ask();
  };
  app.guard = box.guard;
  app.set = box.guard((asked, { later = false } = {}) => {
    let patch = asked;
    for (const { spec } of app.views) if (spec.corners) patch = keepReal(app.cube, spec.corners, app.state, patch);
    app.state = { ...app.state, ...patch };
    show(app);
    answer(app, root, Object.keys(patch));
    frame.now();
    if (!later) app.save();
    if (Object.keys(patch).some((name) => app.cube.dims.has(name))) app.announce(() => describeState(app));
  });
  app.replace = (cube) => {
    app.cube = cube;
    app.generation++;
    app.draw();
  };
  app.send = (message) => model.send(message);
  app.asked = old ? old.asked : settingOf(app);
  app.pin = old ? old.pin : null;
  app.base = old ? old.base : new Map([...cube.dims].map(([name, dim]) => [name, dim.values])); // before any training here
  const live = makeLiveRegion();
  app.announce = live.say;
  app.panel = makeControls(app);
  app.trainer = makeTrainer(app);
  app.views = model.get("_views").map((spec, index) => makeView(app, spec, index));
  app.grid = make("div", { class: "xm-views" }, ...app.views.map((view) => view.element));
  app.focus = Math.min(old ? old.focus : 0, app.views.length - 1);
  app.enlarge = box.guard((index) => {
    if (index === app.focus) return;
    app.focus = index;
    layOut(app, root);
    drawAll(app);
  });
  const title = model.get("title");
  const body = make("div", { class: "xm-main" });
  if (title) body.append(make("div", { class: "xm-heading" }, title));
  app.tools = makeTools(app);
  app.effects = makeEffects(app, (name) => app.views.map((view) => openIn(app.cube, view.spec, name)));
  const actions = make("div", { class: "xm-actions" }, app.trainer.element, app.tools.element);
  app.side = make("div", { class: "xm-side" }, app.panel.element, actions, app.trainer.status, app.tools.more);
  app.screen = make("div", { class: "xm-screen" }, app.side, app.grid);
  body.append(app.screen, live.element);
  root.querySelector(":scope > .xm-main")?.remove();
  root.append(body);
  body.addEventListener("pointerdown", app.guard(app.trainer.held));
  for (const name of ["change", "pointerup", "keyup"]) body.addEventListener(name, app.guard(app.trainer.released));
  root.xmodal = app; // for tests and for the curious: the live state and what each panel shows
  show(app);
  app.trainer.show(model.get("_job"));
  const listeners = listen(app, model, root, box, body);
  if (root.isConnected) box.guard(() => appear(app, root))(); // else the size observer does, once it is on the page
  app.close = () => {
    app.trainer.close();
    app.panel.close();
    app.effects.stop();
    for (const view of app.views) if (view.own) view.own.close();
    listeners();
    frame.stop();
    saver.close();
  };
  return app;
}

function listen(app, model, root, box, body) {
  const onState = box.guard(() => {
    const state = model.get("state");
    if (JSON.stringify(state) === JSON.stringify(app.state)) return;
    if (app.outdated(state)) {
      model.set("state", app.state);
      return;
    }
    app.state = { ...state };
    show(app);
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

// One picture for each frame of the screen. What the reader did is drawn at once, so that the next frame shows it; what
// comes before that frame waits for it.
function makeFrameLoop(draw) {
  let frame = 0;
  let asked = false;
  const wait = () => {
    frame = frame || requestAnimationFrame(() => {
      frame = 0;
      if (asked) draw();
      asked = false;
    });
  };
  return {
    ask: () => {
      asked = true;
      wait();
    },
    now: () => {
      if (frame) asked = true;
      else {
        draw();
        wait();
      }
    },
    stop: () => cancelAnimationFrame(frame),
  };
}

// The kernel, and what the front end draws of its being busy, come after the picture; many moves are one message.
const AFTER = 30; // milliseconds: two frames of a screen
const ECHO = 5000; // milliseconds within which an answer to a move comes (ours)
function makeSaver(model) {
  let waiting = 0;
  let sent = []; // what the kernel was told and may still answer to: [state, when]
  const save = () => {
    waiting = 0;
    sent.push([JSON.stringify(model.get("state")), performance.now()]);
    saveQuietly(model);
  };
  return {
    ask: () => (waiting = waiting || setTimeout(save, AFTER)),
    // Whether a state is the kernel's answer to an earlier move than the last: it would undo that.
    outdated: (state) => {
      if (waiting) return true;
      sent = sent.filter(([, when]) => performance.now() - when < ECHO);
      const words = JSON.stringify(state);
      const at = sent.findIndex(([told]) => told === words);
      const last = at === sent.length - 1;
      sent = sent.slice(at + 1);
      return at >= 0 && !last;
    },
    close: () => {
      if (!waiting) return;
      clearTimeout(waiting);
      save();
    },
  };
}

// On the page for the first time, or in a new size. A view that is not on the page has no colours and no width.
function appear(app, root) {
  if (!root.clientWidth) return;
  if (!app.theme) restyle(app, root);
  layOut(app, root);
  drawAll(app);
}

function show(app) {
  app.panel.show(app.state);
  app.trainer.showState(app.state);
}

const settingOf = (app) => JSON.stringify(app.controls.map(({ dim }) => app.state[dim]));

function drawAll(app) {
  if (!app.theme) return;
  for (const view of app.views) updateView(view);
  const settled = JSON.stringify([app.controls.map(({ dim }) => app.state[dim]), app.generation]);
  if (settled === app.settled) return;
  app.settled = settled;
  app.tools.show();
  app.effects.later();
}

// The variables of a view that a control could change, and the dimensions that it draws itself.
function openIn(cube, spec, name) {
  const opens = opensOf(cube, spec);
  if (!opens.has(name)) return { variables: [], keep: [] };
  const variables = variablesOf(spec);
  return { variables, keep: [...new Set(variables.flatMap((v) => cube.vars.get(v).dims))].filter((d) => !opens.has(d)) };
}

function restyle(app, root) {
  app.theme = readTheme(root);
  app.look++;
}

// The picture that answers the moved control comes first and largest; it stays, if it answers too.
function answer(app, root, names) {
  const moved = names.filter((name) => app.cube.dims.has(name));
  const answers = (view) => moved.some((name) => opensOf(app.cube, view.spec).has(name));
  if (!moved.length || app.views.length < 3 || answers(app.views[app.focus])) return;
  const first = app.views.findIndex(answers);
  if (first >= 0) app.enlarge(first);
}

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
    const word = dim.numeric ? valueText(dim, value) : (dim.words[dim.exact.get(value)] ?? value);
    return `${dim.label} ${word}${onGrid(dim, value) ? "" : within(dim, value) ? ", interpolated" : ", not computed"}`;
  });
  const shown = app.views.flatMap((view) => view.panels.map((panel) => describePanel(view, panel)));
  return `${settings.join(", ")}. ${shown.join(". ")}`;
}
