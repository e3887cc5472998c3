// A variable over two dimensions: surface, contour, heat map.

import { extent, locate, take } from "../../data/cube.js";
import { exchangeRate, localRate, rateWords } from "../../data/exchange.js";
import { nearest, readable, tickLabels, titled, valueScale } from "../../data/numbers.js";
import { PALETTES } from "../../data/palette.js";
import { drawBox, drawBoxLabels, makeProjection } from "../../draw/camera.js";
import { axisOf, drawAxes, makeFrame } from "../../draw/canvas.js";
import { cellEdges, drawBands, drawCellValues, drawHatch, drawHeatMap, drawLevels, drawPath } from "../../draw/raster.js";
import { drawSurfaceGl, drawSurfaceSoft, drawWire, glPainter, meshPoints, pickSurface } from "../../draw/surface.js";
import { dimAxis, insideFrame, outer, paletteOf, valueSpan } from "./scales.js";
import { placeLine, statusLine, valueLine } from "./words.js";

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

function tellPlane(panel, at) {
  const { cube, spec, slice, scale } = panel;
  const k = planeIndex(panel, at);
  const t = scale.at(slice.values[k]);
  const lines = [valueLine(cube, spec.var, slice.values[k]), placeLine(cube, at, [spec.x, spec.y])];
  if (t < -1e-6 || t > 1 + 1e-6) lines.push("drawn clipped at the limit of the scale");
  return [...lines, statusLine(panel, k)];
}

export const SURFACE = planeKind(drawSurfacePanel, pickSurfacePanel, spotSurfacePanel);

export const CONTOUR = { ...planeKind(drawContourPanel, pickPlane, spotPlane), read: readContour };

export const HEATMAP = { ...planeKind(drawHeatMapPanel, pickPlane, spotPlane), read: readHeatMap, tell: tellHeatMap, say: sayRate };
