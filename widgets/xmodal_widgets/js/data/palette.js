// What all views of a page share: anywidget loads this module once per view, the page is one.
export const PAGE = (globalThis[Symbol.for("xmodal_widgets")] ||= { gl: undefined, controls: 0, cubes: new Map() });

// Colours that colour-blind readers tell apart: viridis for values, seaborn's "colorblind" for names.
const VIRIDIS_HEX =
  "44015444025645045745055946075a46085c460a5d460b5e470d60470e61471063471164471365481467481668481769" +
  "48186a481a6c481b6d481c6e481d6f481f70482071482173482374482475482576482677482878482979472a7a472c7a" +
  "472d7b472e7c472f7d46307e46327e46337f463480453581453781453882443983443a83443b84433d84433e85423f85" +
  "4240864241864142874144874045884046883f47883f48893e49893e4a893e4c8a3d4d8a3d4e8a3c4f8a3c508b3b518b" +
  "3b528b3a538b3a548c39558c39568c38588c38598c375a8c375b8d365c8d365d8d355e8d355f8d34608d34618d33628d" +
  "33638d32648e32658e31668e31678e31688e30698e306a8e2f6b8e2f6c8e2e6d8e2e6e8e2e6f8e2d708e2d718e2c718e" +
  "2c728e2c738e2b748e2b758e2a768e2a778e2a788e29798e297a8e297b8e287c8e287d8e277e8e277f8e27808e26818e" +
  "26828e26828e25838e25848e25858e24868e24878e23888e23898e238a8d228b8d228c8d228d8d218e8d218f8d21908d" +
  "21918c20928c20928c20938c1f948c1f958b1f968b1f978b1f988b1f998a1f9a8a1e9b8a1e9c891e9d891f9e891f9f88" +
  "1fa0881fa1881fa1871fa28720a38620a48621a58521a68522a78522a88423a98324aa8325ab8225ac8226ad8127ad81" +
  "28ae8029af7f2ab07f2cb17e2db27d2eb37c2fb47c31b57b32b67a34b67935b77937b87838b9773aba763bbb753dbc74" +
  "3fbc7340bd7242be7144bf7046c06f48c16e4ac16d4cc26c4ec36b50c46a52c56954c56856c66758c7655ac8645cc863" +
  "5ec96260ca6063cb5f65cb5e67cc5c69cd5b6ccd5a6ece5870cf5773d05675d05477d1537ad1517cd2507fd34e81d34d" +
  "84d44b86d54989d5488bd6468ed64590d74393d74195d84098d83e9bd93c9dd93ba0da39a2da37a5db36a8db34aadc32" +
  "addc30b0dd2fb2dd2db5de2bb8de29bade28bddf26c0df25c2df23c5e021c8e020cae11fcde11dd0e11cd2e21bd5e21a" +
  "d8e219dae319dde318dfe318e2e418e5e419e7e419eae51aece51befe51cf1e51df4e61ef6e620f8e621fbe723fde725";

const VIRIDIS = Array.from({ length: 256 }, (_, i) => {
  const at = (k) => parseInt(VIRIDIS_HEX.slice(6 * i + 2 * k, 6 * i + 2 * k + 2), 16);
  return [at(0), at(1), at(2)];
});

// Zero in the middle, for what may be above or below it: blue, near white, orange-red (told apart without red and green).
const DIVERGING = between([[20, 62, 134], [72, 131, 196], [160, 199, 228], [245, 245, 242], [244, 186, 140], [214, 110, 46], [132, 40, 14]]);
// The same on a dark page: zero is as dark as the page, and what is far from it is bright.
const DIVERGING_DARK = between([[158, 202, 255], [76, 146, 222], [40, 82, 138], [38, 38, 40], [128, 66, 26], [226, 122, 50], [255, 196, 140]]);
const GRAY = between([[16, 16, 16], [250, 250, 250]]);

function between(anchors) {
  return Array.from({ length: 256 }, (_, i) => {
    const at = (i / 255) * (anchors.length - 1);
    const k = Math.min(anchors.length - 2, Math.floor(at));
    return anchors[k].map((v, c) => Math.round(v + (at - k) * (anchors[k + 1][c] - v)));
  });
}

// Each palette as numbers, as pixels (little-endian RGBA) and as CSS.
const made = (rgb) => ({
  rgb,
  pixels: Uint32Array.from(rgb, ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r),
  css: rgb.map((one) => `rgb(${one})`),
});
export const PALETTES = { viridis: made(VIRIDIS), diverging: made(DIVERGING), gray: made(GRAY) };
const DARK = { ...PALETTES, diverging: made(DIVERGING_DARK) };
export const paletteNamed = (name, dark) => (dark ? DARK : PALETTES)[name] || PALETTES.viridis;
export const VIRIDIS_PIXELS = PALETTES.viridis.pixels;
export const VIRIDIS_CSS = PALETTES.viridis.css;

export const NAMED = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#949494", "#56b4e9", "#fbafe4", "#ece133"];
// A second cue beside colour, for lines and for print.
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2, 1, 2]];


export const shade = (t) => Math.max(0, Math.min(255, Math.round(t * 255)));
export const valueColor = (t, palette = PALETTES.viridis) => palette.css[shade(t)];
export const nameColor = (k) => NAMED[k % NAMED.length];
export const nameDash = (k) => DASHES[k % DASHES.length];
