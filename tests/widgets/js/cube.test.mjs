// The slice that a setting shows: exact, averaged, interpolated.
import assert from "node:assert/strict";
import { test } from "node:test";

import { extent, locate, onGrid, overBand, readCube, take, whyNothing } from "../../../widgets/xmodal_widgets/js/data/cube.js";

const dim = (name, kind, values) => ({ name, kind, values, label: name, units: "" });
const DIMS = [
  dim("name", "category", ["one", "two"]), dim("alpha", "float", [0, 0.5, 2]), dim("seed", "int", [0, 1, 2]), dim("k", "int", [1, 2, 3, 4]),
];

// v(name, alpha, seed, k) = 1000 name + 10 alpha + seed / 8 + 100 k: exact in float32.
function makeCube(change = (v) => v) {
  const shape = DIMS.map((d) => d.values.length);
  const numbers = [];
  DIMS[0].values.forEach((_, n) => DIMS[1].values.forEach((a) => DIMS[2].values.forEach((s) => DIMS[3].values.forEach((k) =>
    numbers.push(change(1000 * n + 10 * a + s / 8 + 100 * k, { n, a, s, k }))))));
  const layout = { dims: DIMS, vars: [{ name: "v", dims: DIMS.map((d) => d.name), shape, offset: 0 }], total: numbers.length, quantiles: [12.706, 4.303] };
  return readCube(layout, new DataView(Float32Array.from(numbers).buffer));
}

const at = { name: "two", alpha: 0.5, seed: 1 };

test("a value on the grid is taken as it is", () => {
  const { values, interpolated, members } = take(makeCube(), "v", at, ["k"]);
  assert.deepEqual([...values], [1, 2, 3, 4].map((k) => 1000 + 5 + 1 / 8 + 100 * k));
  assert.deepEqual([interpolated, members], [false, 1]);
});

test("the kept dimensions come in the order asked for", () => {
  const cube = makeCube();
  const there = take(cube, "v", at, ["alpha", "k"]).values;
  const back = take(cube, "v", at, ["k", "alpha"]).values;
  for (let i = 0; i < 3; i++) for (let k = 0; k < 4; k++) assert.equal(there[i * 4 + k], back[k * 3 + i]);
});

test("between grid steps a slice is linear, and says so", () => {
  const { values, interpolated } = take(makeCube(), "v", { ...at, alpha: 1.25 }, ["k"]);
  assert.equal(interpolated, true);
  assert.ok(Math.abs(values[0] - (1000 + 12.5 + 1 / 8 + 100)) < 1e-3);
});

test("a mean is over what is finite", () => {
  const cube = makeCube((v, { s, k }) => (s === 2 ? Infinity : s === 1 && k === 3 ? NaN : v));
  const { values, counts, members } = take(cube, "v", { ...at, seed: "mean" }, ["k"]);
  assert.deepEqual([members, ...counts], [3, 2, 2, 1, 2]);
  assert.equal(values[0], 1000 + 5 + 1 / 16 + 100);
  assert.equal(values[2], 1000 + 5 + 300);
});

test("a payload of another length is refused in words", () => {
  const layout = { dims: [], vars: [], total: 3 };
  assert.throws(() => readCube(layout, new DataView(new ArrayBuffer(8))), /arrived with 8 bytes, 12 were announced/);
});

test("a payload that does not start at a multiple of four bytes is read", () => {
  const bytes = new Uint8Array(13);
  new DataView(bytes.buffer).setFloat32(1, 2.5, true);
  const layout = { dims: [], vars: [{ name: "v", dims: [], shape: [], offset: 0 }], total: 3 };
  assert.equal(readCube(layout, new DataView(bytes.buffer, 1, 12)).data[0], 2.5);
});

test("places between the grid's values", () => {
  const alpha = makeCube().dims.get("alpha");
  assert.deepEqual(locate(alpha, 0.5), { index: 1, share: 0 });
  assert.deepEqual(locate(alpha, 1.25), { index: 1, share: 0.5 });
  assert.ok(onGrid(alpha, 2) && onGrid(alpha, "mean") && !onGrid(alpha, 1));
});

test("the interval of the mean is Student's", () => {
  const cube = makeCube();
  const { values, half, counts } = overBand(cube, { values: Float32Array.from([1, 2, 6, NaN, 4, NaN]) }, 3);
  assert.deepEqual([values[0], values[1], counts[0], counts[1]], [3, 4, 3, 1]);
  assert.ok(Math.abs(half[0] - 4.303 * Math.sqrt(7 / 3)) < 1e-4); // s² = 7
  assert.ok(Number.isNaN(half[1]));
});

test("an extent holds its intervals and skips gaps", () => {
  const slice = { values: [1, NaN, 5], half: [0.5, NaN, NaN] };
  assert.deepEqual(extent([slice], false), [0.5, 5]);
  assert.equal(extent([{ values: [NaN, Infinity] }], false), null);
  assert.deepEqual(extent([{ values: [-1, 2, 3] }], true), [2, 3]);
});

test("why nothing is known holds where its sweep said so, and nowhere else", () => {
  const cube = makeCube();
  const v = cube.vars.get("v");
  const why = (told, setting = at) => {
    v.why = told;
    return whyNothing(cube, ["v"], setting);
  };
  assert.equal(why(undefined), "");
  assert.equal(why([{ why: "no", at: {} }]), "no");
  assert.equal(why([{ why: "no", at: { name: ["one"] } }]), "");
  const told = [{ why: "no", at: { name: ["one", "two"], alpha: [2] } }, { why: "never", at: { alpha: [0.5] } }];
  assert.equal(why(told), "never");
  assert.equal(why(told, { ...at, alpha: 2 }), "no");
  assert.equal(why(told, { ...at, alpha: 1.9 }), "", "between two steps nothing was said");
  assert.equal(why([{ why: "no", at: { seed: [0] } }], { ...at, seed: "mean" }), "no", "a mean is over all of them");
});
