// Names under bars: on a line where they fit, in two rows in a small multiple, upright where that is too narrow as well.

import assert from "node:assert/strict";
import { test } from "node:test";

import { slotLabels } from "../../../widgets/xmodal_widgets/js/draw/series.js";

const theme = { font: "sans-serif" };
const ctx = { font: "", measureText(text) { return { width: 0.6 * Number(/(\d+)px/.exec(this.font)[1]) * text.length }; } };
const frame = (width, compact = true, height = 100) => ({ width, height, compact, font: 10, edge: width + 40 });
const axis = (...words) => ({ size: words.length, words });

test("short names stand on one line", () => {
  const { lines, upright } = slotLabels(ctx, frame(200), theme, axis("clean", "noisy"));
  assert.ok(!upright);
  assert.deepEqual(lines, [["clean"], ["noisy"]]);
});

test("in a small multiple every other name stands lower, uncut", () => {
  const { lines, upright } = slotLabels(ctx, frame(160), theme, axis("clean", "shifted", "occluded", "noisy"));
  assert.ok(!upright);
  assert.deepEqual(lines, [["clean"], ["", "shifted"], ["occluded"], ["", "noisy"]]);
});

test("names broader than two slots, or a low plot, leave the room below alone", () => {
  assert.ok(slotLabels(ctx, frame(160), theme, axis("a", "b", "c", "unpronounceably long")).upright);
  assert.ok(slotLabels(ctx, frame(160, true, 40), theme, axis("clean", "shifted", "occluded", "noisy")).upright);
});
