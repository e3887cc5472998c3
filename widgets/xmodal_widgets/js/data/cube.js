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

// A value -> grid index and share of the next step (0 when the value is on the grid); index -1 where nothing is known:
// beyond the ends, at a name or a whole number that the axis does not have.
export function locate(dim, value) {
  const exact = dim.exact.get(value);
  if (exact !== undefined) return { index: exact, share: 0 };
  const v = dim.values;
  if (typeof value !== "number" || !dim.numeric) return { index: -1, share: 0 };
  const near = v.findIndex((x) => Math.abs(x - value) <= 1e-12 + 1e-9 * Math.abs(x));
  if (near >= 0) return { index: near, share: 0 };
  if (dim.kind !== "float" || !(value > v[0] && value < v[v.length - 1])) return { index: -1, share: 0 };
  let i = 0;
  while (v[i + 1] <= value) i++;
  return { index: i, share: (value - v[i]) / (v[i + 1] - v[i]) };
}

export const onGrid = (dim, value) => {
  if (value === "mean") return true;
  const { index, share } = locate(dim, value);
  return index >= 0 && share === 0;
};
// Between the ends of a float axis, where a value may be interpolated.
export const within = (dim, value) => value === "mean" || locate(dim, value).index >= 0;

// Why nothing of these variables is known at a setting, where their sweep has said so.
export function whyNothing(cube, names, setting) {
  const among = (dim, value, values) => {
    if (value === undefined || (value === "mean" && !dim.exact.has("mean"))) return true;
    const here = locate(dim, value);
    return here.index >= 0 && here.share === 0 && values.some((v) => locate(dim, v).index === here.index);
  };
  const told = names.flatMap((name) => cube.vars.get(name).why || []);
  const found = told.find(({ at }) => Object.entries(at).every(([dim, values]) => among(cube.dims.get(dim), setting[dim], values)));
  return found ? found.why : "";
}

// The slice of a variable that a setting shows, in the order of `keep`.
// Between grid steps: linear between the nearest neighbours that are there. "mean": over what is finite, so one
// diverged seed hides nothing. With `free` in the setting, a gap on the grid is bridged as well.
// `codes` have nothing between them: the nearer neighbour's is taken.
export function take(cube, name, setting, keep, codes = false) {
  const v = cube.vars.get(name);
  const bases = basesOf(cube, v, keep);
  const values = new Float32Array(bases.length);
  const { members, walks, nowhere } = placesOf(cube, v, setting, keep, codes);
  const counts = members.length > 1 ? new Uint16Array(bases.length) : null;
  if (nowhere) return { values: values.fill(NaN), counts, members: members.length, interpolated: false };
  const between = walks.some((walk) => walk.share > 0);
  const corners = cornersOf(v.offset, walks);
  let bridged = false;
  for (let b = 0; b < bases.length; b++) {
    let sum = 0;
    let count = 0;
    for (const member of members) {
      let x = 0;
      for (const corner of corners) x += corner.weight * cube.data[bases[b] + member + corner.offset];
      if (x !== x && walks.some((walk) => walk.bridge)) {
        x = bridge(cube.data, walks, walks.length - 1, bases[b] + member + v.offset);
        bridged = bridged || x === x;
      }
      if (members.length === 1) sum = x;
      else if (Number.isFinite(x)) sum += x;
      else continue;
      count++;
    }
    values[b] = count ? sum / count : NaN;
    if (counts) counts[b] = count;
  }
  return { values, counts, members: members.length, interpolated: between || bridged };
}

// How a setting walks the dimensions that are not kept: one step along each, or over all members of a mean.
function placesOf(cube, v, setting, keep, codes) {
  let members = [0];
  let nowhere = false;
  const walks = [];
  v.dims.forEach((dimName, k) => {
    if (keep.includes(dimName)) return;
    const dim = cube.dims.get(dimName);
    const step = v.strides[k];
    if (setting[dimName] === "mean" && !dim.exact.has("mean")) {
      members = members.flatMap((m) => Array.from({ length: dim.size }, (_, i) => m + i * step));
      return;
    }
    const { index, share } = locate(dim, setting[dimName]);
    nowhere = nowhere || index < 0;
    const bridge = dim.kind === "float" && (share > 0 || Boolean(setting.free));
    const at = share > 0 ? setting[dimName] : dim.values[index];
    walks.push({ dim, step, index, share, bridge, at, codes });
  });
  return { members, walks, nowhere };
}

function cornersOf(start, walks) {
  let corners = [{ offset: start, weight: 1 }];
  for (const { step, index, share, codes } of walks) {
    const parts = share === 0 ? [[0, 1]] : codes ? [[share >= 0.5 ? 1 : 0, 1]] : [[0, 1 - share], [1, share]];
    corners = corners.flatMap(({ offset, weight }) =>
      parts.map(([next, part]) => ({ offset: offset + (index + next) * step, weight: weight * part })));
  }
  return corners;
}

// One number past gaps: along the first dimension, between values that are themselves bridged along the others.
function bridge(data, walks, last, offset, k = 0) {
  if (k > last) return data[offset];
  const { dim, step, index, share, bridge: may, at } = walks[k];
  const value = (i) => bridge(data, walks, last, offset + i * step, k + 1);
  if (share === 0) {
    const here = value(index);
    if (here === here || !may) return here;
  }
  let [low, high] = [share > 0 ? index : index - 1, index + 1];
  let [first, second] = [NaN, NaN];
  while (low >= 0 && (first = value(low)) !== first) low--;
  while (high < dim.size && (second = value(high)) !== second) high++;
  if (first !== first || second !== second) return NaN;
  const exact = (at - dim.values[low]) / (dim.values[high] - dim.values[low]);
  const part = walks[k].codes ? Number(exact >= 0.5) : exact;
  return first * (1 - part) + second * part;
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
    const part = [...slice.values.subarray(i * size, (i + 1) * size)].filter(Number.isFinite);
    [mean[i], half[i]] = meanAndHalf(part, cube.quantiles);
    counts[i] = part.length;
  }
  return { ...slice, values: mean, half, counts, members: size };
}

// Mean of finite numbers and the half width of its 95 % interval (Student t); NaN where there is none.
export function meanAndHalf(part, quantiles) {
  const centre = part.reduce((a, b) => a + b, 0) / part.length;
  const spread = part.reduce((a, b) => a + (b - centre) ** 2, 0) / (part.length - 1);
  const half = part.length > 1 ? (quantiles[part.length - 2] ?? NaN) * Math.sqrt(spread / part.length) : NaN;
  return [part.length ? centre : NaN, half];
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

// -- what was computed since --------------------------------------------------------------------

// The cube with what was trained: room at the indices `fresh` of each dimension (a gap where nothing is known), and the
// slabs of a message laid into it. Slabs follow each other in `payload`.
export function joinCube(cube, message, payload) {
  const data = grownData(cube, message.layout, message.new);
  layAll(data, new Map(message.layout.vars.map((v) => [v.name, v])), message.slabs, payload);
  return readCube(message.layout, new DataView(data.buffer));
}

// The same cube with other numbers in some slabs.
export function relaidCube(cube, slabs, payload) {
  const data = cube.data.slice();
  layAll(data, cube.vars, slabs, payload);
  return { ...cube, data };
}

// Whether two cubes have the same axes, so that controls and panels of the one serve the other.
export function sameAxes(one, other) {
  return [...one.dims].every(([name, dim]) => {
    const values = other.dims.get(name).values;
    return values.length === dim.size && values.every((v, i) => v === dim.values[i]);
  });
}

function layAll(data, vars, slabs, payload) {
  const bytes = new Uint8Array(payload.buffer || payload, payload.byteOffset || 0, payload.byteLength);
  const numbers = new Float32Array(bytes.slice().buffer);
  let at = 0;
  for (const { name, at: place, size } of slabs) {
    lay(data, vars.get(name), place, numbers.subarray(at, at + size));
    at += size;
  }
}

function grownData(cube, layout, fresh) {
  if (!Object.keys(fresh).length) return cube.data.slice();
  const data = new Float32Array(layout.total).fill(NaN);
  for (const v of layout.vars) {
    const old = cube.vars.get(v.name);
    const strides = stridesOf(v.shape);
    // Old index -> offset along each dimension in the new order.
    const steps = v.dims.map((name, k) => {
      const added = new Set(fresh[name] || []);
      return Array.from({ length: v.shape[k] }, (_, i) => i).filter((i) => !added.has(i)).map((i) => i * strides[k]);
    });
    const last = steps.length - 1;
    const index = old.shape.map(() => 0);
    for (let n = 0, count = old.shape.reduce((a, b) => a * b, 1); n < count; n++) {
      let to = v.offset;
      for (let k = 0; k <= last; k++) to += steps[k][index[k]];
      data[to] = cube.data[old.offset + n];
      for (let k = last; k >= 0 && ++index[k] === old.shape[k]; k--) index[k] = 0;
    }
  }
  return data;
}

function lay(data, v, place, numbers) {
  const strides = stridesOf(v.shape);
  let offsets = [v.offset];
  v.dims.forEach((name, k) => {
    const whole = place[name] === undefined;
    const steps = whole ? Array.from({ length: v.shape[k] }, (_, i) => i * strides[k]) : [place[name] * strides[k]];
    offsets = offsets.flatMap((offset) => steps.map((step) => offset + step));
  });
  offsets.forEach((offset, n) => (data[offset] = numbers[n]));
}
