// A triangle whose corners the reader drags: P_i at 0, P_j to its right, P* above; its three sides are controls. Only
// real triangles with sides on the grid are in reach.

import { nearest } from "../data/numbers.js";

const REACH = 18; // pixels around a corner

// The corners as the sides draw them: [P* to P_i, P* to P_j, P_i to P_j, ...], each of `count` points.
function cornersOf(panel) {
  const { x, y } = panel.slice;
  const count = Math.round(x.values.length / 4);
  const point = (k) => ({ x: x.values[k], y: y.values[k] });
  return { star: point(0), i: point(count - 1), j: point(2 * count - 1) };
}

export function grabCorner(panel, x, y) {
  if (!panel.spec.corners || !panel.ready) return null;
  const spots = Object.entries(cornersOf(panel)).map(([name, p]) => ({ name, away: Math.hypot(panel.frame.px(p.x) - x, panel.frame.py(p.y) - y) }));
  const best = spots.reduce((a, b) => (b.away < a.away ? b : a));
  return best.away <= REACH ? best.name : null;
}

export function drawCorners(ctx, panel) {
  const { frame, theme } = panel;
  const names = { star: "P*", i: "P_i", j: "P_j" };
  for (const [name, p] of Object.entries(cornersOf(panel))) {
    const [x, y] = [frame.px(p.x), frame.py(p.y)];
    if (Number.isNaN(x + y)) continue;
    ctx.beginPath();
    ctx.arc(x, y, panel.compact ? 3 : 7, 0, 2 * Math.PI);
    ctx.fillStyle = theme.page;
    ctx.fill();
    ctx.lineWidth = 2;
    ctx.strokeStyle = theme.accent;
    ctx.stroke();
    if (panel.compact) continue;
    ctx.fillStyle = theme.ink;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    ctx.fillText(names[name], x + 9, y - 6);
  }
}

// The sides that a drag of one corner to a pixel asks for, as a patch of the state.
export function dragCorner(panel, name, x, y) {
  const { frame, spec, cube, setting } = panel;
  const at = { x: frame.x.value((x - frame.left) / frame.width), y: Math.max(0, frame.y.value(1 - (y - frame.top) / frame.height)) };
  const { star, j } = cornersOf(panel);
  const wanted = {
    star: [Math.hypot(at.x, at.y), Math.hypot(at.x - j.x, at.y), j.x],
    j: [Math.hypot(star.x, star.y), Math.hypot(star.x - at.x, star.y), at.x],
    i: [Math.hypot(star.x - at.x, star.y), Math.hypot(star.x - j.x, star.y), j.x - at.x],
  }[name];
  const free = { star: [true, true, false], j: [false, true, true], i: [true, false, true] }[name];
  const options = spec.corners.map((dim, k) => (free[k] ? cube.dims.get(dim).values : [setting[dim]]));
  return asPatch(spec.corners, closest(options, wanted));
}

// A slider may not leave the real triangles: its side goes as far as the other two allow.
export function keepReal(cube, corners, state, patch) {
  const moved = corners.filter((dim) => dim in patch);
  if (moved.length !== 1) return patch;
  const options = corners.map((dim) => (dim in patch ? cube.dims.get(dim).values : [state[dim]]));
  const found = closest(options, corners.map((dim) => patch[dim] ?? state[dim]));
  return found ? { ...patch, ...asPatch(moved, found.filter((_, k) => corners[k] in patch)) } : patch;
}

const asPatch = (dims, values) => (values ? Object.fromEntries(dims.map((dim, k) => [dim, values[k]])) : {});

export const isTriangle = (a, b, c) => 2 * Math.max(a, b, c) <= (a + b + c) * (1 + 1e-9);

function closest([as, bs, cs], wanted) {
  let best = null;
  const near = (values, v) => (values.length === 1 ? values : values.filter((_, k) => Math.abs(k - nearest(values, v)) <= 8));
  for (const a of near(as, wanted[0])) {
    for (const b of near(bs, wanted[1])) {
      for (const c of near(cs, wanted[2])) {
        if (!isTriangle(a, b, c)) continue;
        const away = (a - wanted[0]) ** 2 + (b - wanted[1]) ** 2 + (c - wanted[2]) ** 2;
        if (!best || away < best.away) best = { away, sides: [a, b, c] };
      }
    }
  }
  return best && best.sides;
}
