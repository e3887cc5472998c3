// Painters of a surface: WebGL 2 where a graphics card draws it, else the processor.
// One WebGL context serves every panel of the page (browsers allow about 16); each panel copies its picture.

import { PAGE, PALETTES } from "../data/palette.js";
import { meshStride, paintFacets } from "./facets.js";

const VERTEX_SHADER = `#version 300 es
in vec4 point;   // x, y, height, tone
in vec3 extra;   // 1 where there is a value; column; row
uniform vec4 turn;   // cos, sin of azimuth; cos, sin of elevation
uniform vec4 lens;   // scale and centre in clip units: sx, sy, cx, cy
out vec3 spot;
out float tone;
out vec3 rest;
void main() {
  spot = point.xyz;
  tone = point.w;
  rest = extra;
  float X = point.x * turn.x - point.y * turn.y;
  float Y = point.x * turn.y + point.y * turn.x;
  float up = point.z * turn.z + Y * turn.w;
  float depth = Y * turn.z - point.z * turn.w;
  gl_Position = vec4(X * lens.x + lens.z, up * lens.y + lens.w, depth * 0.4, 1.0);
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 spot;
in float tone;
in vec3 rest;
uniform sampler2D colors;
uniform vec2 mesh;
out vec4 color;
void main() {
  if (rest.x < 0.999) discard;
  vec3 normal = normalize(cross(dFdx(spot), dFdy(spot)));
  float light = 0.80 + 0.20 * abs(dot(normal, vec3(0.28, -0.28, 0.92)));
  vec3 base = texture(colors, vec2((clamp(tone, 0.0, 1.0) * 255.0 + 0.5) / 256.0, 0.5)).rgb;
  vec2 cell = rest.yz / mesh;
  vec2 gap = abs(fract(cell - 0.5) - 0.5) / fwidth(cell);
  float wire = 1.0 - min(min(gap.x, gap.y), 1.0);
  color = vec4(mix(base * light, vec3(0.0), wire * 0.28), 1.0);
}`;

export function glPainter() {
  // undefined: not tried yet; null: there is no graphics card
  if (PAGE.gl === undefined || (PAGE.gl && PAGE.gl.gl.isContextLost())) PAGE.gl = makeGl();
  return PAGE.gl;
}

function makeGl() {
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2", { antialias: true, failIfMajorPerformanceCaveat: true });
  if (!gl || isSoftware(gl)) return null;
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
  gl.useProgram(program);
  gl.enable(gl.DEPTH_TEST);
  uploadColors(gl);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  for (const [name, size, offset] of [["point", 4, 0], ["extra", 3, 16]]) {
    const place = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, gl.FLOAT, false, 28, offset);
  }
  const uniform = (name) => gl.getUniformLocation(program, name);
  return { gl, canvas, turn: uniform("turn"), lens: uniform("lens"), mesh: uniform("mesh"), indices: new Map() };
}

// Chromium gives SwiftShader out without a caveat. It draws as well, and takes five times as long as the painter here.
function isSoftware(gl) {
  const named = gl.getExtension("WEBGL_debug_renderer_info");
  return SOFTWARE.test(gl.getParameter(named ? named.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

function uploadColors(gl) {
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  loadPalette(gl, PALETTES.viridis);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
}

function loadPalette(gl, palette) {
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(palette.pixels.buffer));
}

function bindTriangles(painter, nx, ny) {
  const { gl, indices } = painter;
  const key = `${nx} ${ny}`;
  if (!indices.has(key)) {
    const triangles = new Uint32Array((nx - 1) * (ny - 1) * 6);
    let n = 0;
    for (let i = 0; i < nx - 1; i++) {
      for (let j = 0; j < ny - 1; j++) {
        const k = i * ny + j;
        triangles.set([k, k + ny, k + 1, k + ny, k + ny + 1, k + 1], n);
        n += 6;
      }
    }
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, triangles, gl.STATIC_DRAW);
    indices.set(key, { buffer, count: n });
  }
  const { buffer, count } = indices.get(key);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
  return count;
}

// Points of the mesh in the box: x, y, height, tone, 1 or 0 where there is no value, column, row.
export function meshPoints(plane, axes, scale, tall) {
  const [nx, ny] = [plane.x.length, plane.y.length];
  const points = new Float32Array(nx * ny * 7);
  const ys = plane.y.map((y) => 2 * axes.y.at(y) - 1);
  for (let i = 0; i < nx; i++) {
    const x = 2 * axes.x.at(plane.x[i]) - 1;
    for (let j = 0; j < ny; j++) {
      const k = i * ny + j;
      const raw = scale.at(plane.values[k]);
      const there = !Number.isNaN(raw);
      const tone = there ? Math.max(0, Math.min(1, raw)) : 0;
      points[7 * k] = x;
      points[7 * k + 1] = ys[j];
      points[7 * k + 2] = (2 * tone - 1) * tall;
      points[7 * k + 3] = tone;
      points[7 * k + 4] = there ? 1 : 0;
      points[7 * k + 5] = i;
      points[7 * k + 6] = j;
    }
  }
  return points;
}

export function drawSurfaceGl(painter, ctx, size, view, points, nx, ny, palette) {
  const { gl, canvas } = painter;
  if (painter.palette !== palette) loadPalette(gl, palette);
  painter.palette = palette;
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  // The shared canvas only grows, so that panels of different sizes do not reallocate it in turn.
  if (canvas.width < width) canvas.width = width;
  if (canvas.height < height) canvas.height = height;
  gl.viewport(0, canvas.height - height, width, height);
  gl.clearColor(0, 0, 0, 0);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  gl.bufferData(gl.ARRAY_BUFFER, points, gl.DYNAMIC_DRAW);
  gl.uniform4f(painter.turn, view.ca, view.sa, view.ce, view.se);
  const [hx, hy] = [size.width / 2, size.height / 2];
  gl.uniform4f(painter.lens, view.scale / hx, view.scale / hy, view.cx / hx - 1, 1 - view.cy / hy);
  gl.uniform2f(painter.mesh, meshStride(nx), meshStride(ny));
  gl.drawElements(gl.TRIANGLES, bindTriangles(painter, nx, ny), gl.UNSIGNED_INT, 0);
  ctx.drawImage(canvas, 0, 0, width, height, 0, 0, size.width, size.height);
}

// By the processor, on a canvas of its own that all panels share: it lies over the box that is drawn already.
export function drawSurfaceSoft(ctx, size, view, points, nx, ny, palette) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  const soft = softCanvas(width, height);
  soft.pixels.fill(0);
  paintFacets(soft.pixels, width, height, view, points, nx, ny, ratio, palette);
  soft.ctx.putImageData(soft.image, 0, 0);
  ctx.drawImage(soft.canvas, 0, 0, width, height, 0, 0, width / ratio, height / ratio);
}

let soft = null;
function softCanvas(width, height) {
  if (!soft) {
    const canvas = document.createElement("canvas");
    soft = { canvas, ctx: null, images: new Map() };
    canvas.width = canvas.height = 1;
    soft.ctx = canvas.getContext("2d", { willReadFrequently: true }); // it is written by the processor
  }
  if (soft.canvas.width < width) soft.canvas.width = width;
  if (soft.canvas.height < height) soft.canvas.height = height;
  const key = `${width} ${height}`;
  if (!soft.images.has(key)) {
    if (soft.images.size >= KEPT) soft.images.clear();
    const image = soft.ctx.createImageData(width, height);
    soft.images.set(key, { image, pixels: new Uint32Array(image.data.buffer) });
  }
  return { ...soft, ...soft.images.get(key) };
}
const KEPT = 8; // sizes of panels (ours)

// A surface as its wires only: the pinned one, over the present.
export function drawWire(ctx, view, points, nx, ny, theme) {
  const spot = (k) => (points[7 * k + 4] === 1 ? view.at(points[7 * k], points[7 * k + 1], points[7 * k + 2]) : null);
  const run = (ks) => {
    let pen = false;
    for (const p of ks.map(spot)) {
      if (p) ctx[pen ? "lineTo" : "moveTo"](p.x, p.y);
      pen = Boolean(p);
    }
  };
  const every = (n) => Array.from({ length: n }, (_, i) => i).filter((i) => i % Math.max(1, Math.round(n / 8)) === 0 || i === n - 1);
  ctx.strokeStyle = theme.ink;
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (const i of every(nx)) run(Array.from({ length: ny }, (_, j) => i * ny + j));
  for (const j of every(ny)) run(Array.from({ length: nx }, (_, i) => i * ny + j));
  ctx.stroke();
  ctx.globalAlpha = 1;
}

// The mesh point under the pointer: of those close by, the one nearest to the eye.
export function pickSurface(view, points, nx, ny, x, y) {
  let best = null;
  for (let k = 0; k < nx * ny; k++) {
    if (points[7 * k + 4] !== 1) continue;
    const p = view.at(points[7 * k], points[7 * k + 1], points[7 * k + 2]);
    const away = Math.hypot(p.x - x, p.y - y);
    if (away > 26) continue;
    const rank = p.depth + away * 0.03;
    if (!best || rank < best.rank) best = { rank, i: Math.floor(k / ny), j: k % ny };
  }
  return best;
}
