// A surface painted by the processor, against a slow oracle: every triangle at every pixel, the nearest wins.
import assert from "node:assert/strict";
import { test } from "node:test";

import { PALETTES } from "../../../widgets/xmodal_widgets/js/data/palette.js";
import { makeProjection } from "../../../widgets/xmodal_widgets/js/draw/camera.js";
import { paintFacets } from "../../../widgets/xmodal_widgets/js/draw/facets.js";

const SIZE = { width: 130, height: 110 };

function mesh(view, nx, ny, height) {
  const points = new Float32Array(nx * ny * 7);
  for (let i = 0; i < nx; i++) {
    for (let j = 0; j < ny; j++) {
      const [x, y] = [(2 * i) / (nx - 1) - 1, (2 * j) / (ny - 1) - 1];
      const tone = height(x, y);
      const there = Number.isFinite(tone);
      points.set([x, y, there ? (2 * tone - 1) * view.tall : 0, there ? tone : 0, there ? 1 : 0, i, j], 7 * (i * ny + j));
    }
  }
  return points;
}

function painted(view, points, nx, ny, ratio = 1) {
  const [width, height] = [SIZE.width * ratio, SIZE.height * ratio];
  const out = new Uint32Array(width * height);
  paintFacets(out, width, height, view, points, nx, ny, ratio);
  return out;
}

// The tone of the nearest triangle at each pixel, NaN where there is none; how near its border a pixel is, in shares.
function oracle(view, points, nx, ny) {
  const tones = new Float64Array(SIZE.width * SIZE.height).fill(NaN);
  const depths = new Float64Array(tones.length).fill(Infinity);
  const doubtful = new Uint8Array(tones.length);
  const at = (k) => ({ ...view.at(points[7 * k], points[7 * k + 1], points[7 * k + 2]), tone: points[7 * k + 3], there: points[7 * k + 4] });
  for (let i = 0; i < nx - 1; i++) {
    for (let j = 0; j < ny - 1; j++) {
      const k = i * ny + j;
      for (const [p, q, r] of [[k, k + ny, k + 1], [k + ny + 1, k + 1, k + ny]].map((ring) => ring.map(at))) {
        if (!(p.there && q.there && r.there)) continue;
        const area = (q.x - p.x) * (r.y - p.y) - (r.x - p.x) * (q.y - p.y);
        for (let n = 0; n < tones.length; n++) {
          const [x, y] = [(n % SIZE.width) + 0.5 - p.x, Math.floor(n / SIZE.width) + 0.5 - p.y];
          const second = (x * (r.y - p.y) - (r.x - p.x) * y) / area;
          const third = ((q.x - p.x) * y - x * (q.y - p.y)) / area;
          const inside = Math.min(second, third, 1 - second - third);
          if (Math.abs(inside) < 0.02) doubtful[n] = 1;
          if (inside < 0) continue;
          const depth = p.depth + second * (q.depth - p.depth) + third * (r.depth - p.depth);
          if (depth < depths[n]) [depths[n], tones[n]] = [depth, p.tone + second * (q.tone - p.tone) + third * (r.tone - p.tone)];
        }
      }
    }
  }
  return { tones, doubtful };
}

const wavy = (x, y) => 0.5 + 0.3 * Math.sin(3 * x) * Math.cos(4 * y) + 0.15 * x;

for (const [azimuth, elevation] of [[-55, 30], [20, 10], [100, 60], [-160, 45], [0, 90], [180, 0]]) {
  test(`the nearest of a folded surface is seen at ${azimuth}, ${elevation}`, () => {
    const view = makeProjection({ azimuth, elevation, zoom: 1 }, SIZE);
    const [nx, ny] = [9, 12];
    const points = mesh(view, nx, ny, wavy);
    const out = painted(view, points, nx, ny);
    const { tones, doubtful } = oracle(view, points, nx, ny);
    let [checked, near] = [0, 0];
    out.forEach((pixel, n) => {
      if (doubtful[n]) return;
      checked++;
      assert.equal(pixel !== 0, !Number.isNaN(tones[n]), `pixel ${n} is painted or not`);
      if (!pixel) return;
      // Light and wires darken a colour; what stays is the proportion of its channels.
      const [r, g, b] = PALETTES.viridis.rgb[Math.round(255 * tones[n])];
      const [red, green, blue] = [pixel & 255, (pixel >>> 8) & 255, (pixel >>> 16) & 255];
      const shade = (red + green + blue) / (r + g + b);
      assert.ok(shade > 0.55 && shade < 1.02, `pixel ${n} is as bright as the light allows: ${shade}`);
      near += Math.abs(red - r * shade) + Math.abs(green - g * shade) + Math.abs(blue - b * shade) < 8;
    });
    assert.ok(checked > 0.5 * out.length);
    assert.ok(near >= 0.99 * out.reduce((sum, pixel, n) => sum + (pixel !== 0 && !doubtful[n]), 0));
  });
}

test("where no value is, there is a hole", () => {
  const view = makeProjection({ azimuth: -55, elevation: 90, zoom: 1 }, SIZE);
  const whole = painted(view, mesh(view, 9, 9, wavy), 9, 9);
  const holed = painted(view, mesh(view, 9, 9, (x, y) => (x === 0 && y === 0 ? NaN : wavy(x, y))), 9, 9);
  const middle = view.at(0, 0, 0);
  const at = Math.floor(middle.y) * SIZE.width + Math.floor(middle.x);
  assert.ok(whole[at] !== 0 && holed[at] === 0);
  assert.ok(whole.every((pixel, n) => holed[n] === 0 || holed[n] === pixel));
});

test("a finer screen shows the same picture", () => {
  const view = makeProjection({ azimuth: -55, elevation: 30, zoom: 1 }, SIZE);
  const points = mesh(view, 9, 12, wavy);
  const count = (out) => out.reduce((sum, pixel) => sum + (pixel !== 0), 0);
  const [once, twice] = [count(painted(view, points, 9, 12)), count(painted(view, points, 9, 12, 2))];
  assert.ok(Math.abs(twice / 4 / once - 1) < 0.02, `${once} ${twice}`);
});
