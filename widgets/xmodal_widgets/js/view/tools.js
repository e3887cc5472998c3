// Pin: the present setting stays as a ghost in every picture, and numbers stand beside it as paired differences.
// Link: the present setting as a line of Python.

import { meanAndHalf, take } from "../data/cube.js";
import { minus, readable, titled } from "../data/numbers.js";
import { make, mark, write } from "./dom.js";

export function makeTools(app) {
  const pin = make("button", { type: "button", class: "xm-button", "aria-pressed": "false", title: "Keep this setting as a ghost, to compare with" }, "Pin");
  const link = make("button", { type: "button", class: "xm-button", "aria-expanded": "false", title: "This setting as a line of Python" }, "Link");
  const line = make("input", { type: "text", class: "xm-other", readonly: true, hidden: true, "aria-label": "this setting as Python" });
  const table = make("div", { class: "xm-pinned", hidden: true });
  const element = make("div", { class: "xm-tools-row" }, pin, link);
  const more = make("div", { class: "xm-tools-more" }, line, table);
  pin.addEventListener("click", app.guard(() => {
    app.pin = app.pin ? null : { ...app.state };
    app.generation++;
    show();
    app.draw();
  }));
  link.addEventListener("click", app.guard(() => {
    line.hidden = !line.hidden;
    link.setAttribute("aria-expanded", String(!line.hidden));
    show();
    if (line.hidden) return;
    line.focus();
    line.select();
    if (navigator.clipboard) navigator.clipboard.writeText(line.value).catch(() => {});
  }));
  const show = () => {
    mark(pin, "aria-pressed", String(Boolean(app.pin)));
    write(pin, app.pin ? "Unpin" : "Pin");
    if (!line.hidden) line.value = pythonOf(app);
    table.hidden = !app.pin;
    if (app.pin) table.replaceChildren(...rowsOf(app));
  };
  return { element, more, show };
}

export function pythonOf(app) {
  const word = (v) => (typeof v === "string" ? JSON.stringify(v) : v === true ? "True" : v === false ? "False" : String(v));
  const named = app.controls.map(({ dim }) => [dim, app.state[dim]]);
  if (app.state.free) named.push(["free", true]);
  const plain = named.every(([name]) => /^[A-Za-z_]\w*$/.test(name));
  if (plain) return `view.set(${named.map(([name, value]) => `${name}=${word(value)}`).join(", ")})`;
  return `view.set(**{${named.map(([name, value]) => `${word(name)}: ${word(value)}`).join(", ")}})`;
}

// What differs between now and the pinned setting, and for each single number: then, now, and the difference. Where a
// number is a mean over seeds, the difference is that of the same seeds, with its 95 % interval.
function rowsOf(app) {
  const moved = app.controls.filter(({ dim }) => app.state[dim] !== app.pin[dim]);
  const words = moved.map(({ dim: name }) => {
    const dim = app.cube.dims.get(name);
    const word = (v) => dim.words[dim.exact.get(v)] ?? String(v);
    return `${titled(dim)}: ${word(app.pin[name])} \u2192 ${word(app.state[name])}`;
  });
  const rows = [make("div", { class: "xm-note" }, words.length ? `pinned \u2192 now. ${words.join("; ")}` : "Pinned: move a control to compare.")];
  if (!moved.length) return rows;
  for (const v of app.cube.vars.values()) {
    if (v.extra || v.meanings.length || !v.dims.every((d) => d in app.state)) continue;
    const { then, now, difference, half, count } = compare(app, v);
    if (!Number.isFinite(difference)) continue;
    const spread = Number.isFinite(half) ? ` \u00b1 ${readable(Number(half.toPrecision(2)))}` : "";
    const sign = difference > 0 ? "+" : "";
    const paired = count > 1 ? ` (paired over ${count}, 95 %)` : "";
    rows.push(make("div", { class: "xm-pin-row" }, make("span", {}, `${titled(v)} ${readable(then)} \u2192 ${readable(now)} `),
      make("strong", {}, `${sign}${minus(readable(Number(difference.toPrecision(3))))}${spread}`), make("span", { class: "xm-note" }, paired)));
  }
  return rows;
}

export function compare(app, v) {
  const over = v.dims.filter((d) => app.state[d] === "mean" && app.pin[d] === "mean");
  const [now, then] = [app.state, app.pin].map((state) => [...take(app.cube, v.name, state, over).values]);
  const pairs = now.map((value, k) => value - then[k]).filter(Number.isFinite);
  const [difference, half] = meanAndHalf(pairs, app.cube.quantiles);
  const mean = (values) => meanAndHalf(values.filter(Number.isFinite), [])[0];
  const noise = 1e-6 * Math.max(...now.map(Math.abs), ...then.map(Math.abs)); // float32 rounds there
  return { then: mean(then), now: mean(now), difference, half: half < noise ? 0 : half, count: pairs.length };
}
