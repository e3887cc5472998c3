// Words of the read-out.

import { readable, withUnits } from "../../data/numbers.js";

export function valueLine(cube, name, value) {
  const v = cube.vars.get(name);
  return `${v.label} = ${withUnits(readable(value), Number.isNaN(value) ? "" : v.units)}`;
}

export function placeLine(cube, at, names) {
  const words = names.map((name) => {
    const dim = cube.dims.get(name);
    const value = dim.kind === "float" ? readable(dim.values[at[name]]) : dim.words[at[name]];
    return `${dim.label} ${dim.numeric ? "= " : ""}${withUnits(value, dim.units)}`;
  });
  return `at ${words.join(", ")}`;
}

export function statusLine(panel, k) {
  const { slice } = panel;
  if (Number.isNaN(slice.values[k])) return "not computed, or not a number";
  const origin = slice.interpolated ? "interpolated between grid steps" : "computed";
  if (slice.members === 1) return origin;
  const count = slice.counts[k];
  return count === slice.members ? `${origin}, mean of ${count}` : `${origin}, mean of ${count}: the other ${slice.members - count} are missing`;
}
