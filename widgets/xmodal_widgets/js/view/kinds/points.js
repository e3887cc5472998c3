// Points of a plane.

import { extent } from "../../data/cube.js";
import { padded, titled, valueScale } from "../../data/numbers.js";
import { axisOf, drawAxes, drawGrid, makeFrame } from "../../draw/canvas.js";
import { classesOf, drawCurves, drawPoints, readScatter } from "../../draw/scatter.js";
import { drawCorners } from "../corners.js";
import { outer } from "./scales.js";
import { placeLine, statusLine, valueLine } from "./words.js";

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

export const SCATTER = { read: readScatter, spans: spansOfScatter, draw: drawScatterPanel, pick: pickPoint, spot: spotPoint, tell: tellPoint, value: () => null, steps: (panel) => [panel.spec.points, null], bar: (cube, spec) => Boolean(spec.color) && !classesOf(cube, spec) };
