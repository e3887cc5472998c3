// Ticks, labels and scales.
import assert from "node:assert/strict";
import { test } from "node:test";

import { nearest, padded, readable, tickLabels, valueScale, wholeTicks } from "../../../widgets/xmodal_widgets/js/data/numbers.js";

test("ticks are round, inside, and about as many as asked for", () => {
  for (const [lo, hi] of [[0, 1], [-3.7, 12.2], [0.001, 0.0013], [1e6, 5e6]]) {
    const ticks = valueScale(lo, hi, false).ticks(5);
    assert.ok(ticks.length >= 3 && ticks.length <= 8, `${ticks}`);
    assert.ok(ticks.every((t) => t >= lo - 1e-12 && t <= hi + 1e-12));
    const steps = ticks.slice(1).map((t, k) => t - ticks[k]);
    assert.ok(Math.max(...steps) - Math.min(...steps) < 1e-9 * Math.max(...steps.map(Math.abs)) + 1e-15);
  }
});

test("whole numbers have no ticks between them", () => {
  assert.deepEqual(wholeTicks(0, 3, 12), [0, 1, 2, 3]);
});

test("a log scale has its decades", () => {
  assert.deepEqual(valueScale(0.01, 1000, true).ticks(6), [0.01, 0.1, 1, 10, 100, 1000]);
  assert.ok(valueScale(2, 30, true).ticks(5).includes(10));
});

test("there and back on both scales, and a gap where there is no place", () => {
  for (const log of [false, true]) {
    const scale = valueScale(0.5, 80, log);
    for (const v of [0.5, 3, 80]) assert.ok(Math.abs(scale.value(scale.at(v)) - v) < 1e-9);
    assert.ok(Number.isNaN(scale.at(log ? -1 : NaN)));
  }
});

test("one value everywhere still has a scale", () => {
  const scale = valueScale(2.5, 2.5, false);
  assert.equal(scale.at(2.5), 0.5);
});

test("labels of one axis have one number of decimals", () => {
  assert.deepEqual(tickLabels([0, 0.5, 1], false), ["0", "0.5", "1.0"]);
  assert.deepEqual(tickLabels([0.01, 1, 100], true), ["0.01", "1", "100"]);
  assert.deepEqual(tickLabels([-1, 0, 1], false), ["\u22121", "0", "1"]);
});

test("numbers as the read-out says them", () => {
  assert.deepEqual([NaN, Infinity, -Infinity, 0, 0.123456, 1e7, -2].map(readable), ["no value", "\u221e", "\u2212\u221e", "0", "0.1235", "1.000e+7", "\u22122"]);
});

test("a little air on both sides", () => {
  assert.deepEqual(padded(0, 10, false, 0.1), [-1, 11]);
  const [lo, hi] = padded(1, 100, true, 0.5);
  assert.ok(Math.abs(lo - 0.1) < 1e-12 && Math.abs(hi - 1000) < 1e-9);
});

test("the nearest place", () => assert.equal(nearest([0, 4, 9], 5), 1));
