// One screen: controls that stay in sight, one large picture, the others beside it as small multiples that grow on a
// click. On a larger screen everything is larger, not more.

import { COLORBAR_WIDTH } from "../draw/canvas.js";

const SIDE = 18.5; // letter heights of the column of controls
const DENSEST = 3; // steps by which controls that do not fit draw together
const WIDE = 820; // narrower than this, controls stand above the pictures
const AROUND = 150; // pixels of a page that are not the view: tool bars, headings
const ALONE = 88; // the same where the view has the page to itself
const SMALL_GAP = 10;
const CROWDED = 0.2; // of a small multiple, at most, may be its legend
const READABLE = 190; // pixels: a narrower panel of several names no axes but the outer ones

export function layOut(app, root) {
  const width = root.clientWidth;
  const wide = width >= WIDE;
  const font = Math.max(13, Math.min(17, Math.round(8 + width / 220)));
  root.style.fontSize = `${font}px`;
  const side = wide && !app.side.querySelector(":scope > :not([hidden], .xm-actions), :scope > .xm-actions > :not([hidden])") ? 0 : Math.round(SIDE * font);
  app.screen.classList.toggle("xm-beside", wide);
  app.screen.style.setProperty("--side", `${side}px`);
  const tall = Math.max(400, Math.min(1000, window.innerHeight - ("alone" in document.body.dataset ? ALONE : AROUND)));
  app.side.style.setProperty("--tall", `${tall}px`);
  drawTogether(app.panel.element, wide, 0);
  const stage = wide ? width - side - (side ? 14 : 0) : width;
  const plan = planOf(app.views.length, stage, tall, wide);
  app.grid.style.gridTemplateColumns = plan.columns;
  const last = app.views.length - 1 - Number(app.focus === app.views.length - 1); // of the small ones
  app.views.forEach((view, index) => {
    const large = plan.alike || index === app.focus;
    view.element.classList.toggle("xm-large", large);
    view.element.classList.toggle("xm-small", !large);
    view.element.style.gridRow = large && !plan.alike && plan.rows > 1 ? `1 / span ${plan.rows}` : "";
    const wide = plan.odd && index === last; // no empty place at the end
    view.element.style.gridColumn = large && !plan.alike ? plan.first : wide ? "span 2" : "";
    view.element.style.order = large ? 0 : 1;
    view.element.style.height = `${Math.round(large ? plan.large : plan.small)}px`;
    view.small = !large;
  });
  for (const view of app.views) measure(view);
  app.look++;
}

// As close as it takes until every control is in sight, and no closer; from where they stand, or from `step`.
export function drawTogether(controls, wide, step = Number(controls.dataset.dense)) {
  controls.dataset.dense = step;
  if (wide && step < DENSEST && controls.scrollHeight > controls.clientHeight + 1) drawTogether(controls, wide, step + 1);
}

// How many columns, and how high a large and a small picture are.
function planOf(count, stage, tall, wide) {
  if (count === 1) return { columns: "minmax(0, 1fr)", rows: 1, alike: true, large: Math.min(tall, stage * 0.8) };
  if (count === 2 && stage >= 620) {
    return { columns: "repeat(2, minmax(0, 1fr))", rows: 1, alike: true, large: Math.min(tall, stage * 0.5) };
  }
  const others = count - 1;
  if (!wide || stage < 560) {
    const across = stage < 520 ? 1 : 2;
    const columns = `repeat(${across}, minmax(0, 1fr))`;
    return { columns, rows: 1, first: "1 / -1", alike: false, odd: across === 2 && others % 2 === 1, large: Math.min(tall, stage * 0.8), small: across === 1 ? stage * 0.7 : stage * 0.4 };
  }
  const across = others <= 3 ? 1 : 2;
  const rows = Math.ceil(others / across);
  const columns = `minmax(0, ${across === 1 ? 1.9 : 2.5}fr) repeat(${across}, minmax(0, 1fr))`;
  return { columns, rows, first: "1", alike: false, odd: across === 2 && others % 2 === 1, large: tall, small: (tall - SMALL_GAP * (rows - 1)) / rows };
}

// What the head and the legend leave: the size of each canvas of a view, in as many columns as suit them best.
function measure(view) {
  view.element.classList.toggle("xm-bare", false);
  const crowded = view.small && view.legend.offsetHeight > CROWDED * view.element.clientHeight;
  view.element.classList.toggle("xm-bare", crowded);
  const box = { width: view.body.clientWidth, height: view.body.clientHeight };
  const bar = view.hasBar && !(view.small && box.width < 300) ? COLORBAR_WIDTH : 0;
  const count = view.panels.length;
  const title = count > 1 ? 18 : 0;
  let best = { least: -1, across: 1, height: box.height };
  for (let across = 1; across <= count; across++) {
    const down = Math.ceil(count / across);
    const height = Math.floor((box.height - 4 * (down - 1)) / down - title);
    const each = (box.width - bar) / across;
    const least = Math.min(each * (view.spec.under || view.spec.equal ? 1 : 0.8), height);
    if (least > best.least) best = { least, across, height };
  }
  view.row.style.setProperty("--across", best.across);
  view.height = Math.max(60, best.height);
  view.barHeight = Math.min(box.height, Math.max(60, box.height - title));
  view.showBar = bar > 0;
  view.compact = view.small || best.least < (count > 1 ? READABLE : 130);
  view.panels.forEach((panel, c) => Object.assign(panel, { inner: c + best.across < count, aside: c % best.across > 0 }));
}
