// Where values stand on a slider once others were trained beside them.
import assert from "node:assert/strict";
import { test } from "node:test";

import { scaleOf } from "../../../widgets/xmodal_widgets/js/view/controls.js";

const spots = (base, values) => values.map((_, i) => scaleOf(base, values).at(i));

test("the first grid stands at even steps, whatever its values", () => {
  assert.deepEqual(spots([1, 2, 16], [1, 2, 16]), [0, 1, 2]);
  assert.ok(scaleOf([1, 2, 16], [1, 2, 16]).even);
});

test("what was trained since stands by its value between its neighbours, and beyond the ends", () => {
  assert.deepEqual(spots([0, 0.5, 1], [0, 0.1, 0.5, 1]), [0, 0.2, 1, 2]);
  assert.deepEqual(spots([0, 0.5, 1], [-0.25, 0, 0.5, 1, 1.5]), [-0.5, 0, 1, 2, 3]);
  assert.ok(!scaleOf([0, 0.5, 1], [0, 0.1, 0.5, 1]).even);
});

test("places between values go there and back, and none lies on another", () => {
  const values = [-40, 0, 0.1, 0.1001, 0.5, 1, 30, 40];
  const scale = scaleOf([0, 0.5, 1], values);
  for (let i = 1; i < values.length; i++) assert.ok(scale.at(i) > scale.at(i - 1), String(i));
  for (const place of [0, 0.5, 1, 1.25, 3.9, 6, 7]) assert.ok(Math.abs(scale.place(scale.at(place)) - place) < 1e-9, String(place));
});
