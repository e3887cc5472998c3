// Lines and bars: values over one dimension, one colour per hue, with intervals where there is a band.
// A series holds { values, half, counts } at [h * nx + i] for hue h and x[i].

import { take, overBand } from "../data/cube.js";
import { readable } from "../data/numbers.js";
import { valueColor, nameColor, nameDash } from "../data/palette.js";
import { keepInside, setFont, LINE, lineWidth, wrap, outlined } from "./canvas.js";

export function readSeries(cube, spec, setting) {
  const keep = [spec.hue, spec.x, spec.band].filter(Boolean);
  const slice = take(cube, spec.var, setting, keep);
  if (spec.versus) lessReference(cube, spec, slice, keep);
  if (spec.floor) slice.floor = take(cube, spec.floor, spec.band ? { ...setting, [spec.band]: "mean" } : setting, [spec.x]).values;
  return spec.band ? overBand(cube, slice, cube.dims.get(spec.band).size) : slice;
}

// Each value less the one at the reference, pair by pair: of the same seed, so that what the seeds share falls out.
function lessReference(cube, spec, slice, keep) {
  const [[name, value]] = Object.entries(spec.versus);
  const at = keep.indexOf(name);
  const sizes = keep.map((dim) => cube.dims.get(dim).size);
  const step = sizes.slice(at + 1).reduce((a, b) => a * b, 1);
  const reference = cube.dims.get(name).exact.get(value);
  const values = slice.values.slice();
  values.forEach((v, k) => {
    const here = Math.floor(k / step) % sizes[at];
    slice.values[k] = v - values[k + (reference - here) * step];
  });
}

// Numbers take the middle of viridis, as in the static figure: its ends vanish on a dark page or on a white one.
export function hueStyle(cube, spec, h) {
  const hue = spec.hue && cube.dims.get(spec.hue);
  if (hue && hue.numeric) return { color: valueColor(0.33 + (0.52 * h) / Math.max(1, hue.size - 1)), dash: [] };
  return { color: nameColor(h), dash: nameDash(h) };
}

export function drawLines(ctx, frame, theme, spec, cube, series, ghost = null) {
  const x = cube.dims.get(spec.x).values;
  const hues = series.values.length / x.length;
  clipTo(ctx, frame);
  for (let h = 0; h < hues; h++) {
    const style = ghost ? { color: ghost, dash: nameDash(h) } : hueStyle(cube, spec, h);
    // Differences stand side by side with their whiskers: five bands over each other could not be told apart.
    const aside = spec.versus ? 5 * (h - (hues - 1) / 2) : 0;
    const at = (i) => [frame.px(x[i]) + aside, frame.py(series.values[h * x.length + i])];
    if (series.half && spec.versus) drawWhiskers(ctx, frame, x, series, h, style.color, aside);
    else if (series.half) drawBand(ctx, frame, x, series, h, style.color);
    strokeSeries(ctx, x.length, at, { ...style, width: lineWidth(frame) });
    if (x.length <= 60 && !ghost) drawDots(ctx, x.length, at, style.color);
  }
  ctx.restore();
}

// What a measurement of nothing reads: dashed and grey, with what lies below it shaded.
export function drawFloor(ctx, frame, theme, x, values) {
  const there = [...x.keys()].filter((i) => Number.isFinite(frame.py(values[i])));
  if (!there.length) return;
  clipTo(ctx, frame);
  const trace = () => {
    ctx.beginPath();
    there.forEach((i, k) => ctx[k ? "lineTo" : "moveTo"](frame.px(x[i]), frame.py(values[i])));
  };
  trace();
  ctx.lineTo(frame.px(x[there[there.length - 1]]), frame.top + frame.height);
  ctx.lineTo(frame.px(x[there[0]]), frame.top + frame.height);
  ctx.fillStyle = theme.ink;
  ctx.globalAlpha = 0.1;
  ctx.fill();
  ctx.globalAlpha = 0.65;
  ctx.strokeStyle = theme.ink;
  ctx.lineWidth = 1.5;
  ctx.setLineDash([5, 4]);
  trace();
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.globalAlpha = 1;
  ctx.restore();
}

// The line through the points that are there; over a gap it is thin and faint.
function strokeSeries(ctx, count, at, style) {
  ctx.strokeStyle = style.color;
  ctx.lineJoin = "round";
  ctx.lineWidth = style.width;
  ctx.setLineDash(style.dash);
  const over = [];
  let last = null;
  ctx.beginPath();
  for (let i = 0; i < count; i++) {
    const [x, y] = at(i);
    if (Number.isNaN(y)) continue;
    if (last && last.i === i - 1) ctx.lineTo(x, y);
    else ctx.moveTo(x, y);
    if (last && last.i < i - 1) over.push([last, { x, y }]);
    last = { i, x, y };
  }
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.lineWidth = 1;
  ctx.globalAlpha = 0.65;
  ctx.beginPath();
  for (const [from, to] of over) {
    ctx.moveTo(from.x, from.y);
    ctx.lineTo(to.x, to.y);
  }
  ctx.stroke();
  ctx.globalAlpha = 1;
}

export function clipTo(ctx, frame) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(frame.left, frame.top - 2, frame.width, frame.height + 4);
  ctx.clip();
}

function drawWhiskers(ctx, frame, x, series, h, color, aside) {
  ctx.strokeStyle = color;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  x.forEach((value, i) => {
    const [middle, half] = [series.values[h * x.length + i], series.half[h * x.length + i]];
    if (!(half > 0)) return;
    const px = frame.px(value) + aside;
    const ends = [frame.py(middle + half), frame.py(middle - half)];
    ctx.moveTo(px, ends[0]);
    ctx.lineTo(px, ends[1]);
    for (const py of ends) {
      ctx.moveTo(px - 3, py);
      ctx.lineTo(px + 3, py);
    }
  });
  ctx.stroke();
}

function drawBand(ctx, frame, x, series, h, color) {
  ctx.globalAlpha = 0.22;
  ctx.fillStyle = color;
  const n = x.length;
  const edge = (i, sign) => frame.py(series.values[h * n + i] + sign * series.half[h * n + i]);
  const there = Array.from({ length: n }, (_, i) => i).filter((i) => !Number.isNaN(edge(i, 1)));
  there.slice(1).forEach((to, k) => {
    const from = there[k];
    const corners = [edge(from, 1), edge(to, 1), edge(to, -1), edge(from, -1)];
    ctx.globalAlpha = to === from + 1 ? 0.22 : 0.1; // over a gap, as the line
    ctx.beginPath();
    [x[from], x[to], x[to], x[from]].forEach((value, c) => ctx[c ? "lineTo" : "moveTo"](frame.px(value), corners[c]));
    ctx.fill();
  });
  ctx.globalAlpha = 1;
}

function drawDots(ctx, count, at, color) {
  ctx.fillStyle = color;
  for (let i = 0; i < count; i++) {
    const [x, y] = at(i);
    if (Number.isNaN(y)) continue;
    ctx.beginPath();
    ctx.arc(x, y, 2.6, 0, 2 * Math.PI);
    ctx.fill();
  }
}

// Where the reader's slider stands on an axis that is also a control.
export function drawCursor(ctx, frame, theme, value) {
  const x = frame.px(value);
  ctx.strokeStyle = theme.accent;
  ctx.lineWidth = 1.5;
  ctx.setLineDash([4, 4]);
  ctx.beginPath();
  ctx.moveTo(x, frame.top);
  ctx.lineTo(x, frame.top + frame.height);
  ctx.stroke();
  ctx.setLineDash([]);
}

// Geometry of the bar of hue h at x[i], in pixels.
export function barBox(frame, size, hues, series, h, i) {
  const slot = frame.width / size;
  const width = Math.min(64, (slot * 0.76) / hues);
  const centre = frame.left + slot * (i + 0.5) + (h - (hues - 1) / 2) * width;
  const value = series.values[h * size + i];
  const base = frame.top + frame.height * (1 - Math.max(0, Math.min(1, frame.y.at(Math.max(0, frame.y.lo)) || 0)));
  return { centre, width: width * (hues > 1 ? 0.92 : 1), top: frame.py(value), base, value };
}

export function drawBars(ctx, frame, theme, spec, cube, series, chosen) {
  const x = cube.dims.get(spec.x);
  const hues = series.values.length / x.size;
  clipTo(ctx, frame);
  for (let i = 0; i < x.size; i++) {
    for (let h = 0; h < hues; h++) {
      const bar = barBox(frame, x.size, hues, series, h, i);
      if (Number.isNaN(bar.top)) continue;
      const box = [bar.centre - bar.width / 2, Math.min(bar.top, bar.base), bar.width, Math.abs(bar.base - bar.top)];
      ctx.fillStyle = theme.page;
      ctx.fillRect(...box);
      ctx.globalAlpha = chosen !== null && chosen !== i ? 0.55 : 1; // the chosen one stands out
      ctx.fillStyle = hueStyle(cube, spec, h).color;
      ctx.fillRect(...box);
      ctx.globalAlpha = 1;
      if (series.half) drawWhisker(ctx, frame, theme, bar, series.half[h * x.size + i]);
    }
  }
  ctx.restore();
  if (x.size * hues <= 10) labelBars(ctx, frame, theme, x.size, hues, series);
  labelSlots(ctx, frame, theme, x, chosen);
}

// Where the bars stood at the pinned setting.
export function drawGhostBars(ctx, frame, theme, size, series) {
  const hues = series.values.length / size;
  ctx.strokeStyle = theme.ink;
  ctx.lineWidth = 2;
  ctx.setLineDash([3, 2]);
  ctx.beginPath();
  for (let i = 0; i < size; i++) {
    for (let h = 0; h < hues; h++) {
      const bar = barBox(frame, size, hues, series, h, i);
      if (Number.isNaN(bar.top)) continue;
      ctx.moveTo(bar.centre - bar.width / 2, bar.top);
      ctx.lineTo(bar.centre + bar.width / 2, bar.top);
    }
  }
  ctx.stroke();
  ctx.setLineDash([]);
}

function drawWhisker(ctx, frame, theme, bar, half) {
  if (!(half > 0)) return;
  const [top, bottom] = [frame.py(bar.value + half), frame.py(bar.value - half)];
  const cap = Math.min(6, bar.width / 4);
  ctx.strokeStyle = theme.ink;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  ctx.moveTo(bar.centre, top);
  ctx.lineTo(bar.centre, bottom);
  for (const y of [top, bottom]) {
    ctx.moveTo(bar.centre - cap, y);
    ctx.lineTo(bar.centre + cap, y);
  }
  ctx.stroke();
}

function labelBars(ctx, frame, theme, size, hues, series) {
  setFont(ctx, theme, frame.font);
  ctx.textAlign = "center";
  ctx.textBaseline = "bottom";
  for (let i = 0; i < size; i++) {
    for (let h = 0; h < hues; h++) {
      const bar = barBox(frame, size, hues, series, h, i);
      const text = Number.isNaN(bar.top) ? "\u2013" : readable(Number(bar.value.toPrecision(3)));
      if (ctx.measureText(text).width > (frame.width / size / hues) * 1.05) continue;
      const half = series.half && series.half[h * size + i] > 0 ? series.half[h * size + i] : 0;
      const y = Number.isNaN(bar.top) ? bar.base : Math.min(bar.top, frame.py(bar.value + half), bar.base);
      outlined(ctx, theme, text, bar.centre, Math.max(frame.top + frame.font + 2, y - 3));
    }
  }
}

const LEAST = 8.5; // pixels: letters that a reader far away can still tell apart (ours)

// Names under the bars; the chosen one in bold. A long word makes them all a little smaller rather than be cut; in a
// small multiple too long ones stand in two rows, every other one lower, and where that is too narrow upright in front
// of their bars.
export function slotLabels(ctx, frame, theme, x) {
  const slot = frame.width / x.size - (frame.compact ? 3 : 4);
  const weight = frame.compact ? "" : "bold";
  setFont(ctx, theme, frame.font, weight);
  const longest = Math.max(...x.words.flatMap((word) => word.split(" ")).map((word) => ctx.measureText(word).width));
  const font = Math.max(LEAST, frame.font * Math.min(1, slot / longest));
  if (frame.compact && (longest * font) / frame.font > slot) return staggered(ctx, frame, x) || { font, upright: true, lines: x.words.map(() => []) };
  setFont(ctx, theme, font, weight);
  return { font, lines: x.words.map((word) => wrap(ctx, word, slot)) };
}

// Whole names, of which each may be as broad as two slots; null where one is broader.
function staggered(ctx, frame, x) {
  const room = (2 * frame.width) / x.size - 6;
  if (frame.height < LOW || x.words.some((word) => ctx.measureText(word).width > room)) return null;
  return { font: frame.font, lines: x.words.map((word, i) => (i % 2 ? ["", word] : [word])) };
}
const LOW = 60; // pixels: a lower plot has no room to give away (ours)

function labelSlots(ctx, frame, theme, x, chosen) {
  const slot = frame.width / x.size;
  const { font, lines, upright } = slotLabels(ctx, frame, theme, x);
  if (upright) {
    standNames(ctx, frame, theme, x, slot);
    return;
  }
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  ctx.fillStyle = theme.muted;
  lines.forEach((words, i) => {
    setFont(ctx, theme, font, chosen === i && !frame.compact ? "bold" : "");
    words.forEach((line, k) => {
      const middle = keepInside(frame.left + slot * (i + 0.5), ctx.measureText(line).width / 2, frame.edge);
      ctx.fillText(line, middle, frame.top + frame.height + 6 + k * frame.font * LINE);
    });
  });
}

const UPRIGHT = 0.55; // of the plot's height, for a name that stands (ours)

function standNames(ctx, frame, theme, x, slot) {
  setFont(ctx, theme, frame.font);
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  const step = frame.font * 1.1;
  const most = Math.floor(slot / step); // lines beside each other in one slot
  x.words.forEach((word, i) => {
    if (!most || ctx.measureText(word).width > most * (frame.height - 4)) return;
    // Short of the numbers above the bars, where several lines allow that.
    const lines = wrap(ctx, word, Math.max(frame.height * (most > 1 ? UPRIGHT : 1), ...word.split(" ").map((part) => ctx.measureText(part).width)), most);
    ctx.save();
    ctx.translate(frame.left + slot * (i + 0.5), frame.top + frame.height - 4);
    ctx.rotate(-Math.PI / 2);
    lines.forEach((line, k) => outlined(ctx, theme, line, 0, (k - (lines.length - 1) / 2) * step));
    ctx.restore();
  });
}
