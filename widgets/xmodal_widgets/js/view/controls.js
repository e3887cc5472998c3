// One control per open dimension: a slider on numbers, segments or a list on names. Native inputs, so that
// keyboard and screen readers work as everywhere else.

import { locate, onGrid, within } from "../data/cube.js";
import { minus, nearest, readable, titled, withUnits } from "../data/numbers.js";
import { PAGE } from "../data/palette.js";
import { make, mark, write } from "./dom.js";

// Each control is { element, show(value) }; it calls app.set({ dimension: value }).
export function makeControls(app) {
  const box = make("div", { class: "xm-controls", role: "group", "aria-label": "Controls" });
  const shown = app.controls.filter((c) => !c.hidden);
  let group = "";
  const controls = shown.map((c) => {
    const dim = app.cube.dims.get(c.dim);
    const offers = app.mayTrain ? (c.offers || []).filter((v) => !onGrid(dim, v)) : [];
    const chosen = c.mean || !dim.numeric || dim.size === 1 || offers.length > 0;
    const control = chosen ? makeChoice(app, dim, c.mean, offers) : makeSlider(app, dim);
    if (c.group && c.group !== group) box.append(make("div", { class: "xm-group" }, (group = c.group)));
    box.append(control.element);
    return { dim: c.dim, ...control };
  });
  const between = app.controls.some((c) => !c.hidden && app.cube.dims.get(c.dim).kind === "float" && app.cube.dims.get(c.dim).size > 1);
  const free = "free" in app.state && between ? makeFree(app) : null;
  if (free) box.append(free.element);
  box.hidden = controls.length === 0;
  return {
    element: box,
    show: (state) => {
      for (const control of controls) control.show(state[control.dim], state);
      if (free) free.show(state.free);
    },
    // Grey, with the reason under it; none makes it plain again.
    mute: (name, why) => {
      for (const { dim, element } of controls) {
        if (dim !== name) continue;
        element.classList.toggle("xm-mute", Boolean(why));
        const note = element.querySelector(":scope > .xm-why") || element.appendChild(make("div", { class: "xm-why xm-note" }));
        write(note, why);
        note.hidden = !why;
      }
    },
    close: () => controls.forEach((control) => control.close && control.close()),
  };
}

export const valueText = (dim, value) =>
  withUnits(dim.kind === "float" ? readable(value) : minus(String(value)), dim.units);

function makeSlider(app, dim) {
  const scale = scaleOf(app.base.get(dim.name) || dim.values, dim.values);
  const id = `xm-control-${++PAGE.controls}`;
  const ticks = `${id}-ticks`;
  const [first, last] = [scale.at(0), scale.at(dim.size - 1)];
  const input = make("input", { type: "range", id, min: first, max: last, step: scale.even ? 1 : 0.01, list: ticks, "aria-label": titled(dim) });
  const list = make("datalist", { id: ticks }, ...dim.values.map((_, i) => make("option", { value: scale.at(i) })));
  const shown = make("output", { class: "xm-value", for: id });
  const badge = make("span", { class: "xm-badge", hidden: true });
  const other = makeOther(app, dim);
  const play = PLAYED.test(dim.name) && dim.size > 2 ? makePlay(app, dim) : null;
  if (play) other.button.unshift(play.element);
  const element = make("div", { class: "xm-control xm-slider" },
    make("div", { class: "xm-control-head" }, make("label", { for: id }, titled(dim)), shown, badge, ...other.button),
    ...other.field, input, list, tickMarks(dim, (i) => (last > first ? (scale.at(i) - first) / (last - first) : 0)));
  element.style.setProperty("--words", titled(dim).length + (dim.kind === "float" ? 21 : 8)); // room for value and badge
  const isFree = () => app.state.free && dim.kind === "float";
  input.addEventListener("input", () => {
    const place = scale.place(Number(input.value));
    app.set({ [dim.name]: valueAt(dim, isFree() ? place : Math.round(place)) });
    if (!isFree()) input.value = scale.at(Math.round(place)); // it stays on what was computed
  });
  // Where the steps are of several lengths, a key goes to the next value all the same.
  input.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!way || scale.even || isFree()) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(dim.size - 1, nearestPlace(dim, app.state[dim.name]) + way));
    app.set({ [dim.name]: dim.values[next] });
  });
  return {
    element,
    show: (value, state) => {
      const { index, share } = locate(dim, value);
      const place = index < 0 ? nearestPlace(dim, value) : index + share;
      mark(input, "step", scale.even && !(state.free && dim.kind === "float") ? "1" : "0.01");
      if (Math.abs(Number(input.value) - scale.at(place)) > 0.006) input.value = scale.at(place);
      badge.hidden = index >= 0 && share === 0;
      write(badge, index < 0 ? "not computed" : "interpolated");
      write(shown, valueText(dim, value));
      mark(input, "aria-valuetext", valueText(dim, value) + (badge.hidden ? "" : `, ${badge.textContent}`));
    },
    close: () => play && play.stop(),
  };
}

// Where values stand on a slider: the first grid's at even steps, and what was trained since at its share between its
// neighbours there, or as far beyond an end as the last step says. `at` takes a place among the values, `place` goes back.
export function scaleOf(base, values) {
  const known = base.filter((v) => values.includes(v));
  const spots = values.map((value) => {
    const exact = known.indexOf(value);
    if (exact >= 0 || known.length < 2) return exact >= 0 ? exact : values.indexOf(value);
    let i = 0;
    while (i < known.length - 2 && known[i + 1] < value) i++;
    const spot = i + (value - known[i]) / (known[i + 1] - known[i]);
    return Math.round(100 * Math.max(-REACH, Math.min(known.length - 1 + REACH, spot))) / 100;
  });
  for (let i = 1; i < spots.length; i++) spots[i] = Math.max(spots[i], spots[i - 1] + 0.01); // none lies on another
  const low = (list, v) => {
    let i = 0;
    while (i < list.length - 2 && list[i + 1] <= v) i++;
    return i;
  };
  return {
    even: spots.every((spot, i) => spot === i),
    at: (place) => {
      const i = Math.min(values.length - 1, Math.floor(place));
      return place === i ? spots[i] : spots[i] + (place - i) * (spots[i + 1] - spots[i]);
    },
    place: (spot) => {
      if (spots.length < 2) return 0;
      const i = low(spots, spot);
      return i + (spot - spots[i]) / (spots[i + 1] - spots[i]);
    },
  };
}
const REACH = 2; // steps beyond an end, at most (ours): further values share the rest

// Runs through an axis of time, a step after another; at its end it begins anew when it is pressed again.
const PLAYED = /^(epoch|epochs|step|steps|time|moment|checkpoint)$/;
const BEAT = 350; // milliseconds a step

function makePlay(app, dim) {
  const element = make("button", { type: "button", class: "xm-more xm-play", "aria-label": `play ${dim.label}`, "aria-pressed": "false" }, "\u25b6");
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    element.textContent = "\u25b6";
    element.setAttribute("aria-pressed", "false");
  };
  const step = () => {
    const at = nearest(dim.values, app.state[dim.name]);
    if (at >= dim.size - 1) stop();
    else app.set({ [dim.name]: dim.values[at + 1] }, { later: at + 1 < dim.size - 1 });
  };
  element.addEventListener("click", () => {
    if (timer) {
      stop();
      app.save();
      return;
    }
    if (nearest(dim.values, app.state[dim.name]) >= dim.size - 1) app.set({ [dim.name]: dim.values[0] }, { later: true });
    timer = setInterval(app.guard(step), BEAT);
    element.textContent = "\u23f8";
    element.setAttribute("aria-pressed", "true");
  });
  return { element, stop };
}

// Where a slider stands for a value that it cannot reach.
function nearestPlace(dim, value) {
  return nearest(dim.values, value);
}

// Where the view can train: a field for a value that the cube does not have, such as one beyond the ends or a new name.
function makeOther(app, dim) {
  if (!app.mayTrain || dim.kind === "bool") return { button: [], field: [] };
  const field = make("input", { type: "text", class: "xm-other", hidden: true, "aria-label": `another value of ${dim.label}`, placeholder: "another value, then Enter" });
  const button = make("button", { type: "button", class: "xm-more", "aria-expanded": "false", "aria-label": `type a value of ${dim.label}`, title: "Type any value; Train here computes it" }, "\u2026");
  const open = (on) => {
    field.hidden = !on;
    button.setAttribute("aria-expanded", String(on));
    if (on) field.focus();
    else button.focus();
  };
  button.addEventListener("click", () => open(field.hidden));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") open(false);
    if (event.key !== "Enter") return;
    const { value, wrong } = readValue(dim, field.value);
    field.setCustomValidity(wrong);
    if (wrong) field.reportValidity();
    else {
      app.set({ free: true, [dim.name]: value });
      field.value = "";
      open(false);
    }
  });
  field.addEventListener("input", () => field.setCustomValidity(""));
  return { button: [button], field: [field] };
}

// What was typed, as a value of the dimension; or what is wrong with it.
export function readValue(dim, text) {
  const plain = text.trim().replace("\u2212", "-");
  if (!plain) return { wrong: "Type a value." };
  if (!dim.numeric) return { value: plain, wrong: "" };
  const number = Number(plain);
  if (!Number.isFinite(number)) return { wrong: `Type a number; ${plain} is none.` };
  if (dim.kind === "int" && !Number.isInteger(number)) return { wrong: `${dim.label} counts: type a whole number.` };
  return { value: number, wrong: "" };
}

// Slider position (a grid index, possibly fractional) -> value.
function valueAt(dim, place) {
  const i = Math.min(dim.size - 1, Math.floor(place + 1e-9));
  const share = place - i;
  if (share < 1e-6) return dim.values[i];
  return dim.values[i] + share * (dim.values[i + 1] - dim.values[i]);
}

// A mark per grid value, and a few of them written out: as many as fit, the ends always.
function tickMarks(dim, shareOf) {
  const box = make("div", { class: "xm-ticks", "aria-hidden": "true" });
  const last = dim.size - 1;
  const stride = writtenStride(last, dim.words.join("").length / dim.size > 4 ? 3 : 5);
  dim.values.forEach((value, i) => {
    const written = i === 0 || i === last || (i % stride === 0 && last - i >= stride * 0.6);
    if (dim.size > 60 && !written) return;
    const mark = make("span", { class: written ? "xm-tick xm-tick-long" : "xm-tick" });
    mark.style.setProperty("--at", shareOf(i));
    if (written) mark.append(make("span", {}, dim.kind === "float" ? readable(value) : dim.words[i]));
    box.append(mark);
  });
  return box;
}

// Every how many marks one is written: at most `most` gaps, equal ones where possible.
function writtenStride(last, most) {
  const least = Math.max(1, Math.ceil(last / most));
  for (let stride = least; stride <= 2 * least; stride++) if (last % stride === 0) return stride;
  return least;
}

// Names, and seeds with their mean: a row of segments when short, else a list. Never interpolated.
// What the cube lacks and the view offers stands in its order among the others, dashed: it is computed when chosen.
function makeChoice(app, dim, mean, offers) {
  const options = dim.values.map((value, i) => ({ value, word: dim.words[i], offered: false }));
  options.push(...offers.map((value) => ({ value, word: dim.numeric ? minus(String(value)) : String(value), offered: true })));
  if (dim.numeric) options.sort((a, b) => a.value - b.value);
  if (mean && dim.size > 1) options.unshift({ value: "mean", word: `mean of ${dim.size}` });
  const short = options.length <= 7 && options.reduce((sum, o) => sum + o.word.length + 3, 0) <= 64;
  return short ? makeSegments(app, dim, options) : makeSelect(app, dim, options);
}

// The state that a choice asks for: what the cube lacks is reached with free controls only.
const chosenState = (dim, option) => (option.offered ? { free: true, [dim.name]: option.value } : { [dim.name]: option.value });
const OFFERED = "not in the cube: it is trained when chosen under Follow, or by Train here";

function makeSegments(app, dim, options) {
  const name = `xm-control-${++PAGE.controls}`;
  const inputs = options.map((option) => {
    const input = make("input", { type: "radio", name, value: String(option.value) });
    input.addEventListener("change", () => app.set(chosenState(dim, option)));
    return input;
  });
  const segments = options.map((option, k) => make("label", { class: option.offered ? "xm-segment xm-offered" : "xm-segment", title: option.offered && OFFERED }, inputs[k], make("span", {}, option.word)));
  const { other, show } = newValue(app, dim);
  const element = make("fieldset", { class: "xm-control xm-choice", role: "radiogroup", "aria-label": titled(dim) },
    make("legend", {}, titled(dim)), ...other.button, make("div", { class: "xm-segments" }, ...segments), ...other.field);
  return {
    element,
    show: (value) => {
      options.forEach((option, k) => (inputs[k].checked = option.value === value));
      show(value);
    },
  };
}

function makeSelect(app, dim, options) {
  const id = `xm-control-${++PAGE.controls}`;
  const select = make("select", { id, "aria-label": titled(dim) }, ...options.map((o, k) => make("option", { value: k, title: o.offered && OFFERED }, o.offered ? `${o.word} (to train)` : o.word)));
  select.addEventListener("change", () => app.set(chosenState(dim, options[select.value])));
  const { other, show } = newValue(app, dim);
  const offers = options.some((o) => o.offered) ? " xm-offers" : "";
  const element = make("div", { class: `xm-control xm-choice${offers}` }, make("label", { for: id }, titled(dim)), ...other.button, select, ...other.field);
  return {
    element,
    show: (value) => {
      select.value = options.findIndex((o) => o.value === value);
      show(value);
    },
  };
}

// The field for another value, and a badge that names the one which stands there now.
function newValue(app, dim) {
  const badge = make("span", { class: "xm-badge", hidden: true });
  const other = makeOther(app, dim);
  other.button.unshift(badge);
  const show = (value) => {
    badge.hidden = within(dim, value);
    write(badge, badge.hidden ? "" : `${value}: not computed`);
  };
  return { other, show };
}

// Off: sliders stand on computed values only. On: between them too, and the view says "interpolated".
function makeFree(app) {
  const input = make("input", { type: "checkbox" });
  input.addEventListener("change", () => app.set(input.checked ? { free: true } : { free: false, ...snapped(app) }));
  const element = make("label", { class: "xm-free", title: "Let sliders stop between computed values; the view then says so." },
    input, make("span", {}, "between grid steps"));
  return { element, show: (value) => (input.checked = value) };
}

function snapped(app) {
  const patch = {};
  for (const { dim: name } of app.controls) {
    const dim = app.cube.dims.get(name);
    if (!onGrid(dim, app.state[name])) patch[name] = dim.values[dim.numeric ? nearest(dim.values, app.state[name]) : 0];
  }
  return patch;
}
