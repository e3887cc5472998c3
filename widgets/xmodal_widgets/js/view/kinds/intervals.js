// Rows of names, each with its interval.

import { extent } from "../../data/cube.js";
import { padded, readable, titled, valueScale } from "../../data/numbers.js";
import { axisOf, drawAxes, makeFrame } from "../../draw/canvas.js";
import { drawIntervals, pickInterval, readIntervals, rowAxis, spotInterval } from "../../draw/intervals.js";
import { classesOf } from "../../draw/scatter.js";
import { valueLine } from "./words.js";

function spansOfIntervals(cube, spec, slices) {
  if (spec.limits) return { value: spec.limits };
  const span = extent(slices.flatMap((s) => [s.low, s.high].map((values) => ({ values }))), false);
  return { value: span && padded(Math.min(0, span[0]), Math.max(0, span[1]), false) };
}

function drawIntervalsPanel(ctx, panel) {
  const { cube, spec, size, theme, slice, spans, compact } = panel;
  const x = axisOf(valueScale(...spans.value, false), size.width / 70, titled(cube.vars.get(spec.var)));
  panel.frame = makeFrame(ctx, size, theme, x, rowAxis(cube, spec, slice.kept), { compact });
  drawIntervals(ctx, panel.frame, theme, spec, slice, spec.color ? classesOf(cube, spec) : null);
  drawAxes(ctx, panel.frame, theme);
}

function tellInterval(panel, at) {
  const { cube, spec, slice } = panel;
  const k = at[spec.rows];
  const name = cube.dims.get(spec.rows).words[k];
  if (!Number.isFinite(slice.values[k])) return [name, "not shown here"];
  const known = spec.color && (classesOf(cube, spec) || []).find((c) => c.code === slice.color[k]);
  const lines = [known ? `${name}: ${known.name}` : name];
  lines.push(`${valueLine(cube, spec.var, slice.values[k])}, from ${readable(slice.low[k])} to ${readable(slice.high[k])}`);
  if (slice.mark && Number.isFinite(slice.mark[k])) lines.push(valueLine(cube, spec.mark, slice.mark[k]));
  if (slice.margin && Number.isFinite(slice.margin[k])) lines.push(valueLine(cube, spec.margin, slice.margin[k]));
  return spec.notes ? [...lines, spec.notes[k]] : lines;
}

export const INTERVALS = { read: readIntervals, spans: spansOfIntervals, draw: drawIntervalsPanel, pick: pickInterval, spot: spotInterval, tell: tellInterval, value: (panel, at) => panel.slice.values[at[panel.spec.rows]], steps: (panel) => [null, panel.spec.rows], bar: () => false };
