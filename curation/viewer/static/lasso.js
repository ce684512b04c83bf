// @ts-check
// Which items: exact tests in a polygon or a box, the nearest item, and set operations.

/** @typedef {'set' | 'add' | 'subtract' | 'intersect'} Mode */

const BANDS = 512; // edges are bucketed by y, so that a point meets only those beside it
export const GRID = 256; // cells along one side of the index; a cell is 256 x 256 coordinate steps

/**
 * Mark the items inside a polygon by the even-odd rule, in double precision.
 * @param {Uint16Array} xs
 * @param {Uint16Array} ys
 * @param {number[]} polygon x0, y0, x1, y1, ... in world units, closed by itself
 * @returns {Uint8Array}
 */
export function insidePolygon(xs, ys, polygon) {
  const mask = new Uint8Array(xs.length);
  if (polygon.length < 6) return mask;
  const { low, high, step, bands } = edgeBands(polygon);
  for (let i = 0; i < xs.length; i++) {
    const y = ys[i];
    if (y < low || y > high) continue;
    const x = xs[i];
    const edges = bands[Math.min(BANDS - 1, Math.floor((y - low) * step))];
    let inside = 0;
    for (let e = 0; e < edges.length; e += 4) {
      const ya = edges[e + 1];
      const yb = edges[e + 3];
      if (ya > y === yb > y) continue;
      if (x < ((edges[e + 2] - edges[e]) * (y - ya)) / (yb - ya) + edges[e]) inside ^= 1;
    }
    mask[i] = inside;
  }
  return mask;
}

/** @param {number[]} polygon */
function edgeBands(polygon) {
  let low = Infinity;
  let high = -Infinity;
  for (let k = 1; k < polygon.length; k += 2) {
    low = Math.min(low, polygon[k]);
    high = Math.max(high, polygon[k]);
  }
  const step = BANDS / (high - low || 1);
  /** @type {number[][]} */
  const bands = Array.from({ length: BANDS }, () => []);
  const band = (/** @type {number} */ y) => Math.min(BANDS - 1, Math.floor((y - low) * step));
  const count = polygon.length / 2;
  for (let i = 0, j = count - 1; i < count; j = i++) {
    const [xa, ya, xb, yb] = [polygon[2 * j], polygon[2 * j + 1], polygon[2 * i], polygon[2 * i + 1]];
    if (ya === yb) continue; // a level edge is never crossed by a level ray
    for (let b = band(Math.min(ya, yb)); b <= band(Math.max(ya, yb)); b++) {
      bands[b].push(xa, ya, xb, yb);
    }
  }
  return { low, high, step, bands };
}

/**
 * Mark the items inside a box, its edges included.
 * @param {Uint16Array} xs
 * @param {Uint16Array} ys
 * @param {[number, number, number, number]} box two opposite corners in world units
 * @returns {Uint8Array}
 */
export function insideBox(xs, ys, [xa, ya, xb, yb]) {
  const [x0, x1, y0, y1] = [Math.min(xa, xb), Math.max(xa, xb), Math.min(ya, yb), Math.max(ya, yb)];
  const mask = new Uint8Array(xs.length);
  for (let i = 0; i < xs.length; i++) {
    mask[i] = +(xs[i] >= x0 && xs[i] <= x1 && ys[i] >= y0 && ys[i] <= y1);
  }
  return mask;
}

/**
 * Change a selection in place by a hit mask.
 * @param {Uint8Array} selected
 * @param {Uint8Array} hit
 * @param {Mode} mode
 */
export function combine(selected, hit, mode) {
  if (mode === 'add') for (let i = 0; i < hit.length; i++) selected[i] |= hit[i];
  else if (mode === 'subtract') for (let i = 0; i < hit.length; i++) selected[i] &= hit[i] ^ 1;
  else if (mode === 'intersect') for (let i = 0; i < hit.length; i++) selected[i] &= hit[i];
  else selected.set(hit);
}

/** @param {Uint8Array} mask */
export function countOf(mask) {
  let count = 0;
  for (let i = 0; i < mask.length; i++) count += mask[i];
  return count;
}

/**
 * The smallest box around the marked items, or null where none is marked.
 * @param {Uint16Array} xs
 * @param {Uint16Array} ys
 * @param {Uint8Array} mask
 * @returns {[number, number, number, number] | null}
 */
export function boxAround(xs, ys, mask) {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    x0 = Math.min(x0, xs[i]);
    x1 = Math.max(x1, xs[i]);
    y0 = Math.min(y0, ys[i]);
    y1 = Math.max(y1, ys[i]);
  }
  return x0 <= x1 ? [x0, y0, x1, y1] : null;
}

/** Items by grid cell, for "what is under the pointer". */
export class GridIndex {
  /**
   * @param {Uint16Array} xs
   * @param {Uint16Array} ys
   */
  constructor(xs, ys) {
    this.xs = xs;
    this.ys = ys;
    this.starts = new Uint32Array(GRID * GRID + 1);
    this.items = new Uint32Array(xs.length);
    for (let i = 0; i < xs.length; i++) this.starts[(ys[i] >> 8) * GRID + (xs[i] >> 8) + 1]++;
    for (let c = 0; c < GRID * GRID; c++) this.starts[c + 1] += this.starts[c];
    const next = this.starts.slice();
    for (let i = 0; i < xs.length; i++) this.items[next[(ys[i] >> 8) * GRID + (xs[i] >> 8)]++] = i;
  }

  /**
   * The item nearest to (x, y) within `radius` world units, or -1.
   * @param {number} x
   * @param {number} y
   * @param {number} radius
   * @param {Uint8Array | null} [hidden] 1 = out of reach
   */
  nearest(x, y, radius, hidden = null) {
    const clamp = (/** @type {number} */ v) => Math.max(0, Math.min(GRID - 1, Math.floor(v / GRID)));
    let best = -1;
    let least = radius * radius;
    for (let row = clamp(y - radius); row <= clamp(y + radius); row++) {
      for (let cell = clamp(x - radius); cell <= clamp(x + radius); cell++) {
        const at = row * GRID + cell;
        for (let k = this.starts[at]; k < this.starts[at + 1]; k++) {
          const i = this.items[k];
          if (hidden?.[i]) continue;
          const away = (this.xs[i] - x) ** 2 + (this.ys[i] - y) ** 2;
          if (away < least || (away === least && best < 0)) {
            least = away;
            best = i;
          }
        }
      }
    }
    return best;
  }

  /**
   * The items of all cells that a box touches: at least those inside it.
   * @param {[number, number, number, number]} box x0, y0, x1, y1
   * @returns {Uint32Array} in wire order
   */
  around([x0, y0, x1, y1]) {
    const clamp = (/** @type {number} */ v) => Math.max(0, Math.min(GRID - 1, Math.floor(v / GRID)));
    const [left, right, low, high] = [clamp(x0), clamp(x1), clamp(y0), clamp(y1)];
    const spans = [];
    let count = 0;
    for (let row = low; row <= high; row++) {
      const span = this.items.subarray(this.starts[row * GRID + left], this.starts[row * GRID + right + 1]);
      spans.push(span);
      count += span.length;
    }
    const found = new Uint32Array(count);
    let at = 0;
    for (const span of spans) {
      found.set(span, at);
      at += span.length;
    }
    return found.sort();
  }

  /**
   * The items inside a box of the world, or null where they are more than `limit`.
   * @param {[number, number, number, number]} box x0, y0, x1, y1
   * @param {number} limit
   * @returns {Uint32Array | null} in wire order
   */
  within([x0, y0, x1, y1], limit) {
    const clamp = (/** @type {number} */ v) => Math.max(0, Math.min(GRID - 1, Math.floor(v / GRID)));
    const [left, right, low, high] = [clamp(x0), clamp(x1), clamp(y0), clamp(y1)];
    /** @type {number[]} */
    const found = [];
    for (let row = low; row <= high; row++) {
      const end = this.starts[row * GRID + right + 1];
      for (let k = this.starts[row * GRID + left]; k < end; k++) {
        const i = this.items[k];
        if (this.xs[i] < x0 || this.xs[i] > x1 || this.ys[i] < y0 || this.ys[i] > y1) continue;
        if (found.length === limit) return null;
        found.push(i);
      }
    }
    return Uint32Array.from(found).sort();
  }
}
