// A variable over one dimension: lines and bars.

import { extent } from "../../data/cube.js";
import { isGeometric, nearest, padded, readable, titled, valueScale } from "../../data/numbers.js";
import { axisOf, drawAxes, drawGrid, makeFrame } from "../../draw/canvas.js";
import { barBox, drawBars, drawCursor, drawFloor, drawGhostBars, drawLines, readSeries, slotLabels } from "../../draw/series.js";
import { dimAxis, insideFrame, outer, valueAxis, valueSpan } from "./scales.js";
import { placeLine, statusLine, valueLine } from "./words.js";

function spansOfSeries(cube, spec, slices, fit, log) {
  const span = withFloor(cube, spec, slices, fit, log, valueSpan(cube, spec, slices, fit, log));
  return { value: span && (spec.limits ? span : padded(...span, log)) };
}

// Bars stand on zero (a bar that does not would lie about its ratio), on a log scale on the lowest decade.
function spansOfBars(cube, spec, slices, fit, log) {
  let span = valueSpan(cube, spec, slices, fit, log);
  if (!span || spec.limits) return { value: span };
  if (log) return { value: [10 ** Math.floor(Math.log10(span[0]) - 1e-9), span[1] * 1.3] };
  const shown = extent(slices, false) || span;
  span = [Math.min(0, span[0], shown[0]), Math.max(0, span[1], shown[1])];
  return { value: [span[0] * 1.08, span[1] * 1.1] };
}

// A scale that shows the floor too.
function withFloor(cube, spec, slices, fit, log, span) {
  const floors = slices.filter((slice) => slice.floor).map(({ floor }) => ({ values: floor }));
  const v = spec.floor && cube.vars.get(spec.floor);
  const range = span && v && !spec.limits && (fit ? extent(floors, log) : log ? v.positive !== null && [v.positive, v.range[1]] : v.range);
  return range ? [Math.min(span[0], range[0]), Math.max(span[1], range[1])] : span;
}

function drawLinesPanel(ctx, panel) {
  const { cube, spec, size, theme, slice, setting } = panel;
  const dim = cube.dims.get(spec.x);
  panel.frame = makeFrame(ctx, size, theme, lineAxis(dim, size, spec), valueAxis(panel), { compact: panel.compact, ...outer(panel) });
  drawGrid(ctx, panel.frame, theme);
  if (typeof setting[spec.x] === "number") drawCursor(ctx, panel.frame, theme, setting[spec.x]);
  if (panel.ghost) drawLines(ctx, panel.frame, theme, spec, cube, { ...panel.ghost, half: null }, theme.faint);
  if (slice.floor) drawFloor(ctx, panel.frame, theme, dim.values, slice.floor);
  drawLines(ctx, panel.frame, theme, spec, cube, slice);
  drawAxes(ctx, panel.frame, theme);
}

// Numbers that double, or grow so, stand at even steps; their own values are the ticks.
function lineAxis(dim, size, spec) {
  const growing = isGeometric(dim.values);
  const [lo, hi] = padded(dim.values[0], dim.values[dim.size - 1], growing, spec.versus ? 0.08 : 0.03);
  return growing ? axisOf(valueScale(lo, hi, true), 0, titled(dim), dim.values) : dimAxis(dim, size.width / 70, lo, hi);
}

function drawBarsPanel(ctx, panel) {
  const { cube, spec, size, theme, slice, setting } = panel;
  const dim = cube.dims.get(spec.x);
  const slots = { lo: 0, hi: 1, at: () => 0, values: [], labels: [], title: titled(dim) };
  const { compact } = panel;
  const frame = makeFrame(ctx, size, theme, slots, valueAxis(panel), { compact, ...outer(panel) });
  const rows = Math.max(...slotLabels(ctx, frame, theme, dim).lines.map((lines) => lines.length));
  panel.frame = rows > 1 ? makeFrame(ctx, size, theme, slots, valueAxis(panel), { rows, compact, ...outer(panel) }) : frame;
  drawGrid(ctx, panel.frame, theme);
  const chosen = setting[spec.x] === undefined ? -1 : (dim.exact.get(setting[spec.x]) ?? -1);
  drawBars(ctx, panel.frame, theme, spec, cube, slice, chosen < 0 ? null : chosen);
  if (panel.ghost) drawGhostBars(ctx, panel.frame, theme, dim.size, panel.ghost);
  drawAxes(ctx, panel.frame, theme);
}

export function pickLine(panel, x, y) {
  const { frame, cube, spec, slice } = panel;
  if (!insideFrame(frame, x, y)) return null;
  const grid = cube.dims.get(spec.x).values;
  const i = nearest(grid.map(frame.px), x);
  const heights = hueIndices(panel).map((h) => frame.py(slice.values[h * grid.length + i]));
  return seriesAt(spec, i, heights.every(Number.isNaN) ? 0 : nearest(heights, y));
}

const seriesAt = (spec, i, h) => (spec.hue ? { [spec.x]: i, [spec.hue]: h } : { [spec.x]: i });

const hueIndices = (panel) =>
  Array.from({ length: panel.slice.values.length / panel.cube.dims.get(panel.spec.x).size }, (_, h) => h);

const seriesIndex = (panel, at) =>
  (panel.spec.hue ? at[panel.spec.hue] : 0) * panel.cube.dims.get(panel.spec.x).size + at[panel.spec.x];

export function spotLine(panel, at) {
  const y = panel.frame.py(panel.slice.values[seriesIndex(panel, at)]);
  return Number.isNaN(y) ? null : { x: panel.frame.px(panel.cube.dims.get(panel.spec.x).values[at[panel.spec.x]]), y };
}

function pickBar(panel, x, y) {
  const { frame, cube, spec, slice } = panel;
  if (!insideFrame(frame, x, y)) return null;
  const size = cube.dims.get(spec.x).size;
  const i = Math.max(0, Math.min(size - 1, Math.floor(((x - frame.left) / frame.width) * size)));
  const hues = hueIndices(panel);
  return seriesAt(spec, i, nearest(hues.map((h) => barBox(frame, size, hues.length, slice, h, i).centre), x));
}

function spotBar(panel, at) {
  const { frame, cube, spec, slice } = panel;
  const h = spec.hue ? at[spec.hue] : 0;
  const bar = barBox(frame, cube.dims.get(spec.x).size, hueIndices(panel).length, slice, h, at[spec.x]);
  return Number.isNaN(bar.top) ? null : { x: bar.centre, y: bar.top };
}

export function tellSeries(panel, at) {
  const { cube, spec, slice } = panel;
  const k = seriesIndex(panel, at);
  const lines = [valueLine(cube, spec.var, slice.values[k])];
  if (slice.half && slice.half[k] > 0) {
    const [lo, hi] = [slice.values[k] - slice.half[k], slice.values[k] + slice.half[k]];
    lines.push(`95 % interval of the mean: ${readable(lo)} to ${readable(hi)}`);
  }
  return [...lines, placeLine(cube, at, [spec.x, spec.hue].filter(Boolean)), statusLine(panel, k)];
}

export function seriesValue(panel, at) {
  return panel.slice.values[seriesIndex(panel, at)];
}

export function stepsOfSeries(panel) {
  return [panel.spec.x, panel.spec.hue || null];
}

export const LINES = { read: readSeries, spans: spansOfSeries, draw: drawLinesPanel, pick: pickLine, spot: spotLine, tell: tellSeries, value: seriesValue, steps: stepsOfSeries, bar: () => false };

export const BARS = { read: readSeries, spans: spansOfBars, draw: drawBarsPanel, pick: pickBar, spot: spotBar, tell: tellSeries, value: seriesValue, steps: stepsOfSeries, bar: () => false };
