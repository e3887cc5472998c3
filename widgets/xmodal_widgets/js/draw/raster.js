// Heat map and contour of a plane. Values lie at [i * ny + j] for x[i], y[j].

import { readable } from "../data/numbers.js";
import { shade } from "../data/palette.js";
import { lineWidth, setFont } from "./canvas.js";

const scratch = { canvas: null, ctx: null };

// Paints width x height pixels by colour number and lays them into the frame.
function paintPixels(ctx, frame, width, height, pixels) {
  scratch.canvas = scratch.canvas || document.createElement("canvas");
  scratch.ctx = scratch.ctx || scratch.canvas.getContext("2d");
  if (scratch.canvas.width !== width || scratch.canvas.height !== height) {
    scratch.canvas.width = width;
    scratch.canvas.height = height;
  }
  scratch.ctx.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
  ctx.drawImage(scratch.canvas, 0, 0, width, height, frame.left, frame.top, frame.width, frame.height);
}

// Thin diagonals under the picture: what stays visible of them was not computed, or is NaN.
export function drawHatch(ctx, frame, theme) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(frame.left, frame.top, frame.width, frame.height);
  ctx.clip();
  ctx.strokeStyle = theme.line;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (let d = -frame.height; d < frame.width; d += 8) {
    ctx.moveTo(frame.left + d, frame.top + frame.height);
    ctx.lineTo(frame.left + d + frame.height, frame.top);
  }
  ctx.stroke();
  ctx.restore();
}

// Borders of cells: midway between points, and as far out at the rim.
export function cellEdges(points) {
  const n = points.length;
  const edges = [points[0] - (points[1] - points[0]) / 2];
  for (let i = 1; i < n; i++) edges.push((points[i - 1] + points[i]) / 2);
  edges.push(points[n - 1] + (points[n - 1] - points[n - 2]) / 2);
  return edges;
}

// `edges` are the borders of the cells along both sides, in the units of the frame; `veil` makes low values see-through,
// for a plane that lies over a picture.
export function drawHeatMap(ctx, frame, plane, scale, edges, palette, veil = false) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.max(1, Math.round(frame.width * ratio)), Math.max(1, Math.round(frame.height * ratio))];
  const columns = cellOfPixel(edges.x, width);
  const rows = cellOfPixel(edges.y, height);
  const colors = pixelColors(plane.values, scale, palette, veil);
  const pixels = new Uint32Array(width * height);
  const ny = plane.y.length;
  for (let r = 0; r < height; r++) {
    const j = rows[height - 1 - r];
    for (let c = 0; c < width; c++) pixels[r * width + c] = colors[columns[c] * ny + j];
  }
  ctx.imageSmoothingEnabled = false;
  paintPixels(ctx, frame, width, height, pixels);
}

const [ROOM, MOST_WRITTEN] = [6, 80]; // pixels beside a number; cells that one reads one by one (ours)

// The number of each cell in it, if all have room for theirs: dark letters on light cells, light ones on dark.
export function drawCellValues(ctx, frame, plane, scale, edges, palette, theme) {
  const ny = plane.y.length;
  if (plane.values.length > MOST_WRITTEN) return;
  setFont(ctx, theme, frame.font);
  const words = Array.from(plane.values, (v) => (Number.isNaN(scale.at(v)) ? "" : readable(Number(v.toPrecision(2)))));
  const place = (list, k, origin, length, up) => {
    const [lo, hi] = [list[0], list[list.length - 1]].map(Number);
    const [a, b] = [list[k], list[k + 1]].map((v) => (v - lo) / (hi - lo));
    return { middle: origin + (up ? 1 - (a + b) / 2 : (a + b) / 2) * length, wide: (b - a) * length };
  };
  const across = plane.x.map((_, i) => place(edges.x, i, frame.left, frame.width, false));
  const upwards = plane.y.map((_, j) => place(edges.y, j, frame.top, frame.height, true));
  const fits = (k) => ctx.measureText(words[k]).width + ROOM <= across[Math.floor(k / ny)].wide && frame.font + 4 <= upwards[k % ny].wide;
  if (!words.every((_, k) => fits(k))) return;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  words.forEach((word, k) => {
    const [r, g, b] = palette.rgb[shade(scale.at(plane.values[k]))] || [0, 0, 0];
    ctx.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#1b1b1b" : "#ffffff";
    ctx.fillText(word, across[Math.floor(k / ny)].middle, upwards[k % ny].middle);
  });
}

function cellOfPixel(edges, count) {
  const [lo, hi] = [edges[0], edges[edges.length - 1]];
  let cell = 0;
  return Int32Array.from({ length: count }, (_, p) => {
    const at = lo + ((p + 0.5) / count) * (hi - lo);
    while (cell < edges.length - 2 && at > edges[cell + 1]) cell++;
    return cell;
  });
}

function pixelColors(values, scale, palette, veil) {
  return Uint32Array.from(values, (v) => {
    const t = scale.at(v);
    if (Number.isNaN(t)) return 0;
    const color = palette.pixels[shade(t)];
    return veil ? ((color & 0xffffff) | (shade(0.1 + 0.75 * Math.max(0, Math.min(1, t))) << 24)) >>> 0 : color;
  });
}

// Filled bands: each pixel takes the colour of its band, by bilinear interpolation of the four points around it.
export function drawBands(ctx, frame, plane, scale, levels, shown, palette) {
  const [width, height] = [Math.max(1, Math.round(frame.width)), Math.max(1, Math.round(frame.height))];
  const columns = stepOfPixel(plane.x, width);
  const rows = stepOfPixel(plane.y, height);
  const ny = plane.y.length;
  const t = Float32Array.from(plane.values, (v) => scale.at(v));
  const cuts = levels.map((v) => scale.at(v));
  const colors = bandColors(cuts, shown.map((v) => scale.at(v)), palette);
  const pixels = new Uint32Array(width * height);
  for (let r = 0; r < height; r++) {
    const { index: j, share: g } = rows[height - 1 - r];
    for (let c = 0; c < width; c++) {
      const { index: i, share: f } = columns[c];
      const k = i * ny + j;
      const v = (t[k] * (1 - f) + t[k + ny] * f) * (1 - g) + (t[k + 1] * (1 - f) + t[k + ny + 1] * f) * g;
      if (Number.isNaN(v)) continue;
      let band = 0;
      while (band < cuts.length && v >= cuts[band]) band++;
      pixels[r * width + c] = colors[band];
    }
  }
  ctx.imageSmoothingEnabled = true;
  paintPixels(ctx, frame, width, height, pixels);
}

// Each band takes the colour of its middle; the outer ones reach to the lowest and highest value shown.
function bandColors(cuts, [lo, hi], palette) {
  const ends = [Math.max(0, lo), ...cuts, Math.min(1, hi)];
  return ends.slice(1).map((end, k) => palette.pixels[shade((ends[k] + end) / 2)]);
}

function stepOfPixel(points, count) {
  const [lo, hi] = [points[0], points[points.length - 1]];
  let i = 0;
  return Array.from({ length: count }, (_, p) => {
    const at = lo + ((p + 0.5) / count) * (hi - lo);
    while (i < points.length - 2 && at > points[i + 1]) i++;
    return { index: i, share: (at - points[i]) / (points[i + 1] - points[i]) };
  });
}

// Level lines by marching squares: [x1, y1, x2, y2, ...] in pixels.
function levelLine(frame, plane, level) {
  const [nx, ny] = [plane.x.length, plane.y.length];
  const px = plane.x.map((v) => frame.px(v));
  const py = plane.y.map((v) => frame.py(v));
  const { values } = plane;
  const points = [];
  const cross = (i, j, di, dj) => {
    const a = values[i * ny + j];
    const s = (level - a) / (values[(i + di) * ny + j + dj] - a);
    points.push(px[i] + (di ? s * (px[i + 1] - px[i]) : 0), py[j] + (dj ? s * (py[j + 1] - py[j]) : 0));
  };
  for (let i = 0; i < nx - 1; i++) {
    for (let j = 0; j < ny - 1; j++) {
      const k = i * ny + j;
      const [a, b, c, d] = [values[k], values[k + ny], values[k + ny + 1], values[k + 1]];
      if (!Number.isFinite(a + b + c + d)) continue;
      if (a < level !== b < level) cross(i, j, 1, 0);
      if (b < level !== c < level) cross(i + 1, j, 0, 1);
      if (d < level !== c < level) cross(i, j + 1, 1, 0);
      if (a < level !== d < level) cross(i, j, 0, 1);
    }
  }
  return points;
}

export function drawLevels(ctx, frame, plane, levels, labels, theme) {
  const placed = [];
  ctx.lineWidth = lineWidth(frame) / 2;
  levels.forEach((level, k) => {
    const points = levelLine(frame, plane, level);
    ctx.strokeStyle = "rgba(255, 255, 255, 0.75)";
    ctx.beginPath();
    for (let p = 0; p + 3 < points.length; p += 4) {
      ctx.moveTo(points[p], points[p + 1]);
      ctx.lineTo(points[p + 2], points[p + 3]);
    }
    ctx.stroke();
    const spot = labelSpot(points, placed, frame);
    if (spot) placed.push({ ...spot, text: labels[k] });
  });
  setFont(ctx, theme, Math.max(10, frame.font - 2));
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.lineJoin = "round";
  for (const { x, y, text } of placed) {
    ctx.lineWidth = 3;
    ctx.strokeStyle = "rgba(0, 0, 0, 0.6)";
    ctx.strokeText(text, x, y);
    ctx.fillStyle = "#fff";
    ctx.fillText(text, x, y);
  }
}

// A way across the plane: joined places, a ring where it begins, a dot where it ends; dark under light, so that it is
// seen on every band.
// `step`, where it is given, is the place on the way that is marked.
export function drawPath(ctx, frame, path, step = null) {
  const places = Array.from({ length: path.length / 2 }, (_, k) => [frame.px(path[2 * k]), frame.py(path[2 * k + 1])]);
  const there = places.filter(([x, y]) => Number.isFinite(x + y));
  if (!there.length) return;
  const [first, last] = [there[0], there[there.length - 1]];
  for (const [color, wide] of [["rgba(0, 0, 0, 0.65)", 2], ["#fff", 0]]) {
    ctx.strokeStyle = color;
    ctx.fillStyle = color;
    ctx.lineJoin = "round";
    ctx.lineWidth = 1.8 + wide;
    ctx.beginPath();
    there.forEach(([x, y], k) => ctx[k ? "lineTo" : "moveTo"](x, y));
    ctx.stroke();
    for (const [x, y] of there.slice(1, -1)) circle(ctx, x, y, 2 + wide / 2, "fill");
    circle(ctx, ...first, 5, "stroke");
    circle(ctx, ...last, 4.5 + wide / 2, "fill");
  }
  if (step !== null) markStep(ctx, places, step);
}

function markStep(ctx, places, step) {
  const low = Math.floor(step);
  const [from, to] = [places[low], places[Math.min(places.length - 1, low + 1)]];
  const [x, y] = [0, 1].map((axis) => from[axis] + (step - low) * (to[axis] - from[axis]));
  if (!Number.isFinite(x + y)) return;
  ctx.lineWidth = 2;
  ctx.fillStyle = MARKED;
  ctx.strokeStyle = "#fff";
  circle(ctx, x, y, 6, "fill");
  circle(ctx, x, y, 6, "stroke");
}
const MARKED = "#d55e00"; // as marked eigenvalues

function circle(ctx, x, y, radius, how) {
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx[how]();
}

// One label per line, away from the other labels and from the rim; none if there is no room.
function labelSpot(points, placed, frame) {
  const inside = (x, y) =>
    x > frame.left + 18 && x < frame.left + frame.width - 18 && y > frame.top + 10 && y < frame.top + frame.height - 10;
  const count = points.length / 4;
  for (let k = 0; k < Math.min(count, 24); k++) {
    const p = 4 * Math.floor(((k * 0.618) % 1) * count);
    const [x, y] = [points[p], points[p + 1]];
    if (inside(x, y) && placed.every((other) => Math.hypot(other.x - x, other.y - y) > 44)) return { x, y };
  }
  return null;
}
