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

import { take, extent, locate } from "../data/cube.js";
import { exchangeRate, localRate, rateWords } from "../data/exchange.js";
import { isGeometric, nearest, wholeTicks, tickLabels, readable, withUnits, titled, valueScale, padded } from "../data/numbers.js";
import { PALETTES, paletteNamed } from "../data/palette.js";
import { makeProjection, drawBox, drawBoxLabels } from "../draw/camera.js";
import { makeFrame, axisOf, drawGrid, drawAxes } from "../draw/canvas.js";
import { drawEigenvalues, fillUnder, floored, lambdaSpan, symlogAxis } from "../draw/density.js";
import { drawIntervals, pickInterval, readIntervals, rowAxis, spotInterval } from "../draw/intervals.js";
import { drawHatch, cellEdges, drawCellValues, drawHeatMap, drawBands, drawLevels, drawPath } from "../draw/raster.js";
import { readScatter, classesOf, drawCurves, drawPoints } from "../draw/scatter.js";
import { readSeries, drawLines, drawCursor, drawFloor, barBox, drawBars, drawGhostBars, slotLabels } from "../draw/series.js";
import { glPainter, meshPoints, drawSurfaceGl, drawSurfaceSoft, drawWire, pickSurface } from "../draw/surface.js";
import { drawCorners } from "./corners.js";
import { drawOwn, readOwn } from "./own.js";

export const KINDS = {
  surface: planeKind(drawSurfacePanel, pickSurfacePanel, spotSurfacePanel),
  contour: { ...planeKind(drawContourPanel, pickPlane, spotPlane), read: readContour },
  heatmap: { ...planeKind(drawHeatMapPanel, pickPlane, spotPlane), read: readHeatMap, tell: tellHeatMap, say: sayRate },
  lines: { read: readSeries, spans: spansOfSeries, draw: drawLinesPanel, pick: pickLine, spot: spotLine, tell: tellSeries, value: seriesValue, steps: stepsOfSeries, bar: () => false },
  density: { read: readDensity, spans: spansOfDensity, draw: drawDensityPanel, pick: pickLine, spot: spotLine, tell: tellDensity, value: seriesValue, steps: stepsOfSeries, bar: () => false },
  bars: { read: readSeries, spans: spansOfBars, draw: drawBarsPanel, pick: pickBar, spot: spotBar, tell: tellSeries, value: seriesValue, steps: stepsOfSeries, bar: () => false },
  intervals: { read: readIntervals, spans: spansOfIntervals, draw: drawIntervalsPanel, pick: pickInterval, spot: spotInterval, tell: tellInterval, value: (panel, at) => panel.slice.values[at[panel.spec.rows]], steps: (panel) => [null, panel.spec.rows], bar: () => false },
  scatter: { read: readScatter, spans: spansOfScatter, draw: drawScatterPanel, pick: pickPoint, spot: spotPoint, tell: tellPoint, value: () => null, steps: (panel) => [panel.spec.points, null], bar: (cube, spec) => Boolean(spec.color) && !classesOf(cube, spec) },
  own: { read: readOwn, spans: (cube, spec) => ({ value: cube.vars.get(spec.var).range || [0, 1] }), draw: drawOwn, pick: () => null, spot: () => null, tell: () => [], value: () => null, steps: () => [], bar: () => false },
};

// -- planes ------------------------------------------------------------------------------------

function planeKind(draw, pick, spot) {
  return {
    read: readPlane,
    spans: (cube, spec, slices, fit, log) => ({ value: valueSpan(cube, spec, slices, fit, log) }),
    draw, pick, spot, tell: tellPlane, value: (panel, at) => panel.slice.values[planeIndex(panel, at)],
    steps: (panel) => [panel.spec.x, panel.spec.y], bar: () => true,
  };
}

function readPlane(cube, spec, setting) {
  const slice = take(cube, spec.var, setting, [spec.x, spec.y]);
  return { ...slice, x: cube.dims.get(spec.x).values, y: cube.dims.get(spec.y).values };
}

// The way across the plane: places [step * 2 + axis]. A mean over seeds is no way that anyone went.
function readContour(cube, spec, setting) {
  const slice = readPlane(cube, spec, setting);
  if (!spec.path) return slice;
  const one = oneOfMeans(cube, spec.path, setting);
  return { ...readPlane(cube, spec, one), path: take(cube, spec.path, one, cube.vars.get(spec.path).dims.slice(-2)).values };
}

// The setting with the first member of every mean.
function oneOfMeans(cube, name, setting) {
  const means = averaged(cube, name, setting).map((dim) => [dim, cube.dims.get(dim).values[0]]);
  return means.length ? { ...setting, ...Object.fromEntries(means) } : setting;
}

const averaged = (cube, name, setting) =>
  cube.vars.get(name).dims.filter((dim) => setting[dim] === "mean" && !cube.dims.get(dim).exact.has("mean"));

function readHeatMap(cube, spec, setting) {
  const slice = readPlane(cube, spec, setting);
  if (!spec.words) return slice;
  const seeds = averaged(cube, spec.var, setting);
  const all = take(cube, spec.var, setting, [...seeds, spec.x, spec.y]).values;
  const size = slice.x.length * slice.y.length;
  const grids = Array.from({ length: all.length / size }, (_, s) => all.subarray(s * size, (s + 1) * size));
  return { ...slice, rate: exchangeRate(grids, slice.x, slice.y, spec.words, cube.quantiles) };
}

function sayRate(cube, spec, slice) {
  return rateWords(slice.rate, [cube.dims.get(spec.x).label, cube.dims.get(spec.y).label]);
}

function tellHeatMap(panel, at) {
  const { cube, spec, slice } = panel;
  const lines = tellPlane(panel, at);
  const here = slice.rate ? localRate(slice.rate, slice.x[at[spec.x]], slice.y[at[spec.y]]) : NaN;
  if (here > 0) lines.push(`one more of ${cube.dims.get(spec.x).label} here: ${readable(Number(here.toPrecision(2)))} words (log fit)`);
  return lines;
}

export const paletteOf = (spec, theme) => paletteNamed(spec.palette, theme.dark);

// What a value scale spans: the view's limits, what is shown now ("fit"), or the whole cube.
function valueSpan(cube, spec, slices, fit, log) {
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

const dimAxis = (dim, count, lo, hi) =>
  axisOf(valueScale(lo, hi, false), count, titled(dim), dim.kind === "int" ? wholeTicks(lo, hi, count) : null);

function planeFrame(ctx, panel, cells) {
  const { cube, spec, size, theme, compact } = panel;
  const axis = (name, count) => {
    const dim = cube.dims.get(name);
    if (cells && !isEven(dim)) return slotAxis(dim);
    const ends = cells ? cellEdges(dim.values) : dim.values;
    return dimAxis(dim, count, ends[0], ends[ends.length - 1]);
  };
  panel.frame = makeFrame(ctx, size, theme, axis(spec.x, size.width / 70), axis(spec.y, size.height / 55), {
    compact, ...outer(panel), boxed: true, equal: Boolean(spec.under),
  });
  return panel.frame;
}

// Of panels side by side the lowest name x and the first name y.
const outer = ({ inner, aside }) => ({ inner, aside });

// Whether the steps of an axis are numbers that lie equally far apart; only then do cells stand on a scale.
function isEven(dim) {
  if (!dim.numeric) return false;
  const steps = dim.values.slice(1).map((v, k) => v - dim.values[k]);
  return steps.length > 0 && Math.max(...steps) - Math.min(...steps) <= 1e-6 * Math.abs(steps[0]);
}

// An axis of names, or of numbers at uneven steps: each value has a slot of one size, with its own name.
function slotAxis(dim) {
  const n = dim.size;
  const labels = dim.values.map((value, i) => (dim.kind === "float" ? readable(value) : dim.words[i]));
  const at = (value) => (dim.values.indexOf(value) + 0.5) / n;
  return { lo: 0, hi: n, log: false, at, values: dim.values, labels, title: titled(dim) };
}

const cellBorders = (dim) => (isEven(dim) ? cellEdges(dim.values) : Array.from({ length: dim.size + 1 }, (_, i) => i));

function drawContourPanel(ctx, panel) {
  const frame = planeFrame(ctx, panel, false);
  drawHatch(ctx, frame, panel.theme);
  drawBands(ctx, frame, panel.slice, panel.scale, contourLevels(panel), panel.shown, paletteOf(panel.spec, panel.theme));
  drawContourLines(ctx, frame, panel);
  if (panel.slice.path) drawPath(ctx, frame, panel.slice.path, stepAt(panel));
  drawAxes(ctx, frame, panel.theme);
}

// Round levels across what this view shows now: few lines on a flat landscape would say nothing.
function contourLevels(panel) {
  const { scale, shown } = panel;
  return valueScale(...shown, scale.log).ticks(9).filter((v) => v > shown[0] && v < shown[1] && scale.at(v) > 0 && scale.at(v) < 1);
}

// Where on the path the control of time stands: the place among its steps, between two of them too.
function stepAt({ cube, spec, setting }) {
  if (typeof setting[spec.at] !== "number") return null;
  const dim = cube.dims.get(cube.vars.get(spec.path).dims.at(-2));
  const last = dim.size - 1;
  const time = Math.max(dim.values[0], Math.min(dim.values[last], setting[spec.at]));
  const { index, share } = locate({ ...dim, kind: "float" }, time);
  return index < 0 ? null : index + share;
}

function drawContourLines(ctx, frame, panel) {
  const levels = contourLevels(panel);
  drawLevels(ctx, frame, panel.slice, levels, tickLabels(levels, panel.scale.log), panel.theme);
}

function drawHeatMapPanel(ctx, panel) {
  const frame = planeFrame(ctx, panel, true);
  const { cube, spec, theme } = panel;
  const borders = (x, y) => ({ x: cellBorders(cube.dims.get(x)), y: cellBorders(cube.dims.get(y)) });
  drawHatch(ctx, frame, panel.theme);
  if (spec.under) drawUnder(ctx, panel, borders);
  drawHeatMap(ctx, frame, panel.slice, panel.scale, borders(spec.x, spec.y), paletteOf(spec, theme), Boolean(spec.under));
  if (spec.levels) drawContourLines(ctx, frame, panel);
  else if (!spec.under) drawCellValues(ctx, frame, panel.slice, panel.scale, borders(spec.x, spec.y), paletteOf(spec, theme), theme);
  drawAxes(ctx, frame, panel.theme);
}

// The picture that a plane lies over: it fills the same frame, in gray.
function drawUnder(ctx, panel, borders) {
  const { cube, spec, setting, frame } = panel;
  const [y, x] = cube.vars.get(spec.under).dims.slice(-2);
  const slice = { ...take(cube, spec.under, setting, [x, y]), x: cube.dims.get(x).values, y: cube.dims.get(y).values };
  const span = extent([slice], false);
  if (span) drawHeatMap(ctx, frame, slice, valueScale(...span, false), borders(x, y), PALETTES.gray);
}

function drawSurfacePanel(ctx, panel) {
  const { cube, spec, size, theme, scale, slice } = panel;
  const narrow = size.width < 300 || panel.compact;
  const count = narrow ? 3 : 5;
  const name = panel.column || narrow || size.width < 340 ? "" : titled(cube.vars.get(spec.var)); // the colour bar names it too
  const axis = (name) => {
    const dim = cube.dims.get(name);
    return { ...dimAxis(dim, count, dim.values[0], dim.values[dim.size - 1]), ...(panel.compact ? { title: "" } : {}) };
  };
  const axes = { x: axis(spec.x), y: axis(spec.y), z: axisOf(scale, narrow ? 3 : 4, name) };
  panel.projection = makeProjection(panel.state, size, panel.compact);
  panel.points = meshPoints(slice, axes, scale, panel.projection.tall);
  drawBox(ctx, panel.projection, axes, theme);
  const painter = glPainter();
  const shape = [slice.x.length, slice.y.length];
  if (painter) drawSurfaceGl(painter, ctx, size, panel.projection, panel.points, ...shape, paletteOf(spec, theme));
  else drawSurfaceSoft(ctx, size, panel.projection, panel.points, ...shape, paletteOf(spec, theme));
  if (panel.ghost) drawWire(ctx, panel.projection, meshPoints({ ...panel.ghost, x: slice.x, y: slice.y }, axes, scale, panel.projection.tall), ...shape, theme);
  drawBoxLabels(ctx, panel.projection, axes, theme);
}

function pickSurfacePanel(panel, x, y) {
  const { slice, spec } = panel;
  const best = pickSurface(panel.projection, panel.points, slice.x.length, slice.y.length, x, y);
  return best && { [spec.x]: best.i, [spec.y]: best.j };
}

function spotSurfacePanel(panel, at) {
  const k = planeIndex(panel, at);
  const p = panel.points;
  return p[7 * k + 4] === 1 ? panel.projection.at(p[7 * k], p[7 * k + 1], p[7 * k + 2]) : null;
}

const planeIndex = (panel, at) => at[panel.spec.x] * panel.slice.y.length + at[panel.spec.y];

function pickPlane(panel, x, y) {
  const { frame, slice, spec } = panel;
  if (!insideFrame(frame, x, y)) return null;
  return { [spec.x]: nearest(slice.x.map(frame.px), x), [spec.y]: nearest(slice.y.map(frame.py), y) };
}

function spotPlane(panel, at) {
  const { frame, slice, spec } = panel;
  return { x: frame.px(slice.x[at[spec.x]]), y: frame.py(slice.y[at[spec.y]]) };
}

export function tellPlane(panel, at) {
  const { cube, spec, slice, scale } = panel;
  const k = planeIndex(panel, at);
  const t = scale.at(slice.values[k]);
  const lines = [valueLine(cube, spec.var, slice.values[k]), placeLine(cube, at, [spec.x, spec.y])];
  if (t < -1e-6 || t > 1 + 1e-6) lines.push("drawn clipped at the limit of the scale");
  return [...lines, statusLine(panel, k)];
}

// -- lines and bars ----------------------------------------------------------------------------

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

function valueAxis(panel) {
  const { cube, spec, size, scale } = panel;
  const less = spec.versus ? ` less that at ${Object.values(spec.versus)[0]}` : "";
  const v = cube.vars.get(spec.var);
  return axisOf(scale, size.height / 60, titled({ ...v, label: v.label + less }));
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

function pickLine(panel, x, y) {
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

function spotLine(panel, at) {
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

function tellSeries(panel, at) {
  const { cube, spec, slice } = panel;
  const k = seriesIndex(panel, at);
  const lines = [valueLine(cube, spec.var, slice.values[k])];
  if (slice.half && slice.half[k] > 0) {
    const [lo, hi] = [slice.values[k] - slice.half[k], slice.values[k] + slice.half[k]];
    lines.push(`95 % interval of the mean: ${readable(lo)} to ${readable(hi)}`);
  }
  return [...lines, placeLine(cube, at, [spec.x, spec.hue].filter(Boolean)), statusLine(panel, k)];
}

function seriesValue(panel, at) {
  return panel.slice.values[seriesIndex(panel, at)];
}

function stepsOfSeries(panel) {
  return [panel.spec.x, panel.spec.hue || null];
}

// -- spectra -----------------------------------------------------------------------------------

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

// -- points ------------------------------------------------------------------------------------

function spansOfScatter(cube, spec, slices, fit) {
  const span = (name, part) => {
    const range = fit ? extent(slices.map((s) => s[part]), false) : cube.vars.get(name).range;
    return range && padded(...range, false);
  };
  const color = spec.color && !classesOf(cube, spec) ? cube.vars.get(spec.color).range : null;
  const x = span(spec.x, "x");
  return { value: x && color ? color : x, x, y: span(spec.y, "y") };
}

function drawScatterPanel(ctx, panel) {
  const { cube, spec, size, theme, slice, spans } = panel;
  const axis = (name, span, count) => axisOf(valueScale(...span, false), count, titled(cube.vars.get(name)));
  const wide = spec.equal ? Math.min(size.width, size.height) : size.width;
  panel.frame = makeFrame(ctx, size, theme, axis(spec.x, spans.x, wide / 70), axis(spec.y, spans.y, size.height / 60), { compact: panel.compact, ...outer(panel), equal: spec.equal });
  drawGrid(ctx, panel.frame, theme);
  if (spec.curves && panel.ghost) drawCurves(ctx, panel.frame, panel.ghost, classesOf(cube, spec), theme.faint);
  if (spec.curves) drawCurves(ctx, panel.frame, slice, classesOf(cube, spec));
  else drawPoints(ctx, panel.frame, slice, classesOf(cube, spec), panel.scale);
  drawAxes(ctx, panel.frame, theme);
  if (spec.corners) drawCorners(ctx, panel);
}

function pickPoint(panel, x, y) {
  const { frame, slice, spec } = panel;
  let best = null;
  for (let k = 0; k < slice.x.values.length; k++) {
    const away = Math.hypot(frame.px(slice.x.values[k]) - x, frame.py(slice.y.values[k]) - y);
    if (away < 18 && (!best || away < best.away)) best = { away, k };
  }
  return best && { [spec.points]: best.k };
}

function spotPoint(panel, at) {
  const k = at[panel.spec.points];
  const spot = { x: panel.frame.px(panel.slice.x.values[k]), y: panel.frame.py(panel.slice.y.values[k]) };
  return Number.isNaN(spot.x + spot.y) ? null : spot;
}

function tellPoint(panel, at) {
  const { cube, spec, slice } = panel;
  const k = at[spec.points];
  const lines = [valueLine(cube, spec.x, slice.x.values[k]), valueLine(cube, spec.y, slice.y.values[k])];
  if (slice.color) {
    const known = (classesOf(cube, spec) || []).find((c) => c.code === slice.color.values[k]);
    lines.push(known ? `${cube.vars.get(spec.color).label}: ${known.name}` : valueLine(cube, spec.color, slice.color.values[k]));
  }
  return [...lines, placeLine(cube, at, [spec.points]), statusLine(panel, k)];
}

// -- intervals ---------------------------------------------------------------------------------

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

// -- words of the read-out ---------------------------------------------------------------------

function valueLine(cube, name, value) {
  const v = cube.vars.get(name);
  return `${v.label} = ${withUnits(readable(value), Number.isNaN(value) ? "" : v.units)}`;
}

function placeLine(cube, at, names) {
  const words = names.map((name) => {
    const dim = cube.dims.get(name);
    const value = dim.kind === "float" ? readable(dim.values[at[name]]) : dim.words[at[name]];
    return `${dim.label} ${dim.numeric ? "= " : ""}${withUnits(value, dim.units)}`;
  });
  return `at ${words.join(", ")}`;
}

function statusLine(panel, k) {
  const { slice } = panel;
  if (Number.isNaN(slice.values[k])) return "not computed, or not a number";
  const origin = slice.interpolated ? "interpolated between grid steps" : "computed";
  if (slice.members === 1) return origin;
  const count = slice.counts[k];
  return count === slice.members ? `${origin}, mean of ${count}` : `${origin}, mean of ${count}: the other ${slice.members - count} are missing`;
}

const insideFrame = (frame, x, y) =>
  x >= frame.left - 4 && x <= frame.left + frame.width + 4 && y >= frame.top - 4 && y <= frame.top + frame.height + 4;
