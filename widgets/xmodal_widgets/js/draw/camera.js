// Orthographic projection of the box [-1, 1] x [-1, 1] x [-tall, tall], and the box itself.

import { compactFont, fontSize, setFont, tick, keepInside } from "./canvas.js";

const [LOW, HIGH] = [0.62, 0.95]; // half its height, from a wide panel to a tall one (ours)
const STANDING = Math.PI / 6; // seen from here: turning must not stretch it

export function makeProjection(camera, size, compact = false) {
  const [az, el] = [(camera.azimuth * Math.PI) / 180, (camera.elevation * Math.PI) / 180];
  const [ca, sa, ce, se] = [Math.cos(az), Math.sin(az), Math.cos(el), Math.sin(el)];
  const font = compact ? compactFont(size.width) : fontSize(size.width);
  // The box reaches 1.42 to the sides when it stands on an edge; labels want as much room at every turn.
  const room = font * (size.width < 300 ? 2.4 : 3.6);
  const [across, up] = [(size.width / 2 - room) / 1.42, size.height / 2 - font * 2.2];
  const free = (up / Math.max(1, across) - Math.sin(STANDING) * 1.42) / Math.cos(STANDING);
  const tall = Math.max(LOW, Math.min(HIGH, free));
  const reach = Math.abs(se) * 1.42 + Math.abs(ce) * tall;
  const scale = camera.zoom * Math.max(10, Math.min(across, up / Math.max(1, reach)));
  const [cx, cy] = [size.width / 2 + (size.width < 300 ? 4 : font), size.height / 2 - font * 0.5];
  return {
    ca, sa, ce, se, scale, cx, cy, font, size, tall,
    at: (x, y, z) => {
      const [X, Y] = [x * ca - y * sa, x * sa + y * ca];
      return { x: cx + X * scale, y: cy - (z * ce + Y * se) * scale, depth: Y * ce - z * se };
    },
  };
}

// The three panes behind the surface, with grid lines at the ticks. Drawn first: whatever is inside hides them.
export function drawBox(ctx, view, axes, theme) {
  const back = { x: view.sa > 0 ? 1 : -1, y: view.ca > 0 ? 1 : -1 };
  const [xs, ys, zs] = [axes.x, axes.y, axes.z].map((axis) => axis.values.map((v) => 2 * axis.at(v) - 1));
  const { tall } = view;
  const heights = zs.map((z) => z * tall);
  ctx.lineWidth = 1;
  ctx.strokeStyle = theme.line;
  ctx.beginPath();
  const line = (a, b) => {
    const [p, q] = [view.at(...a), view.at(...b)];
    ctx.moveTo(p.x, p.y);
    ctx.lineTo(q.x, q.y);
  };
  for (const x of xs) {
    line([x, -1, -tall], [x, 1, -tall]);
    line([x, back.y, -tall], [x, back.y, tall]);
  }
  for (const y of ys) {
    line([-1, y, -tall], [1, y, -tall]);
    line([back.x, y, -tall], [back.x, y, tall]);
  }
  for (const z of heights) {
    line([-1, back.y, z], [1, back.y, z]);
    line([back.x, -1, z], [back.x, 1, z]);
  }
  ctx.stroke();
  ctx.strokeStyle = theme.faint;
  ctx.beginPath();
  for (const z of [-tall, tall]) {
    line([-1, back.y, z], [1, back.y, z]);
    line([back.x, -1, z], [back.x, 1, z]);
  }
  line([-1, -back.y, -tall], [1, -back.y, -tall]);
  line([-back.x, -1, -tall], [-back.x, 1, -tall]);
  for (const [x, y] of [[back.x, back.y], [-back.x, back.y], [back.x, -back.y]]) line([x, y, -tall], [x, y, tall]);
  ctx.stroke();
}

// Tick labels and names along the three near edges, pushed outwards from the middle of the picture.
export function drawBoxLabels(ctx, view, axes, theme) {
  const front = { x: view.sa > 0 ? -1 : 1, y: view.ca > 0 ? -1 : 1 };
  const edge = (a, b) => (t) => view.at(...a.map((v, k) => v + (b[k] - v) * t));
  const placed = [];
  const { tall } = view;
  labelEdge(ctx, view, edge([-1, front.y, -tall], [1, front.y, -tall]), axes.x, theme, placed);
  labelEdge(ctx, view, edge([front.x, -1, -tall], [front.x, 1, -tall]), axes.y, theme, placed);
  if (view.ce < 0.2) return; // from above, heights have no length
  const sides = [[front.x, -front.y], [-front.x, front.y]];
  const [x, y] = sides.sort((p, q) => view.at(...p, 0).x - view.at(...q, 0).x)[0];
  labelEdge(ctx, view, edge([x, y, -tall], [x, y, tall]), axes.z, theme, placed, true);
}

function labelEdge(ctx, view, along, axis, theme, placed, upright = false) {
  const [start, middle, end] = [along(0), along(0.5), along(1)];
  const out = upright ? { x: -1, y: 0 } : outward(view, start, middle, end);
  setFont(ctx, theme, view.font);
  ctx.fillStyle = theme.muted;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  let widest = 0;
  axis.values.forEach((value, k) => {
    const p = along(axis.at(value));
    const half = ctx.measureText(axis.labels[k]).width / 2;
    const spot = {
      x: keepInside(p.x + out.x * (8 + half), half, view.size.width),
      y: keepInside(p.y + out.y * (4 + view.font * 0.75), view.font * 0.6, view.size.height),
      half,
    };
    tick(ctx, p.x, p.y, out.x * 4, out.y * 4, theme);
    const free = (other) => Math.abs(other.x - spot.x) > other.half + half + 5 || Math.abs(other.y - spot.y) > view.font;
    if (!placed.every(free)) return;
    placed.push(spot);
    ctx.fillText(axis.labels[k], spot.x, spot.y);
    widest = Math.max(widest, 2 * half);
  });
  nameEdge(ctx, view, axis, start, middle, end, out, widest, upright);
}

function nameEdge(ctx, view, axis, start, middle, end, out, widest, upright) {
  if (!axis.title) return;
  ctx.save();
  const far = upright ? widest + 10 + view.font * 0.9 : 12 + view.font * 1.35 + Math.abs(out.x) * widest * 0.7;
  let angle = upright ? -Math.PI / 2 : Math.atan2(end.y - start.y, end.x - start.x);
  if (Math.abs(angle) > Math.PI / 2) angle -= Math.PI * Math.sign(angle);
  const [long, high] = [ctx.measureText(axis.title).width / 2, view.font * 0.65];
  const [cos, sin] = [Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle))];
  ctx.translate(
    keepInside(middle.x + out.x * far, cos * long + sin * high, view.size.width),
    keepInside(middle.y + out.y * far, sin * long + cos * high, view.size.height));
  ctx.rotate(angle);
  ctx.fillText(axis.title, 0, 0);
  ctx.restore();
}

// The unit normal of an edge that points away from the middle of the picture.
function outward(view, start, middle, end) {
  const length = Math.hypot(end.x - start.x, end.y - start.y) || 1;
  const normal = { x: (start.y - end.y) / length, y: (end.x - start.x) / length };
  const away = normal.x * (middle.x - view.cx) + normal.y * (middle.y - view.cy);
  return away < 0 ? { x: -normal.x, y: -normal.y } : normal;
}
