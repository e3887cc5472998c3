// A view's element: header, legend, one canvas per panel, colour bar, read-out. Pointer and keys.

import { extent, take, whyNothing } from "../data/cube.js";
import { readable, titled, valueScale } from "../data/numbers.js";
import { nameColor, nameDash } from "../data/palette.js";
import { fitCanvas, drawMark, drawMarkValue, drawNotice, drawColorbar } from "../draw/canvas.js";
import { classColor } from "../draw/intervals.js";
import { classesOf, SHAPES } from "../draw/scatter.js";
import { hueStyle } from "../draw/series.js";
import { dragCorner, grabCorner } from "./corners.js";
import { make, mark } from "./dom.js";
import { KINDS } from "./kinds.js";
import { paletteOf } from "./kinds/scales.js";
import { makeOwn } from "./own.js";

const TURN = 5; // degrees per arrow key
const ZOOM_STEP = 1.15;

export function makeView(app, spec, index) {
  const kind = KINDS[spec.kind];
  const view = { app, spec, index, kind, panels: [], drawn: "", read: "" };
  const title = make("div", { class: "xm-title" }, spec.title || viewTitle(app.cube, spec));
  view.badge = make("span", { class: "xm-badge", hidden: true }, "interpolated");
  view.log = toggle("log", "Logarithmic (log10) scale of values", () => flip(app, "log", index));
  view.fit = toggle("fit", "Fit the scale to what is shown now, instead of the whole cube", () => flip(app, "fit", index));
  view.legend = make("ul", { class: "xm-legend" });
  view.said = make("div", { class: "xm-said", hidden: !kind.say || !spec.words });
  view.row = make("div", { class: "xm-panels" });
  view.colorbar = make("canvas", { class: "xm-colorbar", "aria-hidden": "true" });
  view.grow = make("button", { type: "button", class: "xm-toggle xm-grow", title: "Enlarge", "aria-label": `enlarge ${title.textContent}` }, "\u2922");
  view.grow.addEventListener("click", () => app.enlarge(index));
  view.body = make("div", { class: "xm-body" }, view.row, view.colorbar);
  view.element = make("section", { class: `xm-view xm-${spec.kind}`, "aria-label": title.textContent },
    make("div", { class: "xm-view-head" }, title, view.badge, make("span", { class: "xm-tools" }, view.log, view.fit, view.grow)),
    view.said, view.legend, view.body);
  view.hasBar = kind.bar(app.cube, spec);
  view.element.addEventListener("click", (event) => view.small && !event.target.closest("button") && app.enlarge(index));
  const columns = spec.col ? app.cube.dims.get(spec.col) : null;
  for (let c = 0; c < (columns ? columns.size : 1); c++) view.panels.push(makePanel(view, columns, c));
  view.row.append(...view.panels.map((p) => p.element));
  if (spec.kind === "own") view.own = makeOwn(view, index);
  fillLegend(view);
  return view;
}

function viewTitle(cube, spec) {
  if (spec.kind === "scatter") return `${cube.vars.get(spec.x).label}, ${cube.vars.get(spec.y).label}`;
  return titled(cube.vars.get(spec.var));
}

function toggle(word, help, clicked) {
  const button = make("button", { type: "button", class: "xm-toggle", "aria-pressed": "false", title: help, "aria-label": help }, word);
  button.addEventListener("click", clicked);
  return button;
}

function flip(app, name, index) {
  app.set({ [name]: app.state[name].map((on, k) => (k === index ? !on : on)) });
}

function fillLegend(view) {
  const { app: { cube }, spec } = view;
  if (spec.kind === "intervals") intervalLegend(view);
  else if (spec.kind === "scatter") {
    const classes = classesOf(cube, spec) || [];
    if (classes.length) headLegend(view.legend, titled(cube.vars.get(spec.color)));
    classes.forEach(({ name }, k) => {
      const dot = spec.curves ? curveSwatch(nameColor(k), nameDash(k)) : (ctx) => {
        ctx.fillStyle = nameColor(k);
        ctx.beginPath();
        SHAPES[k % SHAPES.length](ctx, 8, 7, 5);
        ctx.fill();
      };
      view.legend.append(make("li", {}, makeSwatch(spec.curves ? 30 : 16, dot), name));
    });
  } else if (spec.hue) {
    const dim = cube.dims.get(spec.hue);
    const stride = dim.numeric ? Math.ceil(dim.size / 8) : 1; // of many numbers, a few give the scale
    headLegend(view.legend, titled(dim));
    dim.words.forEach((word, h) => {
      if (h % stride === 0) view.legend.append(make("li", {}, hueSwatch(cube, spec, h), word));
    });
  }
  if (spec.floor) view.legend.append(make("li", { class: "xm-note" }, makeSwatch(30, curveSwatch("#808080", [5, 4])), titled(cube.vars.get(spec.floor))));
  if (spec.path) view.legend.append(make("li", { class: "xm-note" }, "\u25CB start  \u25CF end of training"));
  if (spec.band) view.legend.append(make("li", { class: "xm-note" }, spec.versus ? `paired over ${spec.band}, 95 % interval` : `mean over ${spec.band}, 95 % interval`));
  view.legend.hidden = !view.legend.childElementCount;
}

// The words by their colours, and what the marks are.
function intervalLegend({ app: { cube }, spec, legend }) {
  const shape = (draw, k) => makeSwatch(16, (ctx) => {
    ctx.beginPath();
    draw(ctx, 8, 7, 4.5);
    if (k === undefined) {
      ctx.strokeStyle = "gray"; // told apart on a page of either colour
      ctx.lineWidth = 1.5;
      ctx.stroke();
    } else {
      ctx.fillStyle = classColor(spec, k);
      ctx.fill();
    }
  });
  const classes = (spec.color && classesOf(cube, spec)) || [];
  if (classes.length) headLegend(legend, titled(cube.vars.get(spec.color)));
  classes.forEach(({ name }, k) => legend.append(make("li", {}, shape(SHAPES[0], k), name)));
  if (spec.mark) legend.append(make("li", {}, shape(SHAPES[3]), cube.vars.get(spec.mark).label));
}

// What the colours stand for, before the names (by CSS: it is no item of the list).
function headLegend(legend, words) {
  legend.dataset.of = words;
  legend.setAttribute("aria-label", words);
}

// Colour, and the second cue: the dashes of a line, the shape of a point.
function hueSwatch(cube, spec, h) {
  const { color, dash } = hueStyle(cube, spec, h);
  if (spec.kind === "bars") {
    return makeSwatch(14, (ctx) => {
      ctx.fillStyle = color;
      ctx.fillRect(1, 1, 12, 12);
    });
  }
  return makeSwatch(30, curveSwatch(color, dash));
}

const curveSwatch = (color, dash) => (ctx) => {
  ctx.strokeStyle = color;
  ctx.lineWidth = 2.5;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(1, 7);
  ctx.lineTo(29, 7);
  ctx.stroke();
};

function makeSwatch(width, draw) {
  const canvas = document.createElement("canvas");
  canvas.className = "xm-swatch";
  canvas.setAttribute("aria-hidden", "true");
  canvas.style.width = `${width}px`;
  draw(fitCanvas(canvas, width, 14));
  return canvas;
}

// -- drawing -----------------------------------------------------------------------------------

// The part of the state that decides what a view shows; when it did not change, nothing is read or drawn.
function readKey(view) {
  const { app, spec } = view;
  const dims = new Set(variablesOf(spec).flatMap((name) => app.cube.vars.get(name).dims));
  const settings = [...dims, ...(spec.at ? [spec.at] : [])].map((name) => app.state[name]);
  return JSON.stringify([settings, app.state.log[view.index], app.state.fit[view.index], app.generation]);
}

// The dimensions that a view leaves to controls.
export function opensOf(cube, spec) {
  if (spec.kind === "own") return new Set(spec.vars.flatMap((name) => cube.vars.get(name).dims).filter((name) => !spec.over.includes(name)));
  const own = [{ scatter: spec.points, intervals: spec.rows }[spec.kind] ?? spec.x, spec.y, spec.hue, spec.band, spec.col];
  if (spec.marks) own.push(spec.along);
  for (const drawn of [spec.under, spec.path]) if (drawn) own.push(...cube.vars.get(drawn).dims.slice(-2));
  const all = variablesOf(spec).flatMap((name) => cube.vars.get(name).dims);
  return new Set([...all.filter((name) => !own.includes(name)), ...(spec.at ? [spec.at] : [])]);
}

// The variables that a view reads.
export function variablesOf(spec) {
  const named = {
    own: () => spec.vars,
    scatter: () => [spec.x, spec.y, spec.color],
    intervals: () => [spec.var, spec.low, spec.high, spec.mark, spec.margin, spec.color],
  }[spec.kind] || (() => [spec.var, spec.under, spec.path, spec.floor, spec.marks]);
  return named().filter(Boolean);
}

export function updateView(view) {
  const { app, spec, kind } = view;
  const key = readKey(view);
  if (key !== view.read) {
    view.read = key;
    readView(view);
  }
  const camera = spec.kind === "surface" ? [app.state.azimuth, app.state.elevation, app.state.zoom] : null;
  const look = JSON.stringify([key, camera, app.look, view.small, view.height, marksOf(view)]);
  if (look === view.drawn) return;
  view.drawn = look;
  const values = view.hasBar && view.spans.value && view.showBar;
  view.colorbar.hidden = !values;
  if (values) drawBar(view);
  for (const panel of view.panels) drawPanel(view, panel);
}

// The bar is drawn anew where it would be another one, not for every picture beside it.
function drawBar(view) {
  const { app, spec, scale } = view;
  const title = colorTitle(app.cube, spec);
  const shown = JSON.stringify([view.barHeight, scale.lo, scale.hi, scale.log, title, app.look, window.devicePixelRatio]);
  if (shown === view.barDrawn) return;
  view.barDrawn = shown;
  drawColorbar(view.colorbar, view.barHeight, scale, title, app.theme, paletteOf(spec, app.theme));
}

const colorTitle = (cube, spec) => titled(cube.vars.get(spec.kind === "scatter" ? spec.color : spec.var));

function readView(view) {
  const { app, spec, kind } = view;
  const settings = view.panels.map((_, c) => panelSetting(app, spec, c));
  const slices = settings.map((setting) => kind.read(app.cube, spec, setting));
  const pinned = app.pin && settings.map((_, c) => panelSetting({ ...app, state: app.pin }, spec, c));
  const ghosts = pinned ? pinned.map((setting) => kind.read(app.cube, spec, setting)) : [];
  const positive = !["scatter", "intervals", "own"].includes(spec.kind) && app.cube.vars.get(spec.var).positive !== null;
  const log = positive && app.state.log[view.index];
  view.spans = kind.spans(app.cube, spec, [...slices, ...ghosts], app.state.fit[view.index], log);
  view.scale = view.spans.value ? valueScale(...view.spans.value, log) : null;
  const shown = extent(slices, log);
  view.panels.forEach((panel, c) => {
    Object.assign(panel, { cube: app.cube, spec, setting: settings[c], slice: slices[c], ghost: ghosts[c] || null, scale: view.scale, spans: view.spans, shown });
  });
  if (!view.said.hidden) say(view, slices[0]);
  view.badge.hidden = !slices.some((s) => s.interpolated);
  view.log.hidden = !positive;
  view.fit.hidden = Boolean(spec.limits) || spec.kind === "own";
  mark(view.log, "aria-pressed", String(app.state.log[view.index]));
  mark(view.fit, "aria-pressed", String(app.state.fit[view.index]));
}

// The sentence below the heading: in full where the picture is large, and always for the pointer.
function say(view, slice) {
  const { short, long } = view.kind.say(view.app.cube, view.spec, slice);
  if (view.said.title === long) return;
  view.said.replaceChildren(make("span", { class: "xm-long" }, long), make("span", { class: "xm-short", "aria-hidden": "true" }, short));
  view.said.title = long;
}

function panelSetting(app, spec, c) {
  if (!spec.col) return app.state;
  return { ...app.state, [spec.col]: app.cube.dims.get(spec.col).values[c] };
}

function drawPanel(view, panel) {
  const { app, kind } = view;
  const size = { width: panel.canvas.clientWidth, height: view.height };
  if (!size.width) return;
  const ctx = fitCanvas(panel.canvas, size.width, size.height);
  Object.assign(panel, { size, theme: app.theme, state: app.state, compact: view.compact });
  panel.ready = Boolean(view.scale && panel.shown) && panel.slice.values.some(Number.isFinite);
  if (panel.ready) kind.draw(ctx, panel);
  else drawNotice(ctx, size, app.theme, noticeOf(view, panel));
  const at = panel.ready && markOf(view);
  const spot = at && kind.spot(panel, at);
  if (spot) drawMark(ctx, spot.x, spot.y, app.theme);
  if (spot && panel !== app.hover.panel) drawMarkValue(ctx, size, spot, kind.value(panel, at), app.theme);
  if (panel === app.hover.panel) showReadout(panel, at, spot);
  mark(panel.canvas, "aria-label", describePanel(view, panel));
}

// Why a panel is empty: as its sweep said; else as the view says, where its setting was computed; else it was not.
function noticeOf({ app, spec }, panel) {
  const told = whyNothing(app.cube, variablesOf(spec), panel.setting);
  if (told) return told;
  if (spec.kind !== "own" && isComputed(app, variablesOf(spec)[0], panel.setting)) return spec.absent || "has no value here";
  return app.mayTrain ? `${NOTHING}: Train here` : NOTHING;
}
const NOTHING = "nothing computed here yet";

// Whether another variable that hangs on the same controls has a number at this setting.
function isComputed(app, name, setting) {
  const { cube } = app;
  const controls = (v) => v.dims.filter((dim) => app.controls.some((c) => c.dim === dim));
  const wanted = controls(cube.vars.get(name));
  return [...cube.vars.values()].some((v) => {
    if (v.name === name || v.extra || !wanted.every((dim) => v.dims.includes(dim))) return false;
    const kept = v.dims.filter((dim) => !controls(v).includes(dim));
    return take(cube, v.name, setting, kept).values.some(Number.isFinite);
  });
}

// The marked point, if this view has all its dimensions.
function markOf(view) {
  const { at } = view.app.hover;
  if (!at) return null;
  const names = view.kind.steps({ spec: view.spec }).filter(Boolean);
  return names.every((name) => at[name] !== undefined && at[name] < view.app.cube.dims.get(name).size) ? at : null;
}
const marksOf = (view) => [markOf(view), view.panels.indexOf(view.app.hover.panel)];

export function describePanel(view, panel) {
  const { spec, app: { cube } } = view;
  const word = spec.kind === "own" ? "panel" : spec.kind === "heatmap" ? "heat map" : spec.kind === "density" ? "spectral density" : spec.kind;
  const column = panel.column ? `, ${panel.column}` : "";
  if (!panel.ready) return `${word}${column}: ${noticeOf(view, panel)}`;
  if (panel.words) return panel.words;
  const range = extent([panel.slice], false);
  const what = viewTitle(cube, spec);
  const over = (spec.over || view.kind.steps(panel).filter(Boolean)).join(" and ") || "nothing else";
  const interpolated = panel.slice.interpolated ? ", interpolated" : "";
  return `${word} of ${what} over ${over}${column}: from ${readable(range[0])} to ${readable(range[1])}${interpolated}`;
}

// -- one panel ---------------------------------------------------------------------------------

function makePanel(view, columns, c) {
  const { spec } = view;
  const column = columns ? columns.words[c] : "";
  const help = spec.kind === "surface"
    ? "Drag or arrow keys: rotate. Plus and minus: zoom. 0: reset. Shift and arrow keys: read values."
    : "Arrow keys: read values. Escape: stop.";
  const canvas = make("canvas", { class: "xm-canvas", role: "img", tabindex: 0, "aria-label": "", "aria-description": help });
  const readout = make("div", { class: "xm-readout", "aria-hidden": "true", hidden: true });
  const element = make("div", { class: "xm-panel" });
  if (column) element.append(make("div", { class: "xm-panel-title" }, column));
  element.append(make("div", { class: "xm-canvas-box" }, canvas, readout));
  const panel = { view, element, canvas, readout, column };
  listenPointer(view, panel);
  listenKeys(view, panel);
  return panel;
}

function showReadout(panel, at, spot) {
  const { readout, view } = panel;
  readout.hidden = !at;
  if (!at) return;
  const lines = view.kind.tell(panel, at);
  readout.replaceChildren(...lines.map((line, k) => make(k ? "div" : "strong", {}, line)));
  const place = spot || { x: panel.size.width / 2, y: panel.size.height / 2 };
  const right = place.x > panel.size.width / 2;
  readout.style.left = right ? "auto" : `${place.x + 14}px`;
  readout.style.right = right ? `${panel.size.width - place.x + 14}px` : "auto";
  readout.style.top = `${Math.max(0, Math.min(panel.size.height - 90, place.y - 20))}px`;
}

function setHover(app, panel, at) {
  const before = app.hover.panel;
  if (before && before !== panel) before.readout.hidden = true;
  if (panel && !at) panel.readout.hidden = true;
  app.hover = at ? { panel, at } : { panel: null, at: null };
  app.draw();
}

function listenPointer(view, panel) {
  const { app, spec, kind } = view;
  const { canvas } = panel;
  const on = (type, fn, options) => canvas.addEventListener(type, app.guard(fn), options);
  let grip = null;
  on("pointerdown", (event) => {
    const corner = view.small ? null : grabCorner(panel, event.offsetX, event.offsetY);
    if (corner) canvas.setPointerCapture(event.pointerId);
    grip = { corner, x: event.clientX, y: event.clientY, azimuth: app.state.azimuth, elevation: app.state.elevation, moved: false };
    if (spec.kind === "surface" && !view.small) canvas.setPointerCapture(event.pointerId);
  });
  on("pointermove", (event) => {
    if (grip && spec.kind === "surface" && !view.small) {
      const [dx, dy] = [event.clientX - grip.x, event.clientY - grip.y];
      grip.moved = grip.moved || Math.hypot(dx, dy) > 3;
      turn(app, grip.azimuth + dx * 0.5, grip.elevation + dy * 0.5);
      return;
    }
    if (grip && grip.corner) {
      grip.moved = true;
      app.set(dragCorner(panel, grip.corner, event.offsetX, event.offsetY), { later: true });
      return;
    }
    if (spec.corners && !view.small) canvas.style.cursor = grabCorner(panel, event.offsetX, event.offsetY) ? "grab" : "";
    if (panel.ready) setHover(app, panel, kind.pick(panel, event.offsetX, event.offsetY));
  });
  const release = () => {
    if (grip && grip.moved) app.save();
    grip = null;
  };
  on("pointerup", release);
  on("pointercancel", release);
  on("pointerleave", () => grip || setHover(app, panel, null));
  on("click", () => view.small || chooseFromAxis(view, panel));
  on("dblclick", () => spec.kind === "surface" && resetCamera(app));
  // The wheel scrolls the page until the surface has been clicked: a notebook must stay scrollable.
  on("wheel", (event) => {
    if (spec.kind !== "surface" || !(event.ctrlKey || document.activeElement === canvas || canvas.getRootNode().activeElement === canvas)) return;
    event.preventDefault();
    zoom(app, Math.exp(-event.deltaY * 0.002));
  }, { passive: false });
}

// A click on a bar or at an x that is also a control moves that control there.
function chooseFromAxis(view, panel) {
  const { app, spec } = view;
  if (!["lines", "bars"].includes(spec.kind) || !(spec.x in app.state) || !app.hover.at) return;
  const i = app.hover.at[spec.x];
  if (i !== undefined) app.set({ [spec.x]: app.cube.dims.get(spec.x).values[i] });
}

function listenKeys(view, panel) {
  const { app, spec } = view;
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  panel.canvas.addEventListener("keydown", app.guard((event) => {
    const arrow = arrows[event.key];
    if (arrow && spec.kind === "surface" && !event.shiftKey) {
      turn(app, app.state.azimuth + TURN * arrow[0], app.state.elevation + TURN * arrow[1]);
      app.save();
    } else if (arrow) walk(view, panel, arrow);
    else if (event.key === "Escape") setHover(app, panel, null);
    else if (spec.kind === "surface" && "+=".includes(event.key)) zoom(app, ZOOM_STEP);
    else if (spec.kind === "surface" && event.key === "-") zoom(app, 1 / ZOOM_STEP);
    else if (spec.kind === "surface" && event.key === "0") resetCamera(app);
    else return;
    event.preventDefault();
  }));
  panel.canvas.addEventListener("blur", () => app.hover.panel === panel && setHover(app, panel, null));
}

// Moves the mark by one grid step and says what stands there.
function walk(view, panel, [dx, dy]) {
  const { app, kind } = view;
  if (!panel.ready || !kind.steps(panel).length) return;
  const at = { ...(markOf(view) || {}) };
  kind.steps(panel).forEach((name, k) => {
    if (!name) return;
    const size = app.cube.dims.get(name).size;
    const start = at[name] === undefined ? Math.floor((size - 1) / 2) : at[name] + [dx, dy][k];
    at[name] = Math.max(0, Math.min(size - 1, start));
  });
  setHover(app, panel, at);
  app.announce(kind.tell(panel, at).join(", "));
}

function turn(app, azimuth, elevation) {
  const wrapped = ((((azimuth + 180) % 360) + 360) % 360) - 180;
  const round = (v) => Math.round(v * 10) / 10;
  app.set({ azimuth: round(wrapped), elevation: round(Math.max(0, Math.min(90, elevation))) }, { later: true });
}

function zoom(app, factor) {
  app.set({ zoom: Math.round(Math.max(0.4, Math.min(4, app.state.zoom * factor)) * 1000) / 1000 });
}

function resetCamera(app) {
  app.set({ ...CAMERA });
}

const CAMERA = { azimuth: -55, elevation: 30, zoom: 1 };
