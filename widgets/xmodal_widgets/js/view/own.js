// A panel of one's own: its drawing function, where it comes from, and what happens when it throws. Without JavaScript
// the kernel draws it by Matplotlib whenever a control rests.

import { take } from "../data/cube.js";
import { drawNotice, setFont } from "../draw/canvas.js";
import { makePen } from "../draw/own.js";

const REST = 180; // milliseconds after the last move (ours)
const INLINE = Symbol.for("xmodal_own"); // a page without a kernel has the functions in scripts of its own

// The part of each variable that a setting shows, over those dimensions of the panel that it has.
export function readOwn(cube, spec, setting) {
  const slices = spec.vars.map((name) => {
    const { dims, whole } = cube.vars.get(name);
    return [name, take(cube, name, setting, spec.over.filter((dim) => dims.includes(dim)), whole)];
  });
  const parts = new Map(slices);
  const all = [...parts.values()];
  const first = all.find((slice) => slice.values.some(Number.isFinite)) || all[0];
  return { ...first, parts, interpolated: all.some((slice) => slice.interpolated) };
}

export function drawOwn(ctx, panel) {
  const { own } = panel.view;
  panel.words = "";
  if (own.fn) {
    ctx.save();
    try {
      panel.words = String(own.fn(makePen(ctx, panel)) || "");
    } catch (error) {
      own.failed = `this panel's function failed: ${error.message}`;
      console.warn(own.failed, error.stack);
    }
    ctx.restore();
    if (!own.failed) return;
    ctx.clearRect(0, 0, panel.size.width, panel.size.height);
    drawNotice(ctx, panel.size, panel.theme, own.failed);
    own.failed = "";
  } else if (own.asks) drawPicture(ctx, panel);
  else drawNotice(ctx, panel.size, panel.theme, own.failed || "loading \u2026");
}

// Where a view's function comes from; `own.take` is how a picture from the kernel arrives.
export function makeOwn(view, index) {
  const { app, spec } = view;
  const own = { fn: null, failed: "", asks: !spec.code && !spec.inline, image: null, timer: 0, wanted: "", shown: "", sent: "" };
  const redraw = () => {
    app.look++;
    app.draw();
  };
  const accept = (fn) => {
    if (typeof fn === "function") own.fn = fn;
    else own.failed = `this panel's js gives no function but ${typeof fn}`;
    redraw();
  };
  own.take = async (key, bytes) => {
    own.image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    own.shown = key;
    own.sent = "";
    redraw();
  };
  own.close = () => clearTimeout(own.timer);
  if (spec.inline) own.ready = Promise.resolve().then(() => accept((globalThis[INLINE] || {})[index]));
  else if (spec.code) own.ready = load(spec.code).then(accept);
  else if (spec.picture) own.ready = decode(spec.picture).then((image) => Object.assign(own, { image, still: true })).then(redraw);
  if (own.ready) {
    own.ready.catch((error) => {
      own.failed = `this panel's js could not be loaded: ${error.message}`;
      redraw();
    });
  }
  return own;
}

async function load(code) {
  const address = URL.createObjectURL(new Blob([`export default ${code};`], { type: "text/javascript" }));
  try {
    return (await import(address)).default;
  } finally {
    URL.revokeObjectURL(address);
  }
}

const decode = (text) => createImageBitmap(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type: "image/png" }));

function drawPicture(ctx, panel) {
  const { size, theme, state, view } = panel;
  const { own, app } = view;
  const ratio = window.devicePixelRatio || 1;
  own.wanted = JSON.stringify([panel.setting, size.width, size.height, theme.dark, app.generation]);
  const stale = !own.still && own.wanted !== own.shown;
  if (own.image) {
    const share = Math.min(size.width / own.image.width, size.height / own.image.height);
    const [w, h] = [own.image.width * share, own.image.height * share];
    ctx.globalAlpha = stale ? 0.4 : 1;
    ctx.drawImage(own.image, (size.width - w) / 2, (size.height - h) / 2, w, h);
    ctx.globalAlpha = 1;
  } else drawNotice(ctx, size, theme, own.still ? "" : "the kernel draws this panel \u2026");
  if (own.still) note(ctx, size, theme, "as it stood when the page was written");
  if (!stale || own.sent === own.wanted) return;
  clearTimeout(own.timer);
  own.timer = setTimeout(() => {
    own.sent = own.wanted;
    app.send({ kind: "picture", index: view.index, key: own.wanted, state, dark: Boolean(theme.dark), size: { ...size, ratio } });
  }, REST);
}

function note(ctx, size, theme, words) {
  setFont(ctx, theme, 11);
  ctx.fillStyle = theme.muted;
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  ctx.fillText(words, size.width - 4, size.height - 2);
}
