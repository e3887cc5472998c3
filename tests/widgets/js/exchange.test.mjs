// The exchange rate of a heat map: known planes and logs, refusals; Python holds it to xl.information.exchange_rate.
import assert from "node:assert/strict";
import { test } from "node:test";

import { exchangeRate, localRate, rateWords } from "../../../widgets/xmodal_widgets/js/data/exchange.js";

const X = [1, 4, 16];
const Y = [0, 1, 4, 12];
const T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
const grid = (f) => Float64Array.from(X.flatMap((x) => Y.map((y) => f(x, y))));
const near = (a, b, off = 1e-9) => assert.ok(Math.abs(a - b) <= off * Math.max(1, Math.abs(b)), `${a} is not ${b}`);

test("a plane without noise is found, and leads", () => {
  const found = exchangeRate([grid((x, y) => 0.2 + 0.02 * x + 0.004 * y)], X, Y, 8, T);
  assert.equal(found.leads, "plane");
  near(found.plane.ratio, 5);
  near(found.plane.interval[0], 5, 1e-6);
  near(found.plane.r2, 1);
  assert.match(rateWords(found, ["images", "texts"]).short, /^1 of images ≈ 40 words \(40 to 40\)$/);
});

test("logarithms lead where they fit, with a local rate", () => {
  const found = exchangeRate([grid((x, y) => 0.2 + 0.1 * Math.log1p(x) + 0.05 * Math.log1p(y))], X, Y, 8, T);
  assert.equal(found.leads, "log");
  near(found.log.ratio, 2);
  near(localRate(found, 3, 1), (8 * 2 * 2) / 4);
  assert.match(rateWords(found, ["images", "texts"]).long, /95 % interval .* log fit, R² 1$/);
});

test("texts that buy nothing, images that buy nothing, and no fit are refused in words", () => {
  const no = (f) => rateWords(exchangeRate([grid(f)], X, Y, 8, T), ["images", "texts"]).long;
  assert.match(no((x, y) => 0.02 * x - 0.01 * y), /^no exchange rate: one more of texts buys no certain accuracy/);
  assert.match(no((x, y) => -0.002 * x + 0.04 * y), /^no exchange rate: one more of images buys no accuracy/);
  assert.match(no(() => 0.5), /^no exchange rate/);
});

test("grids with gaps do not count, and without any there is no sentence", () => {
  const whole = grid((x, y) => 0.02 * x + 0.004 * y);
  const gap = whole.slice();
  gap[3] = NaN;
  assert.equal(exchangeRate([whole, gap], X, Y, 8, T).seeds, 1);
  assert.deepEqual(rateWords(exchangeRate([gap], X, Y, 8, T), ["images", "texts"]), { short: "", long: "" });
});
