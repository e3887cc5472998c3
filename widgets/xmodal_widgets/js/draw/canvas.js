// Crisp canvases, frames with round ticks, colour bars.

import { tickLabels, readable } from "../data/numbers.js";
import { valueColor } from "../data/palette.js";

// Sizes a canvas to its CSS box times the device's pixel ratio; returns a context in CSS pixels.
export function fitCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.height = `${height}px`;
  }
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return ctx;
}

// Letters grow a little with the panel, for the last row before a projector.
export const fontSize = (width) => Math.max(11, Math.min(15, Math.round(9 + width / 110)));

export const compactFont = (width) => Math.max(10, Math.min(13, Math.round(7 + width / 70)));

export function setFont(ctx, theme, size, weight = "") {
  ctx.font = `${weight} ${size}px ${theme.font}`;
}

// As thick as the letters ask for: a line on a projector is no hair.
export const lineWidth = (frame) => Math.max(1.8, frame.font / 5.5);

export const LINE = 1.15; // from one line of text to the next, in letter heights

// The plot area of a panel and its two axes; x and y are { lo, hi, at, ticks, labels, title }, rows the lines of x's labels.
// Titles that are longer than their side stand on several lines.
// A compact one (a small multiple) names its x only, where that fits; its heading says the rest. An equal one has one
// scale for both; a boxed one a line all around, others only where their axes are; an inner one leaves the name of x to
// the panel below it, one aside that of y to the first of its row.
export function makeFrame(ctx, size, theme, x, y, { rows = 1, compact = false, equal = false, boxed = false, inner = false, aside = false } = {}) {
  const font = compact ? compactFont(size.width) : fontSize(size.width);
  setFont(ctx, theme, font);
  const below = compact ? shortTitle(ctx, x.title, size) : wrap(ctx, x.title, size.width - 8);
  const height = size.height - 8 - Math.ceil(7 + font * (0.25 + LINE * (rows + below.length)));
  const beside = compact ? [] : wrap(ctx, y.title, height);
  const names = nameColumns(ctx, theme, y, height, font);
  const left = Math.ceil(names.count * (names.widest + 8) + font * (0.35 + LINE * beside.length));
  const frame = { left, gutter: left, compact, top: 8, width: size.width - left - 10, height, font, x, y, names, rows, below, beside, boxed, inner, aside, edge: size.width };
  if (equal) makeEqual(frame);
  frame.px = (value) => frame.left + x.at(value) * frame.width;
  frame.py = (value) => frame.top + (1 - y.at(value)) * frame.height;
  return frame;
}

// In how many columns the names of y stand, and in which letters. Where each row must have its name, and rows lie closer
// than letters that one reads, their names stand in several columns, in turn.
function nameColumns(ctx, theme, y, height, font) {
  const slot = height / Math.max(1, y.labels.length);
  const count = y.each ? Math.ceil(LEAST / slot) : 1;
  const small = y.each ? Math.max(LEAST, Math.min(font, Math.floor(0.95 * count * slot))) : font;
  setFont(ctx, theme, small);
  const widest = Math.max(...y.labels.map((label) => ctx.measureText(label).width), 8);
  setFont(ctx, theme, font);
  return { count, widest, font: small };
}
const LEAST = 12; // pixels of a letter

// The name of a small multiple's x: uncut, on one line or two, or not at all.
function shortTitle(ctx, title, size) {
  const lines = size.height < 110 ? [] : wrap(ctx, title, size.width - 8, 2);
  return lines.join(" ") === title ? lines : [];
}

// One unit is as long to the right as upwards: the longer side of the plot is cut.
function makeEqual(frame) {
  const across = frame.width / (frame.x.hi - frame.x.lo);
  const up = frame.height / (frame.y.hi - frame.y.lo);
  const unit = Math.min(across, up);
  const [width, height] = [unit * (frame.x.hi - frame.x.lo), unit * (frame.y.hi - frame.y.lo)];
  frame.left += (frame.width - width) / 2;
  frame.top += (frame.height - height) / 2;
  Object.assign(frame, { width, height });
}

export function axisOf(scale, count, title, ticks = null) {
  const values = ticks || scale.ticks(count);
  return { ...scale, values, labels: tickLabels(values, scale.log), title };
}

export function drawGrid(ctx, frame, theme) {
  ctx.strokeStyle = theme.line;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (const value of frame.y.values) {
    const y = Math.round(frame.py(value)) + 0.5;
    ctx.moveTo(frame.left, y);
    ctx.lineTo(frame.left + frame.width, y);
  }
  ctx.stroke();
}

export function drawAxes(ctx, frame, theme) {
  const { left, top, width, height, font, x, y, edge } = frame;
  ctx.strokeStyle = theme.faint;
  ctx.lineWidth = 1;
  strokeBorder(ctx, frame);
  setFont(ctx, theme, font);
  ctx.fillStyle = theme.muted;
  ctx.textBaseline = "top";
  ctx.textAlign = "center";
  let free = -Infinity;
  x.values.forEach((value, k) => {
    const at = left + x.at(value) * width;
    const half = ctx.measureText(x.labels[k]).width / 2;
    const middle = keepInside(at, half, edge);
    tick(ctx, at, top + height, 0, 4, theme);
    if (middle - half < free) return;
    ctx.fillText(x.labels[k], middle, top + height + 6);
    free = middle + half + 6;
  });
  if (!frame.inner) frame.below.forEach((line, k) => {
    const middle = keepInside(left + width / 2, ctx.measureText(line).width / 2 + 2, edge);
    ctx.fillText(line, middle, top + height + 8 + font * (0.1 + LINE * (frame.rows + k)));
  });
  drawRowNames(ctx, frame, theme);
  setFont(ctx, theme, font);
  ctx.save();
  ctx.translate(Math.max(font * 0.75, left - frame.gutter + font * 0.75), top + height / 2);
  ctx.rotate(-Math.PI / 2);
  ctx.textAlign = "center";
  if (!frame.aside) frame.beside.forEach((line, k) => ctx.fillText(line, 0, k * font * LINE));
  ctx.restore();
}

function drawRowNames(ctx, { left, top, height, y, names }, theme) {
  setFont(ctx, theme, names.font);
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  const lowest = Array(names.count).fill(Infinity);
  y.values.forEach((value, k) => {
    const at = top + (1 - y.at(value)) * height;
    const column = k % names.count;
    const out = column * (names.widest + 8);
    tick(ctx, left, at, -4 - out, 0, theme);
    if (Math.abs(lowest[column] - at) < names.font) return;
    lowest[column] = at;
    ctx.fillText(y.labels[k], left - 6 - out, at);
  });
}

function strokeBorder(ctx, { left, top, width, height, boxed }) {
  const [x, y, w, h] = [Math.round(left) + 0.5, Math.round(top) + 0.5, Math.round(width), Math.round(height)];
  ctx.beginPath();
  if (boxed) ctx.rect(x, y, w, h);
  else {
    ctx.moveTo(x, y);
    ctx.lineTo(x, y + h);
    ctx.lineTo(x + w, y + h);
  }
  ctx.stroke();
}

export function tick(ctx, x, y, dx, dy, theme) {
  ctx.strokeStyle = theme.faint;
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(x + dx, y + dy);
  ctx.stroke();
}

// Text on as few lines as it needs, broken at spaces; what stands on the last of most lines, or a word alone, may be cut.
export function wrap(ctx, text, width, most = 3) {
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : "";
    if (longer && (lines.length === most || ctx.measureText(longer).width <= width)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.map((line) => fitText(ctx, line, width));
}

// A middle such that what reaches half as far on both sides stays between 0 and whole.
export const keepInside = (middle, half, whole) => Math.max(half, Math.min(whole - half, middle));

function fitText(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  let cut = text;
  while (cut.length > 1 && ctx.measureText(`${cut}\u2026`).width > width) cut = cut.slice(0, -1);
  return `${cut}\u2026`;
}

// The ring that marks the same point in every linked panel.
export function drawMark(ctx, x, y, theme) {
  ctx.lineWidth = 3;
  ctx.strokeStyle = theme.page;
  ring(ctx, x, y, 5.5);
  ctx.lineWidth = 1.75;
  ctx.strokeStyle = theme.ink;
  ring(ctx, x, y, 5.5);
}

// The value beside the mark, in panels that the pointer is not over.
export function drawMarkValue(ctx, size, spot, value, theme) {
  if (value === null || Number.isNaN(value)) return;
  setFont(ctx, theme, fontSize(size.width), "bold");
  const right = spot.x > size.width / 2;
  ctx.textAlign = right ? "right" : "left";
  ctx.textBaseline = "middle";
  outlined(ctx, theme, readable(value), spot.x + (right ? -11 : 11), Math.max(10, spot.y - 8));
}

export function outlined(ctx, theme, text, x, y) {
  ctx.lineJoin = "round";
  ctx.lineWidth = 3;
  ctx.strokeStyle = theme.page;
  ctx.strokeText(text, x, y);
  ctx.fillStyle = theme.ink;
  ctx.fillText(text, x, y);
}

function ring(ctx, x, y, radius) {
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.stroke();
}

export function drawNotice(ctx, size, theme, text) {
  const font = size.width < 260 ? 10 : fontSize(size.width);
  setFont(ctx, theme, font);
  ctx.fillStyle = theme.ink;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  const lines = wrap(ctx, text, size.width - 12, 5);
  lines.forEach((line, k) => ctx.fillText(line, size.width / 2, size.height / 2 + (k - (lines.length - 1) / 2) * font * LINE));
}

export const COLORBAR_WIDTH = 78;

// As wide as its title needs lines: draw it before the panels beside it are measured.
export function drawColorbar(canvas, height, scale, title, theme, palette) {
  const [left, top, width, tall, font] = [6, 10, 13, height - 20, 12];
  const measured = canvas.getContext("2d");
  setFont(measured, theme, font);
  const lines = wrap(measured, title, tall);
  const wide = COLORBAR_WIDTH + Math.ceil((lines.length - 1) * font * LINE);
  canvas.style.width = `${wide}px`;
  const ctx = fitCanvas(canvas, wide, height);
  for (let k = 0; k < tall; k++) {
    ctx.fillStyle = valueColor(1 - k / (tall - 1), palette);
    ctx.fillRect(left, top + k, width, 1.5);
  }
  ctx.strokeStyle = theme.faint;
  ctx.strokeRect(left + 0.5, top + 0.5, width, tall);
  setFont(ctx, theme, font);
  ctx.fillStyle = theme.muted;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  const ticks = scale.ticks(6);
  const labels = tickLabels(ticks, scale.log);
  ticks.forEach((value, k) => {
    const y = top + (1 - scale.at(value)) * tall;
    tick(ctx, left + width, y, 4, 0, theme);
    ctx.fillText(labels[k], left + width + 6, y);
  });
  ctx.save();
  ctx.translate(COLORBAR_WIDTH - 8, top + tall / 2);
  ctx.rotate(-Math.PI / 2);
  ctx.textAlign = "center";
  lines.forEach((line, k) => ctx.fillText(line, 0, k * font * LINE));
  ctx.restore();
}
