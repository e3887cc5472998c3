// One table of what each kind of view does:
//   read(cube, spec, setting)      the slice it shows, for one panel
//   spans(cube, spec, slices)      what its scales must span, from all panels at once
//   draw(ctx, panel)               the picture; leaves in panel what pick and spot need
//   pick(panel, x, y)              pointer -> grid indices { dimension: index }, or null
//   spot(panel, at)                grid indices -> pixel, or null
//   tell(panel, at)                grid indices -> lines of the read-out
//   value(panel, at)               the number at grid indices, for the mark in linked panels
//   steps(panel)                   the dimensions that arrow keys walk: [horizontal, vertical]
//   say(cube, spec, slice)         optional: { short, long }, a sentence below the heading
// A panel holds { cube, spec, size, theme, slice, scale, setting, state }.

import { INTERVALS } from "./kinds/intervals.js";
import { CONTOUR, HEATMAP, SURFACE } from "./kinds/planes.js";
import { SCATTER } from "./kinds/points.js";
import { BARS, LINES } from "./kinds/series.js";
import { DENSITY } from "./kinds/spectra.js";
import { drawOwn, readOwn } from "./own.js";

export const KINDS = {
  surface: SURFACE,
  contour: CONTOUR,
  heatmap: HEATMAP,
  lines: LINES,
  density: DENSITY,
  bars: BARS,
  intervals: INTERVALS,
  scatter: SCATTER,
  own: { read: readOwn, spans: (cube, spec) => ({ value: cube.vars.get(spec.var).range || [0, 1] }), draw: drawOwn, pick: () => null, spot: () => null, tell: () => [], value: () => null, steps: () => [], bar: () => false },
};
