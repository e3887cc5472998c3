// A surface painted by the processor, where no graphics card would: nearest cells first, each pixel once.
// A software WebGL takes several times as long, most of it to copy its picture back.

import { PALETTES } from "../data/palette.js";

const LIGHTS = 64; // shades of one colour, from a wire in the dark (0.576) to full light (ours; 1 in 255 apart at most)
const [DARKEST, WIRE] = [0.8 * 0.72, 0.28];
const EDGE = 1e-3; // of a pixel: neighbours share an edge without a seam

export const meshStride = (n) => Math.max(1, Math.round((n - 1) / 20));

// Fills `out` (width * height, little-endian RGBA, all 0 at first) with the mesh `points` (as meshPoints gives them) seen
// by `view`, in device pixels: `ratio` of them to one CSS pixel.
export function paintFacets(out, width, height, view, points, nx, ny, ratio, palette = PALETTES.viridis) {
  const shades = shadesOf(palette);
  const seen = projected(view, points, nx * ny, ratio);
  const stride = [meshStride(nx), meshStride(ny)];
  // Along each axis away from the eye; so no cell hides one that was painted before it.
  const last = nx * ny - 1;
  const [right, far] = [(points[7 * last] - points[0]) * view.sa > 0, (points[7 * last + 1] - points[1]) * view.ca > 0];
  const nearFirst = (points[7 * (ny + 1)] - points[0]) * view.sa + (points[7 * (ny + 1) + 1] - points[1]) * view.ca > 0;
  const triangle = makeTriangle({ out, width, height, seen, points, shades, stride, ny });
  for (let a = 0; a < nx - 1; a++) {
    const i = right ? a : nx - 2 - a;
    for (let b = 0; b < ny - 1; b++) {
      const k = i * ny + (far ? b : ny - 2 - b);
      if (nearFirst) triangle(k, k + ny, k + 1);
      triangle(k + ny + 1, k + 1, k + ny);
      if (!nearFirst) triangle(k, k + ny, k + 1);
    }
  }
}

function projected(view, points, count, ratio) {
  const seen = new Float64Array(2 * count);
  for (let k = 0; k < count; k++) {
    const p = view.at(points[7 * k], points[7 * k + 1], points[7 * k + 2]);
    seen[2 * k] = p.x * ratio;
    seen[2 * k + 1] = p.y * ratio;
  }
  return seen;
}

// colour of tone t at light l: shades[(l << 8) | t]
const known = new Map();
function shadesOf(palette) {
  if (!known.has(palette)) {
    const shades = new Uint32Array(LIGHTS << 8);
    for (let l = 0; l < LIGHTS; l++) {
      const light = DARKEST + ((1 - DARKEST) * l) / (LIGHTS - 1);
      palette.rgb.forEach(([r, g, b], t) => {
        shades[(l << 8) | t] = (255 << 24) | (Math.round(b * light) << 16) | (Math.round(g * light) << 8) | Math.round(r * light);
      });
    }
    known.set(palette, shades);
  }
  return known.get(palette);
}

// The light on the triangle of mesh points a, b, c: its normal against a lamp above the front corner.
function lightOn(points, a, b, c) {
  const ux = points[7 * b] - points[7 * a], uy = points[7 * b + 1] - points[7 * a + 1], uz = points[7 * b + 2] - points[7 * a + 2];
  const vx = points[7 * c] - points[7 * a], vy = points[7 * c + 1] - points[7 * a + 1], vz = points[7 * c + 2] - points[7 * a + 2];
  const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
  return 0.8 + (0.2 * Math.abs(0.28 * x - 0.28 * y + 0.92 * z)) / (Math.sqrt(x * x + y * y + z * z) || 1);
}

// What is linear in the triangle of a, b, c, and so on the screen: its value at a, and its change along x and along y.
// Its numbers stand in objects that every triangle fills anew: thousands of small ones a picture are to be swept up again.
function makeTriangle(page) {
  const { points, seen, shades, stride } = page;
  const sides = { ax: 0, ay: 0, bx: 0, by: 0, cx: 0, cy: 0, area: 0 };
  const [tones, columns, rows] = [change(), change(), change()];
  return (a, b, c) => {
    if (points[7 * a + 4] + points[7 * b + 4] + points[7 * c + 4] < 3) return; // no value there
    sides.ax = seen[2 * a];
    sides.ay = seen[2 * a + 1];
    sides.bx = seen[2 * b] - sides.ax;
    sides.by = seen[2 * b + 1] - sides.ay;
    sides.cx = seen[2 * c] - sides.ax;
    sides.cy = seen[2 * c + 1] - sides.ay;
    sides.area = sides.bx * sides.cy - sides.cx * sides.by;
    if (Math.abs(sides.area) < 1e-9) return;
    const tone = 255 * points[7 * a + 3];
    linear(tones, sides, tone, 255 * points[7 * b + 3] - tone, 255 * points[7 * c + 3] - tone);
    const light = lightOn(points, a, b, c);
    // The wires are the drawn lines among the sides that lie along an axis: both begin at the right angle, a.
    const column = points[7 * a + 5] % stride[0] === 0 ? wire(columns, sides, points, a, b, c, 5) : NOWHERE;
    const row = points[7 * a + 6] % stride[1] === 0 ? wire(rows, sides, points, a, b, c, 6) : NOWHERE;
    fill(page, sides, shades, light, tones, column, row);
  };
}

const change = () => ({ start: 0, x: 0, y: 0 });
function linear(into, sides, start, toB, toC) {
  into.start = start;
  into.x = (toB * sides.cy - toC * sides.by) / sides.area;
  into.y = (toC * sides.bx - toB * sides.cx) / sides.area;
  return into;
}
const NOWHERE = { start: 2, x: 0, y: 0 };

// How far from the line on which a lies, in pixels.
function wire(into, sides, points, a, b, c, of) {
  linear(into, sides, 0, points[7 * b + of] - points[7 * a + of], points[7 * c + of] - points[7 * a + of]);
  const wide = Math.abs(into.x) + Math.abs(into.y);
  into.x /= wide;
  into.y /= wide;
  return into;
}

function fill({ out, width, height }, { ax, ay, bx, by, cx, cy, area }, shades, light, tone, column, row) {
  const scale = (LIGHTS - 1) / (1 - DARKEST);
  const level = Math.round((light - DARKEST) * scale) << 8;
  const wired = column !== NOWHERE || row !== NOWHERE;
  const top = Math.max(0, Math.ceil(ay + Math.min(0, by, cy) - 0.5 - EDGE));
  const bottom = Math.min(height - 1, Math.floor(ay + Math.max(0, by, cy) - 0.5 + EDGE));
  const toneX = tone.x, columnX = column.x, rowX = row.x;
  for (let y = top; y <= bottom; y++) {
    const dy = y + 0.5 - ay;
    // x between the sides: the shares of b and of c are at least 0, and their sum is at most 1.
    let from = -Infinity, to = Infinity;
    for (let side = 0; side < 3; side++) {
      const slope = (side === 0 ? cy : side === 1 ? -by : by - cy) / area;
      const start = side === 0 ? (-cx * dy) / area : side === 1 ? (bx * dy) / area : 1 + ((cx - bx) * dy) / area;
      if (slope > 0) from = Math.max(from, -start / slope);
      else if (slope < 0) to = Math.min(to, -start / slope);
      else if (start < 0) to = -Infinity;
    }
    const x0 = Math.max(0, Math.ceil(ax + from - 0.5 - EDGE));
    const x1 = Math.min(width - 1, Math.floor(ax + to - 0.5 + EDGE));
    const dx = x0 + 0.5 - ax;
    let t = tone.start + toneX * dx + tone.y * dy + 0.5;
    let c = column.start + columnX * dx + column.y * dy;
    let r = row.start + rowX * dx + row.y * dy;
    for (let at = y * width + x0, end = at + x1 - x0; at <= end; at++, t += toneX, c += columnX, r += rowX) {
      if (out[at] !== 0) continue;
      const shade = t < 0 ? 0 : t > 255 ? 255 : t | 0;
      let lit = level;
      if (wired) {
        const gap = Math.min(Math.abs(c), Math.abs(r));
        if (gap < 1) lit = ((light * (1 - WIRE * (1 - gap)) - DARKEST) * scale + 0.5) << 8;
      }
      out[at] = shades[lit | shade];
    }
  }
}
