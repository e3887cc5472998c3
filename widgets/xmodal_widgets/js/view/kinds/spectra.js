// Spectra: a density over a symmetric-log axis, with its leading eigenvalues.

import { take } from "../../data/cube.js";
import { padded, readable, titled } from "../../data/numbers.js";
import { drawAxes, drawGrid, makeFrame } from "../../draw/canvas.js";
import { drawEigenvalues, fillUnder, floored, lambdaSpan, symlogAxis } from "../../draw/density.js";
import { drawLines, readSeries } from "../../draw/series.js";
import { outer, valueAxis, valueSpan } from "./scales.js";
import { pickLine, seriesValue, spotLine, stepsOfSeries, tellSeries } from "./series.js";

function readDensity(cube, spec, setting) {
  const slice = readSeries(cube, spec, setting);
  if (!spec.marks) return slice;
  const hued = Boolean(spec.hue) && cube.vars.get(spec.marks).dims.includes(spec.hue);
  const found = take(cube, spec.marks, spec.band ? { ...setting, [spec.band]: "mean" } : setting, [...(hued ? [spec.hue] : []), spec.along]);
  return { ...slice, marks: { values: found.values, each: cube.dims.get(spec.along).size, hued } };
}

function spansOfDensity(cube, spec, slices, fit, log) {
  const span = floored(valueSpan(cube, spec, slices, fit, log), log && !spec.limits);
  return { value: span && (spec.limits ? span : log ? padded(...span, true) : [0, span[1] * 1.05]) };
}

function drawDensityPanel(ctx, panel) {
  const { cube, spec, size, theme, slice, scale } = panel;
  const axis = symlogAxis(...lambdaSpan(cube, spec), spec.scale, size.width / 60, titled({ ...cube.dims.get(spec.x), label: spec.label }));
  const frame = makeFrame(ctx, size, theme, axis, valueAxis(panel), { compact: panel.compact, ...outer(panel) });
  panel.frame = frame;
  // What a log scale cannot show lies on its foot, so that the curve ends where the density does.
  const standing = (series) => ({ ...series, values: scale.log ? series.values.map((v) => (v < scale.lo ? scale.lo : v)) : series.values });
  drawGrid(ctx, frame, theme);
  if (panel.ghost) drawLines(ctx, frame, theme, spec, cube, { ...standing(panel.ghost), half: null }, theme.faint);
  fillUnder(ctx, frame, spec, cube, standing(slice));
  drawLines(ctx, frame, theme, spec, cube, standing(slice));
  drawEigenvalues(ctx, frame, theme, spec, cube, slice.marks);
  drawAxes(ctx, frame, theme);
}

function tellDensity(panel, at) {
  const { marks } = panel.slice;
  const lines = tellSeries(panel, at);
  if (!marks) return lines;
  const h = marks.hued ? at[panel.spec.hue] : 0;
  const leading = [...marks.values.subarray(h * marks.each, (h + 1) * marks.each)].filter(Number.isFinite);
  if (leading.length) lines.push(`${panel.cube.vars.get(panel.spec.marks).label}: ${leading.map((v) => readable(v)).join(", ")}`);
  return lines;
}

export const DENSITY = { read: readDensity, spans: spansOfDensity, draw: drawDensityPanel, pick: pickLine, spot: spotLine, tell: tellDensity, value: seriesValue, steps: stepsOfSeries, bar: () => false };
