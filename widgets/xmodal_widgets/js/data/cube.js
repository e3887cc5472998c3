// The cube: one run of float32 and the layout that says where what is. Sent once; sliced here.

import { minus } from "./numbers.js";

export function readCube(layout, payload) {
  const bytes = payload ? new Uint8Array(payload.buffer || payload, payload.byteOffset || 0, payload.byteLength) : new Uint8Array(0);
  if (bytes.byteLength !== 4 * layout.total) {
    throw new Error(`the cube arrived with ${bytes.byteLength} bytes, ${4 * layout.total} were announced; run the cell again.`);
  }
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const data = new Float32Array(aligned.buffer, aligned.byteOffset, layout.total);
  const dims = new Map(layout.dims.map((dim) => [dim.name, describeDim(dim)]));
  const vars = new Map(layout.vars.map((v) => [v.name, { ...v, strides: stridesOf(v.shape) }]));
  return { data, dims, vars, quantiles: layout.quantiles || [] };
}

function describeDim(dim) {
  const numeric = dim.kind === "float" || dim.kind === "int";
  const words = dim.values.map((v) => (numeric ? minus(String(v)) : dim.kind === "bool" ? (v ? "yes" : "no") : v));
  return { ...dim, numeric, words, size: dim.values.length, exact: new Map(dim.values.map((v, i) => [v, i])) };
}

function stridesOf(shape) {
  const strides = shape.map(() => 1);
  for (let k = shape.length - 2; k >= 0; k--) strides[k] = strides[k + 1] * shape[k + 1];
  return strides;
}

// A value -> grid index and share of the next step (0 when the value is on the grid).
export function locate(dim, value) {
  const exact = dim.exact.get(value);
  if (exact !== undefined) return { index: exact, share: 0 };
  if (!dim.numeric || typeof value !== "number") return { index: 0, share: 0 };
  const v = dim.values;
  if (value <= v[0]) return { index: 0, share: 0 };
  if (value >= v[v.length - 1]) return { index: v.length - 1, share: 0 };
  let i = 0;
  while (v[i + 1] <= value) i++;
  const share = (value - v[i]) / (v[i + 1] - v[i]);
  return share < 1e-9 ? { index: i, share: 0 } : { index: i, share };
}

export const onGrid = (dim, value) => value === "mean" || locate(dim, value).share === 0;

// The slice of a variable that a setting shows, in the order of `keep`.
// Between grid steps: linear. "mean": over what is finite, so one diverged seed hides nothing.
export function take(cube, name, setting, keep) {
  const v = cube.vars.get(name);
  let corners = [{ offset: v.offset, weight: 1 }];
  let members = [0];
  v.dims.forEach((dimName, k) => {
    if (keep.includes(dimName)) return;
    const dim = cube.dims.get(dimName);
    const step = v.strides[k];
    if (setting[dimName] === "mean" && !dim.exact.has("mean")) {
      members = members.flatMap((m) => Array.from({ length: dim.size }, (_, i) => m + i * step));
      return;
    }
    const { index, share } = locate(dim, setting[dimName]);
    corners = corners.flatMap(({ offset, weight }) =>
      share === 0
        ? [{ offset: offset + index * step, weight }]
        : [
            { offset: offset + index * step, weight: weight * (1 - share) },
            { offset: offset + (index + 1) * step, weight: weight * share },
          ]);
  });
  const bases = basesOf(cube, v, keep);
  const values = new Float32Array(bases.length);
  const counts = members.length > 1 ? new Uint16Array(bases.length) : null;
  for (let b = 0; b < bases.length; b++) {
    let sum = 0;
    let count = 0;
    for (const member of members) {
      let x = 0;
      for (const corner of corners) x += corner.weight * cube.data[bases[b] + member + corner.offset];
      if (members.length === 1) sum = x;
      else if (Number.isFinite(x)) sum += x;
      else continue;
      count++;
    }
    values[b] = count ? sum / count : NaN;
    if (counts) counts[b] = count;
  }
  return { values, counts, members: members.length, interpolated: corners.length > 1 };
}

function basesOf(cube, v, keep) {
  v.bases = v.bases || new Map();
  const key = keep.join("\u0000");
  if (!v.bases.has(key)) {
    let bases = [0];
    for (const name of keep) {
      const k = v.dims.indexOf(name);
      const step = k < 0 ? 0 : v.strides[k];
      const size = cube.dims.get(name).size;
      bases = bases.flatMap((base) => Array.from({ length: size }, (_, i) => base + i * step));
    }
    v.bases.set(key, Int32Array.from(bases));
  }
  return v.bases.get(key);
}

// Mean and 95 % interval of the mean over the last kept dimension (Student t over the finite members).
export function overBand(cube, slice, size) {
  const n = slice.values.length / size;
  const mean = new Float32Array(n);
  const half = new Float32Array(n);
  const counts = new Uint16Array(n);
  for (let i = 0; i < n; i++) {
    const part = slice.values.subarray(i * size, (i + 1) * size).filter(Number.isFinite);
    const centre = part.reduce((a, b) => a + b, 0) / part.length;
    const spread = part.reduce((a, b) => a + (b - centre) ** 2, 0) / (part.length - 1);
    mean[i] = part.length ? centre : NaN;
    half[i] = part.length > 1 ? cube.quantiles[part.length - 2] * Math.sqrt(spread / part.length) : NaN;
    counts[i] = part.length;
  }
  return { ...slice, values: mean, half, counts, members: size };
}

// Lowest and highest finite value of several slices (above 0 for a log scale).
export function extent(slices, log) {
  let lo = Infinity;
  let hi = -Infinity;
  for (const { values, half } of slices) {
    for (let i = 0; i < values.length; i++) {
      const h = half && half[i] > 0 ? half[i] : 0;
      const [a, b] = [values[i] - h, values[i] + h];
      if (Number.isFinite(a) && a < lo && (!log || a > 0)) lo = a;
      if (Number.isFinite(b) && b > hi) hi = b;
    }
  }
  return hi >= lo ? [lo, hi] : null;
}
