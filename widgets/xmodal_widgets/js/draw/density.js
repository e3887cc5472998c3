// A spectral density: a symmetric-log axis of λ, the area under the curve, eigenvalues marked on the axis.

import { tickLabels, readable } from "../data/numbers.js";
import { clipTo, hueStyle } from "./series.js";
import { compactFont, outlined, setFont } from "./canvas.js";

const FAINTEST = 1e-4; // of the largest density: what lies below is not shown (ours); as in page/figure.py

// λ = s sinh(u): even steps of u, so that the bulk around 0, far eigenvalues and the negative end are seen at once.
export function symlogAxis(lo, hi, s, count, title) {
  const [a, b] = [Math.asinh(lo / s), Math.asinh(hi / s)];
  const values = symlogTicks(lo, hi, s, count);
  return {
    lo, hi, log: false, values, labels: tickLabels(values, true), title,
    at: (v) => (Math.asinh(v / s) - a) / (b - a),
    value: (t) => s * Math.sinh(a + t * (b - a)),
    ticks: () => values,
  };
}

// Zero and powers of ten on both sides, as many as there is room for; the power at s itself lies too near to zero.
function symlogTicks(lo, hi, s, count) {
  const first = Math.round(Math.log10(s));
  const powers = Array.from({ length: 11 }, (_, e) => Number((10 ** (first + 1 + e)).toPrecision(12)));
  const inside = (stride) => {
    const some = powers.filter((_, e) => e % stride === 0);
    return [...some.map((p) => -p).reverse(), 0, ...some].filter((v) => v >= lo && v <= hi);
  };
  let stride = 1;
  while (inside(stride).length > Math.max(3, count) && stride < 11) stride++;
  return inside(stride);
}

// From where to where any density of the cube, or a marked eigenvalue, is seen; once for a cube.
const seen = new WeakMap();
export function lambdaSpan(cube, spec) {
  if (!seen.has(cube)) seen.set(cube, new Map());
  const known = seen.get(cube);
  const key = JSON.stringify([spec.var, spec.x, spec.marks]);
  if (!known.has(key)) known.set(key, findSpan(cube, spec));
  return known.get(key);
}

function findSpan(cube, spec) {
  const v = cube.vars.get(spec.var);
  const grid = cube.dims.get(spec.x).values;
  const step = v.strides[v.dims.indexOf(spec.x)];
  const most = new Float32Array(grid.length);
  const count = v.shape.reduce((a, b) => a * b, 1);
  for (let n = 0; n < count; n++) {
    const i = Math.floor(n / step) % grid.length;
    const value = cube.data[v.offset + n];
    if (Number.isFinite(value) && value > most[i]) most[i] = value;
  }
  const floor = FAINTEST * Math.max(...most);
  const there = [...most.keys()].filter((i) => most[i] > floor);
  if (!there.length) return [grid[0], grid[grid.length - 1]];
  const ends = [grid[Math.max(0, there[0] - 1)], grid[Math.min(grid.length - 1, there[there.length - 1] + 1)]];
  const marked = (spec.marks && cube.vars.get(spec.marks).range) || [];
  return [Math.min(...ends, ...marked), Math.max(...ends, ...marked)];
}

// On a log scale from the largest down to the faintest that is shown.
export const floored = (span, log) => (span && log ? [Math.max(span[0], span[1] * FAINTEST), span[1]] : span);

export function fillUnder(ctx, frame, spec, cube, series) {
  const x = cube.dims.get(spec.x).values;
  clipTo(ctx, frame);
  for (let h = 0; h < series.values.length / x.length; h++) {
    ctx.fillStyle = hueStyle(cube, spec, h).color;
    ctx.globalAlpha = 0.18;
    ctx.beginPath();
    const there = [...x.keys()].filter((i) => Number.isFinite(frame.py(series.values[h * x.length + i])));
    there.forEach((i, k) => ctx[k ? "lineTo" : "moveTo"](frame.px(x[i]), frame.py(series.values[h * x.length + i])));
    if (there.length) {
      ctx.lineTo(frame.px(x[there[there.length - 1]]), frame.top + frame.height);
      ctx.lineTo(frame.px(x[there[0]]), frame.top + frame.height);
    }
    ctx.fill();
  }
  ctx.globalAlpha = 1;
  ctx.restore();
}

// Zero as a line, each eigenvalue as a wedge that stands on the axis; the leading one says its value.
export function drawEigenvalues(ctx, frame, theme, spec, cube, marks) {
  clipTo(ctx, frame);
  ctx.strokeStyle = theme.faint;
  ctx.beginPath();
  ctx.moveTo(frame.px(0), frame.top);
  ctx.lineTo(frame.px(0), frame.top + frame.height);
  ctx.stroke();
  const foot = frame.top + frame.height;
  const hues = marks ? marks.values.length / marks.each : 0;
  for (let h = 0; h < hues; h++) {
    const values = [...marks.values.subarray(h * marks.each, (h + 1) * marks.each)].filter(Number.isFinite);
    ctx.fillStyle = marks.hued ? hueStyle(cube, spec, h).color : theme.accent;
    for (const value of values) {
      const x = frame.px(value);
      ctx.beginPath();
      ctx.moveTo(x, foot - 16);
      ctx.lineTo(x + 4, foot);
      ctx.lineTo(x - 4, foot);
      ctx.fill();
    }
  }
  ctx.restore();
  if (hues !== 1 || !marks.values.some(Number.isFinite)) return;
  const most = Math.max(...[...marks.values].filter(Number.isFinite));
  setFont(ctx, theme, compactFont(frame.width), "bold");
  ctx.textAlign = frame.px(most) > frame.left + frame.width * 0.7 ? "right" : "left";
  ctx.textBaseline = "bottom";
  outlined(ctx, theme, `λ_max ${readable(Number(most.toPrecision(3)))}`, frame.px(most), foot - 19);
}
