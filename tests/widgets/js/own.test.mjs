// What a drawing function of one's own is given, and what happens when it throws.
import assert from "node:assert/strict";
import { test } from "node:test";

import { readCube } from "../../../widgets/xmodal_widgets/js/data/cube.js";
import { makePen } from "../../../widgets/xmodal_widgets/js/draw/own.js";
import { drawOwn, readOwn } from "../../../widgets/xmodal_widgets/js/view/own.js";

const layout = {
  dims: [
    { name: "alpha", kind: "float", values: [0, 1], label: "\u03b1", units: "" },
    { name: "x", kind: "int", values: [1, 2, 3], label: "x", units: "px" },
  ],
  vars: [
    { name: "loss", dims: ["alpha", "x"], shape: [2, 3], offset: 0, range: [1, 6], label: "loss", units: "nats", meanings: [], whole: false },
    { name: "size", dims: ["alpha"], shape: [2], offset: 6, range: [7, 8], label: "size", units: "", meanings: [], whole: false },
  ],
  total: 8,
};
const cube = readCube(layout, new DataView(Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8]).buffer));
const spec = { kind: "own", var: "loss", vars: ["loss", "size"], over: ["x"] };

function canvas() {
  const words = [];
  const ctx = new Proxy({ words }, {
    get: (target, name) => {
      if (name in target) return target[name];
      if (name === "measureText") return (text) => ({ width: 6 * text.length });
      return (...given) => name === "fillText" && words.push(given[0]);
    },
    set: (target, name, value) => Object.assign(target, { [name]: value }) && true,
  });
  return ctx;
}

const panelOf = (setting, fn, ghost = null) => ({
  cube, spec, setting, slice: readOwn(cube, spec, setting), ghost: ghost && readOwn(cube, spec, ghost),
  size: { width: 300, height: 200 }, theme: { font: "serif", ink: "black", line: "gray" }, compact: false,
  view: { own: { fn, failed: "" } },
});

test("values are those of the setting, over the dimensions that a variable has", () => {
  const pen = makePen(canvas(), panelOf({ alpha: 1 }, null, { alpha: 0 }));
  assert.deepEqual([...pen.values("loss")], [4, 5, 6]);
  assert.deepEqual([...pen.values("size")], [8]);
  assert.deepEqual([...pen.pinned("loss")], [1, 2, 3]);
  assert.deepEqual([pen.range("size"), pen.label("loss"), pen.dim("x").values], [[7, 8], "loss [nats]", [1, 2, 3]]);
  assert.throws(() => pen.values("accuracy"), /no variable in var= "accuracy"; there are loss, size/);
});

test("between grid steps values are interpolated, and the panel says so", () => {
  const panel = panelOf({ alpha: 0.5 }, null);
  assert.deepEqual([...makePen(canvas(), panel).values("loss")], [2.5, 3.5, 4.5]);
  assert.equal(panel.slice.interpolated, true);
});

test("axes give places in pixels", () => {
  const { x, y, left, top, width, height } = makePen(canvas(), panelOf({ alpha: 0 }, null)).axes({ lo: 0, hi: 2, title: "a" }, { lo: 1, hi: 100, log: true, title: "b" });
  assert.deepEqual([x(0), x(2)], [left, left + width]);
  assert.ok(Math.abs(y(10) - (top + height / 2)) < 1e-9);
});

test("a function draws, and what it returns is what a screen reader hears", () => {
  const ctx = canvas();
  const panel = panelOf({ alpha: 0 }, (p) => {
    p.text("twelve", 5, 5);
    return "a dozen";
  });
  drawOwn(ctx, panel);
  assert.deepEqual([ctx.words, panel.words], [["twelve"], "a dozen"]);
});

test("an error stands in the panel, and the next call may succeed", () => {
  const ctx = canvas();
  let wrong = true;
  const panel = panelOf({ alpha: 0 }, (p) => (wrong ? p.missing.thing : p.text("fine", 1, 1)));
  drawOwn(ctx, panel);
  assert.match(ctx.words.join(" "), /this panel's function failed: .*undefined/);
  wrong = false;
  ctx.words.length = 0;
  drawOwn(ctx, panel);
  assert.deepEqual(ctx.words, ["fine"]);
});
