// A control that changes no picture at the present setting is greyed, and says at which value of another it would.

import { take } from "../data/cube.js";
import { titled } from "../data/numbers.js";
import { drawTogether } from "./layout.js";

const MOST = 400000; // numbers that are looked at for one control; more and it counts as effective (ours)
const REST = 250; // milliseconds after the last move

export function makeEffects(app, viewsOf) {
  let timer = 0;
  const look = () => {
    for (const { dim } of app.controls.filter((c) => !c.hidden)) {
      app.panel.mute(dim, changes(app, viewsOf, dim, app.state) ? "" : reason(app, viewsOf, dim));
    }
    drawTogether(app.panel.element, app.screen.classList.contains("xm-beside"));
  };
  return {
    later: () => {
      clearTimeout(timer);
      timer = setTimeout(app.guard(look), REST);
    },
    stop: () => clearTimeout(timer),
  };
}

// Whether any picture differs between two values of the control. What was not computed differs from nothing.
function changes(app, viewsOf, name, state) {
  const dim = app.cube.dims.get(name);
  if (dim.size < 2) return true;
  let budget = MOST;
  for (const { variables, keep } of viewsOf(name)) {
    for (const variable of variables) {
      const v = app.cube.vars.get(variable);
      if (!v.dims.includes(name)) continue;
      const kept = keep.filter((d) => v.dims.includes(d) && d !== name);
      budget -= dim.size * kept.reduce((n, d) => n * app.cube.dims.get(d).size, 1);
      if (budget < 0) return true;
      const slices = dim.values.map((value) => take(app.cube, variable, { ...state, [name]: value }, kept).values);
      if (slices.slice(1).some((slice) => differ(slice, slices[0]))) return true;
    }
  }
  return false;
}

function differ(a, b) {
  for (let i = 0; i < a.length; i++) {
    if (Number.isNaN(a[i]) !== Number.isNaN(b[i]) || Math.abs(a[i] - b[i]) > 1e-6 * (Math.abs(a[i]) + Math.abs(b[i]))) return true;
  }
  return false;
}

function reason(app, viewsOf, name) {
  for (const { dim: other } of app.controls) {
    const dim = app.cube.dims.get(other);
    if (other === name || dim.size > 8) continue;
    const helps = dim.values.some((value) => value !== app.state[other] && changes(app, viewsOf, name, { ...app.state, [other]: value }));
    if (helps) return `no effect at ${titled(dim)} ${dim.words[dim.exact.get(app.state[other])] ?? app.state[other]}`;
  }
  return "no effect on any picture here";
}
