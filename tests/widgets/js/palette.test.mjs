// Colours.
import assert from "node:assert/strict";
import { test } from "node:test";

import { NAMED, PALETTES, paletteNamed, VIRIDIS_CSS, VIRIDIS_PIXELS, nameColor, nameDash, shade, valueColor } from "../../../widgets/xmodal_widgets/js/data/palette.js";

const channels = (pixel) => [pixel & 255, (pixel >>> 8) & 255, (pixel >>> 16) & 255, pixel >>> 24];

test("viridis runs from dark violet to yellow, opaque, as pixels and as CSS alike", () => {
  assert.deepEqual(channels(VIRIDIS_PIXELS[0]), [68, 1, 84, 255]);
  assert.deepEqual(channels(VIRIDIS_PIXELS[255]), [253, 231, 37, 255]);
  VIRIDIS_CSS.forEach((css, k) => assert.equal(css, `rgb(${channels(VIRIDIS_PIXELS[k]).slice(0, 3)})`));
  const luminance = [...VIRIDIS_PIXELS].map(channels).map(([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b);
  luminance.slice(1).forEach((l, k) => assert.ok(l >= luminance[k] - 1, `at ${k}`));
});

test("values beyond the scale take its ends", () => {
  assert.deepEqual([-3, 0, 0.5, 1, 7].map(shade), [0, 0, 128, 255, 255]);
  assert.equal(valueColor(2), VIRIDIS_CSS[255]);
});

test("names differ by colour, and again by dashes", () => {
  assert.equal(new Set(NAMED).size, NAMED.length);
  assert.equal(nameColor(NAMED.length), NAMED[0]);
  const cues = Array.from({ length: 50 }, (_, k) => nameColor(k) + nameDash(k));
  assert.ok(new Set(cues.slice(0, 10)).size === 10);
});

test("zero of a diverging palette is as the page, light or dark, and both sides go away from it", () => {
  const bright = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  for (const [dark, page] of [[false, 255], [true, 20]]) {
    const { rgb } = paletteNamed("diverging", dark);
    const away = rgb.map((color) => Math.abs(bright(color) - page));
    assert.ok(away[127] < 30 && away[0] > 120 && away[255] > 120, `${dark} ${away[0]} ${away[127]} ${away[255]}`);
    for (let i = 1; i < 128; i++) assert.ok(away[i] <= away[i - 1] + 1 && away[255 - i] <= away[256 - i] + 1, `${dark} at ${i}`);
    assert.ok(rgb[40][2] > rgb[40][0] && rgb[215][0] > rgb[215][2], "blue below, orange above");
  }
  assert.equal(paletteNamed("viridis", true), PALETTES.viridis);
});
