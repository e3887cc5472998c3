// Round ticks, readable numbers, and scales from values to 0..1.

function roundStep(span, count) {
  const raw = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const lead = raw / power;
  return (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 2.5 ? 2.5 : lead <= 5 ? 5 : 10) * power;
}

const tidy = (x) => Number(x.toPrecision(12));

function roundTicks(lo, hi, count) {
  if (!(hi > lo)) return [lo];
  const step = roundStep(hi - lo, count);
  const first = Math.ceil(lo / step - 1e-9);
  const last = Math.floor(hi / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, k) => tidy((first + k) * step));
}

// Whole numbers count things: no ticks between them.
export const wholeTicks = (lo, hi, count) => roundTicks(lo, hi, count).filter((t) => Number.isInteger(t));

function logTicks(lo, hi, count) {
  const decades = Math.log10(hi / lo);
  if (decades < 0.7) return roundTicks(lo, hi, count).filter((t) => t > 0);
  const first = Math.floor(Math.log10(lo));
  const last = Math.ceil(Math.log10(hi));
  const leads = decades < 2 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil(decades / Math.max(2, count)));
  const ticks = [];
  for (let e = first; e <= last; e += stride) for (const lead of leads) ticks.push(tidy(lead * 10 ** e));
  return ticks.filter((t) => t >= lo * (1 - 1e-9) && t <= hi * (1 + 1e-9));
}

function tickLabel(value, digits) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return minus(value.toExponential(1).replace(".0e", "e").replace("e+", "e"));
  return minus(value.toFixed(digits));
}

const decimals = (value) => (Math.abs(value) < 1e-3 ? 0 : (String(tidy(value)).split(".")[1] || "").length);

// One number of decimals for the whole axis; on a log scale, where steps differ, each label takes what it needs.
export function tickLabels(ticks, log) {
  const most = Math.max(0, ...ticks.map(decimals));
  return ticks.map((t) => tickLabel(t, log ? decimals(t) : most));
}
export const minus = (text) => text.replace("-", "\u2212");

// A value as the read-out says it: four significant digits.
export function readable(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "no value";
  if (!Number.isFinite(value)) return value > 0 ? "\u221e" : "\u2212\u221e";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return minus(value.toExponential(3));
  return minus(String(Number(value.toPrecision(4))));
}

export const withUnits = (text, units) => (units ? `${text} ${units}` : text);
export const titled = ({ label, units }) => (label && units ? `${label} [${units}]` : label || units);

// Values -> 0..1 (beyond it where clipped, NaN where there is none), linear or log10.
export function valueScale(lo, hi, log) {
  if (log) {
    const a = Math.log10(lo);
    const b = hi > lo ? Math.log10(hi) : a + 1;
    return {
      lo, hi, log,
      at: (v) => (v > 0 && v < Infinity ? (Math.log10(v) - a) / (b - a) : NaN),
      value: (t) => 10 ** (a + t * (b - a)),
      ticks: (count) => logTicks(lo, 10 ** b, count),
    };
  }
  if (!(hi > lo)) {
    const pad = Math.abs(lo) * 0.5 || 0.5;
    lo -= pad;
    hi += pad;
  }
  return {
    lo, hi, log,
    at: (v) => (Number.isFinite(v) ? (v - lo) / (hi - lo) : NaN),
    value: (t) => lo + t * (hi - lo),
    ticks: (count) => roundTicks(lo, hi, count),
  };
}

// A little air around lines and points, out to round numbers.
export function padded(lo, hi, log, share = 0.04) {
  if (log) {
    const grow = (hi / lo) ** share || 1;
    return [lo / grow, hi * grow];
  }
  const pad = (hi - lo) * share;
  return [lo - pad, hi + pad];
}

// Whether numbers grow by about the same factor at each step, as 1, 2, 4, 8 do.
export function isGeometric(values) {
  if (values.length < 4 || !(values[0] > 0)) return false;
  const factors = values.slice(1).map((v, i) => v / values[i]);
  return Math.min(...factors) >= 1.5 && Math.max(...factors) <= 1.35 * Math.min(...factors);
}

// The index of the place that lies nearest to a target.
export function nearest(places, target) {
  let best = 0;
  let away = Infinity;
  places.forEach((place, i) => {
    const d = Math.abs(place - target);
    if (d < away) [best, away] = [i, d];
  });
  return best;
}
