// What a drawing function of one's own gets: (p) => {...}. docs/own_panels.md is its page; change both together.

import { titled, valueScale } from "../data/numbers.js";
import { nameColor, nameDash, paletteNamed, valueColor } from "../data/palette.js";
import { axisOf, drawAxes, drawGrid, fontSize, makeFrame, setFont } from "./canvas.js";

export function makePen(ctx, panel) {
  const { cube, size, theme, slice, ghost, setting, compact } = panel;
  return {
    ctx,
    width: size.width,
    height: size.height,
    compact: Boolean(compact),
    theme: { ink: theme.ink, muted: theme.muted, line: theme.line, page: theme.page, accent: theme.accent, dark: theme.dark },
    setting: { ...setting },
    values: (name) => partOf(slice, name),
    pinned: ghost ? (name) => partOf(ghost, name) : null,
    dim: (name) => {
      const { values, words, numeric, size: count } = known(cube.dims, name, "dimension");
      return { values, words, numeric, size: count, label: titled(cube.dims.get(name)) };
    },
    range: (name) => known(cube.vars, name, "variable").range,
    label: (name) => titled(cube.vars.get(name) || known(cube.dims, name, "variable or dimension")),
    scale: valueScale,
    axes: (x, y, { equal = false } = {}) => {
      const axis = ({ lo, hi, log = false, title = "", ticks = null }, count) => axisOf(valueScale(lo, hi, log), count, title, ticks);
      const frame = makeFrame(ctx, size, theme, axis(x, size.width / 70), axis(y, size.height / 50), { compact, equal });
      drawGrid(ctx, frame, theme);
      drawAxes(ctx, frame, theme);
      return { left: frame.left, top: frame.top, width: frame.width, height: frame.height, x: frame.px, y: frame.py };
    },
    color: (k) => nameColor(k),
    dash: (k) => nameDash(k),
    tone: (t, palette = "viridis") => valueColor(t, paletteNamed(palette, theme.dark)),
    text: (words, x, y, { align = "center", baseline = "middle", size: letters = fontSize(size.width), weight = "", color = theme.ink } = {}) => {
      setFont(ctx, theme, letters, weight);
      ctx.textAlign = align;
      ctx.textBaseline = baseline;
      ctx.fillStyle = color;
      ctx.fillText(String(words), x, y);
    },
  };
}

function known(map, name, what) {
  if (!map.has(name)) throw new Error(`no ${what} "${name}"; there are ${[...map.keys()].join(", ")}`);
  return map.get(name);
}

function partOf(slice, name) {
  return known(slice.parts, name, "variable in var=").values;
}
