// Rows of names, each with an interval, the value found in it and a mark: a forest plot. Rows without numbers are left out.

import { take } from "../data/cube.js";
import { nameColor } from "../data/palette.js";
import { clipTo } from "./series.js";
import { SHAPES } from "./scatter.js";

const DIAMOND = SHAPES[3];

export function readIntervals(cube, spec, setting) {
  const one = (name, codes = false) => name && take(cube, name, setting, [spec.rows], codes);
  const value = one(spec.var);
  const [low, high, mark, margin] = [spec.low, spec.high, spec.mark, spec.margin].map((name) => one(name)?.values);
  const color = spec.color ? one(spec.color, true).values : null;
  const kept = [...value.values.keys()].filter((k) => Number.isFinite(value.values[k]));
  return { ...value, low, high, mark, margin, color, kept };
}

export const classColor = (spec, place) => spec.colors?.[place] || nameColor(place);

// Each row that is there has a slot of one size, the first on top.
export function rowAxis(cube, spec, kept) {
  const { words } = cube.dims.get(spec.rows);
  const place = new Map(kept.map((k, i) => [k, i]));
  const at = (k) => 1 - (place.get(k) + 0.5) / kept.length;
  return { lo: 0, hi: kept.length, log: false, at, values: kept, labels: kept.map((k) => words[k]), title: "", each: true };
}

export function drawIntervals(ctx, frame, theme, spec, slice, classes, ghost = null) {
  clipTo(ctx, frame);
  if (spec.shade) {
    const [from, to] = spec.shade.map(frame.px);
    ctx.fillStyle = theme.line;
    ctx.fillRect(from, frame.top, to - from, frame.height);
  }
  line(ctx, theme.faint, 1, [frame.px(0), frame.top], [frame.px(0), frame.top + frame.height]);
  ctx.restore();
  const inside = (v) => Math.max(frame.x.lo, Math.min(frame.x.hi, v));
  for (const k of slice.kept) {
    const y = frame.py(k);
    const place = classes ? classes.findIndex((c) => c.code === slice.color[k]) : 0;
    const color = ghost || classColor(spec, place);
    const value = slice.values[k];
    line(ctx, color, 2.5, [frame.px(inside(slice.low[k])), y], [frame.px(inside(slice.high[k])), y]);
    ctx.fillStyle = color;
    ctx.beginPath();
    if (value === inside(value)) SHAPES[0](ctx, frame.px(value), y, 3.5);
    else arrow(ctx, frame.px(inside(value)), y, Math.sign(value - inside(value)));
    ctx.fill();
    drawMarks(ctx, frame, theme, slice, k, y, inside);
  }
}

// The printed effect as a diamond (an arrow where it lies outside), the margin of a tie as brackets.
function drawMarks(ctx, frame, theme, slice, k, y, inside) {
  ctx.strokeStyle = theme.ink;
  ctx.lineWidth = 1.3;
  const mark = slice.mark ? slice.mark[k] : NaN;
  if (Number.isFinite(mark)) {
    ctx.beginPath();
    if (mark === inside(mark)) DIAMOND(ctx, frame.px(mark), y, 4);
    else arrow(ctx, frame.px(inside(mark)), y, Math.sign(mark - inside(mark)));
    ctx.stroke();
  }
  const margin = slice.margin ? slice.margin[k] : NaN;
  for (const side of Number.isFinite(margin) ? [-1, 1] : []) {
    if (inside(side * margin) !== side * margin) continue;
    const x = frame.px(side * margin);
    ctx.beginPath();
    ctx.moveTo(x - 3 * side, y - 5);
    ctx.lineTo(x, y - 5);
    ctx.lineTo(x, y + 5);
    ctx.lineTo(x - 3 * side, y + 5);
    ctx.stroke();
  }
}

function arrow(ctx, x, y, side) {
  ctx.moveTo(x, y);
  ctx.lineTo(x - 7 * side, y - 4);
  ctx.lineTo(x - 7 * side, y + 4);
  ctx.closePath();
}

function line(ctx, color, width, from, to) {
  ctx.strokeStyle = color;
  ctx.lineWidth = width;
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
}

// The row that the pointer is over.
export function pickInterval(panel, x, y) {
  const { frame, slice, spec } = panel;
  const i = Math.floor(((y - frame.top) / frame.height) * slice.kept.length);
  return slice.kept[i] === undefined ? null : { [spec.rows]: slice.kept[i] };
}

export function spotInterval(panel, at) {
  const { frame, slice, spec } = panel;
  const k = at[spec.rows];
  const value = slice.values[k];
  return Number.isFinite(value) ? { x: frame.px(Math.max(frame.x.lo, Math.min(frame.x.hi, value))), y: frame.py(k) } : null;
}
