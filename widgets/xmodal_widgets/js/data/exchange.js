// What one step of x is worth in words (uml, Sec 4.4), as instruments/information/exchange.py finds it; a test holds
// the two together. Two fits to a grid of values: a plane, and logarithms of 1 + shots. The one with the larger R² leads.

import { readable } from "./numbers.js";

const LEAST = 0.5; // of the variance that a fit must explain
const TIE = 1e-9;
const ROUNDING = 1e-10;

const SCALES = { plane: (n) => n, log: (n) => Math.log1p(n) };
const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;

// grids: for each seed its values at [i * y.length + j]; words: in one step of y; quantiles: of Student's t, by degrees
// of freedom from 1 on. Returns { leads, plane, log, centre }; a fit holds ratio, interval, r2 and why there is none.
export function exchangeRate(grids, x, y, words, quantiles) {
  const whole = grids.filter((grid) => grid.every(Number.isFinite));
  if (!whole.length || x.length < 2 || y.length < 2) return null;
  const [plane, log] = Object.keys(SCALES).map((scale) => fitOf(whole, x.map(SCALES[scale]), y.map(SCALES[scale]), quantiles));
  const centre = [x, y].map((shots) => Math.expm1(mean(shots.map((n) => Math.log1p(n)))));
  return { leads: log.r2 > plane.r2 + TIE ? "log" : "plane", plane, log, centre, words, seeds: whole.length };
}

function fitOf(grids, sx, sy, quantiles) {
  const each = grids.map((grid) => slopesOf(grid, sx, sy));
  const [bx, by] = [0, 1].map((k) => mean(each.map((slopes) => slopes[k])));
  const average = grids[0].map((_, k) => mean(grids.map((grid) => grid[k])));
  const centre = mean([...average]);
  const [mx, my] = [mean(sx), mean(sy)];
  const fitted = (k) => centre + bx * (sx[Math.floor(k / sy.length)] - mx) + by * (sy[k % sy.length] - my);
  const left = sum([...average].map((v, k) => (v - fitted(k)) ** 2));
  const variance = sum([...average].map((v) => (v - centre) ** 2));
  const r2 = variance > 0 ? 1 - left / variance : NaN;
  const { spread, freedom } = spreadOf(each, bx, by, left, sx, sy);
  const q = quantiles[freedom - 1] ?? NaN;
  const half = q * Math.sqrt(spread[2]);
  const most = Math.max(...grids.flatMap((grid) => [...grid].map(Math.abs)));
  const rounding = [sx, sy].map((s) => (ROUNDING * most) / (Math.max(...s) - Math.min(...s)));
  const refused = !(by - half > 0) || !(by > rounding[1]) ? "y" : !(r2 >= LEAST) ? "r2" : !(bx > rounding[0]) ? "x" : "";
  const found = { slopes: [bx, by], slope: [by - half, by + half], r2, refused, ratio: NaN, interval: [NaN, NaN] };
  return refused ? found : { ...found, ratio: bx / by, interval: boundsOf(bx, by, spread, q) };
}

const sum = (list) => list.reduce((a, b) => a + b, 0);

// Least squares on a whole grid: each slope is that of the means over the other axis.
function slopesOf(grid, sx, sy) {
  const rows = sx.map((_, i) => mean(sy.map((_, j) => grid[i * sy.length + j])));
  const columns = sy.map((_, j) => mean(sx.map((_, i) => grid[i * sy.length + j])));
  return [slopeOf(rows, sx), slopeOf(columns, sy)];
}

function slopeOf(values, s) {
  const middle = mean(s);
  return sum(values.map((v, i) => v * (s[i] - middle))) / sum(s.map((v) => (v - middle) ** 2));
}

// Variances and covariance of the mean slopes [xx, xy, yy]: over seeds, else from what the fit leaves.
function spreadOf(each, bx, by, left, sx, sy) {
  const n = each.length;
  if (n > 1) {
    const about = (k, m) => sum(each.map((slopes) => (slopes[k] - [bx, by][k]) * (slopes[m] - [bx, by][m]))) / (n - 1) / n;
    return { spread: [about(0, 0), about(0, 1), about(1, 1)], freedom: n - 1 };
  }
  const freedom = sx.length * sy.length - 3;
  const squares = (s, other) => other.length * sum(s.map((v) => (v - mean(s)) ** 2));
  return { spread: [left / freedom / squares(sx, sy), 0, left / freedom / squares(sy, sx)], freedom };
}

// Fieller's bounds of x / y.
function boundsOf(x, y, [xx, xy, yy], q) {
  const a = y * y - q * q * yy;
  const b = x * y - q * q * xy;
  const root = Math.sqrt(Math.max(b * b - a * (x * x - q * q * xx), 0));
  return [Math.min((b - root) / a, x / y), Math.max((b + root) / a, x / y)];
}

// Words that one more x buys beside these shots, by the log fit; NaN where it is refused.
export const localRate = (found, x, y) => (found.words * found.log.ratio * (1 + y)) / (1 + x);

// In words: { short, long }. names: of the axes.
export function rateWords(found, names) {
  if (!found) return { short: "", long: "" };
  const fit = found[found.leads];
  const [x, y] = names;
  const of = found.seeds > 1 ? `${found.seeds} seeds` : "what the fit leaves";
  if (fit.refused) {
    const why = {
      y: `one more of ${y} buys no certain accuracy (slope ${short(fit.slopes[1])}, 95 % interval ${short(fit.slope[0])} to ${short(fit.slope[1])}, by ${of})`,
      x: `one more of ${x} buys no accuracy (slope ${short(fit.slopes[0])})`,
      r2: `no fit explains half of the variance (R² ${short(fit.r2)})`,
    }[fit.refused];
    const brief = { y: `${y} buy no certain accuracy`, x: `${x} buy no accuracy`, r2: "no fit" }[fit.refused];
    return { short: `no exchange rate: ${brief}`, long: `no exchange rate: ${why}` };
  }
  const unit = found.words * (found.leads === "log" ? (1 + found.centre[1]) / (1 + found.centre[0]) : 1);
  const [rate, low, high] = [fit.ratio, ...fit.interval].map((v) => short(unit * v));
  const where = found.leads === "log" ? ` beside ${short(found.centre[0])} ${x} and ${short(found.centre[1])} ${y}` : "";
  return {
    short: `1 of ${x} ≈ ${rate} words (${low} to ${high})`,
    long: `one more of ${x} is worth ${rate} words (95 % interval ${low} to ${high}, by ${of})${where}; ${found.leads === "log" ? "log fit" : "plane"}, R² ${short(fit.r2)}`,
  };
}

const short = (v) => readable(Number(v.toPrecision(Math.abs(v) >= 100 ? 3 : 2)));
