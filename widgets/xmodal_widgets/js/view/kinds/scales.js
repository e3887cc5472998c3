// What the scales and frames of all kinds have in common.

import { extent } from "../../data/cube.js";
import { titled, valueScale, wholeTicks } from "../../data/numbers.js";
import { paletteNamed } from "../../data/palette.js";
import { axisOf } from "../../draw/canvas.js";

export const paletteOf = (spec, theme) => paletteNamed(spec.palette, theme.dark);

// What a value scale spans: the view's limits, what is shown now ("fit"), or the whole cube.
export function valueSpan(cube, spec, slices, fit, log) {
  if (spec.limits) return spec.limits;
  const span = spanOf(cube, spec, slices, fit, log);
  if (!span || spec.palette !== "diverging" || log) return span;
  const far = Math.max(Math.abs(span[0]), Math.abs(span[1])) || 1;
  return [-far, far]; // zero in the middle
}

function spanOf(cube, spec, slices, fit, log) {
  const shown = extent(slices, log);
  if (fit || spec.versus) return shown;
  const v = cube.vars.get(spec.var);
  if (!v.range || (log && v.positive === null)) return null;
  const whole = log ? [v.positive, v.range[1]] : v.range;
  return shown && !log ? [Math.min(whole[0], shown[0]), Math.max(whole[1], shown[1])] : whole; // intervals reach further
}

export const dimAxis = (dim, count, lo, hi) =>
  axisOf(valueScale(lo, hi, false), count, titled(dim), dim.kind === "int" ? wholeTicks(lo, hi, count) : null);

// Of panels side by side the lowest name x and the first name y.
export const outer = ({ inner, aside }) => ({ inner, aside });

export function valueAxis(panel) {
  const { cube, spec, size, scale } = panel;
  const less = spec.versus ? ` less that at ${Object.values(spec.versus)[0]}` : "";
  const v = cube.vars.get(spec.var);
  return axisOf(scale, size.height / 60, titled({ ...v, label: v.label + less }));
}

export const insideFrame = (frame, x, y) =>
  x >= frame.left - 4 && x <= frame.left + frame.width + 4 && y >= frame.top - 4 && y <= frame.top + frame.height + 4;
