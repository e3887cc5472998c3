// Points. Classes differ by colour and by shape; other colours are values.

import { take } from "../data/cube.js";
import { VIRIDIS_CSS, NAMED, nameColor, nameDash, shade } from "../data/palette.js";
import { lineWidth } from "./canvas.js";
import { clipTo } from "./series.js";

export function readScatter(cube, spec, setting) {
  const one = (name, codes = false) => take(cube, name, setting, [spec.points], codes);
  const [x, y] = [one(spec.x), one(spec.y)];
  const color = spec.color ? one(spec.color, cube.vars.get(spec.color).whole) : null;
  const interpolated = x.interpolated || y.interpolated;
  return { x, y, color, interpolated, values: x.values, members: x.members, counts: x.counts };
}

// The classes of a colour variable: [{ code, name }], or null when it is a scale.
export function classesOf(cube, spec) {
  const v = spec.color && cube.vars.get(spec.color);
  if (!v || !v.whole) return null;
  if (!v.classes) {
    v.classes = codesOf(cube, v).sort((a, b) => a - b).map((code) => ({ code, name: v.meanings[code] ?? String(code) }));
  }
  return v.classes.length <= NAMED.length ? v.classes : null;
}

// The different codes of a variable; no further than it takes to see that there are too many to name.
function codesOf(cube, v) {
  const codes = new Set();
  for (let k = v.offset, end = k + v.shape.reduce((a, b) => a * b, 1); k < end && codes.size <= NAMED.length; k++) {
    if (Number.isFinite(cube.data[k])) codes.add(cube.data[k]);
  }
  return [...codes];
}

export const SHAPES = [
  (ctx, x, y, r) => { ctx.moveTo(x + r, y); ctx.arc(x, y, r, 0, 2 * Math.PI); },
  (ctx, x, y, r) => ctx.rect(x - 0.85 * r, y - 0.85 * r, 1.7 * r, 1.7 * r),
  (ctx, x, y, r) => polygon(ctx, x, y, [[0, -1.2 * r], [1.1 * r, 0.8 * r], [-1.1 * r, 0.8 * r]]),
  (ctx, x, y, r) => polygon(ctx, x, y, [[0, -1.3 * r], [1.1 * r, 0], [0, 1.3 * r], [-1.1 * r, 0]]),
  (ctx, x, y, r) => polygon(ctx, x, y, [[0, 1.2 * r], [1.1 * r, -0.8 * r], [-1.1 * r, -0.8 * r]]),
];

function polygon(ctx, x, y, corners) {
  corners.forEach(([dx, dy], k) => ctx[k ? "lineTo" : "moveTo"](x + dx, y + dy));
  ctx.closePath();
}

// Points of one class as one curve, in their order; a class whose ends meet is a ring.
export function drawCurves(ctx, frame, points, classes, ghost = null) {
  const codes = classes || [{ code: 0 }];
  clipTo(ctx, frame);
  ctx.lineJoin = "round";
  codes.forEach(({ code }, place) => {
    ctx.strokeStyle = ghost || nameColor(place);
    ctx.setLineDash(nameDash(place));
    ctx.lineWidth = lineWidth(frame);
    ctx.beginPath();
    let pen = false;
    points.x.values.forEach((value, k) => {
      if (points.color && points.color.values[k] !== code) return;
      const [x, y] = [frame.px(value), frame.py(points.y.values[k])];
      if (Number.isNaN(x + y)) pen = false;
      else if (pen) ctx.lineTo(x, y);
      else ctx.moveTo(x, y);
      pen = !Number.isNaN(x + y);
    });
    ctx.stroke();
  });
  ctx.setLineDash([]);
  ctx.restore();
}

export function drawPoints(ctx, frame, points, classes, colorScale) {
  const count = points.x.values.length;
  const radius = Math.max(1.6, Math.min(4, 90 / Math.sqrt(count)));
  clipTo(ctx, frame);
  ctx.globalAlpha = count > 300 ? 0.7 : 0.9;
  const groups = new Map();
  for (let k = 0; k < count; k++) {
    const key = !points.color ? 0 : classes ? points.color.values[k] : shade(colorScale.at(points.color.values[k]));
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(k);
  }
  for (const [key, members] of groups) {
    const place = classes ? classes.findIndex((c) => c.code === key) : 0;
    ctx.fillStyle = classes || !points.color ? nameColor(Math.max(0, place)) : Number.isNaN(key) ? "gray" : VIRIDIS_CSS[key];
    const shape = SHAPES[Math.max(0, place) % SHAPES.length];
    const stamp = members.length > MANY ? stampOf(shape, place, ctx.fillStyle, radius) : null;
    if (!stamp) ctx.beginPath();
    const half = stamp ? stamp.side / 2 : 0;
    for (const k of members) {
      const x = frame.px(points.x.values[k]);
      const y = frame.py(points.y.values[k]);
      if (Number.isNaN(x + y)) continue;
      if (stamp) ctx.drawImage(stamp.canvas, x - half, y - half, stamp.side, stamp.side);
      else shape(ctx, x, y, radius);
    }
    if (!stamp) ctx.fill();
  }
  ctx.restore();
}

const MANY = 300; // points of a class; so many are stamped, since one path of them all takes longer to fill (ours)
const stamps = new Map();

function stampOf(shape, place, color, radius) {
  const ratio = window.devicePixelRatio || 1;
  const key = [place, color, radius, ratio].join();
  if (!stamps.has(key)) {
    const side = Math.ceil(2 * (1.3 * radius + 1));
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = Math.ceil(side * ratio);
    const ctx = canvas.getContext("2d");
    ctx.scale(canvas.width / side, canvas.width / side);
    ctx.fillStyle = color;
    ctx.beginPath();
    shape(ctx, side / 2, side / 2, radius);
    ctx.fill();
    if (stamps.size > 200) stamps.clear();
    stamps.set(key, { canvas, side });
  }
  return stamps.get(key);
}
