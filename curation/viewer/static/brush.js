// @ts-check
// The brush: which items lie within its reach along a painted path.
import { GRID } from './lasso.js';

export const BRUSH = { least: 4, most: 160, step: 1.2 }; // pixels of radius

/**
 * Mark the items at most `radius` away from a segment, in double precision.
 * @param {import('./lasso.js').GridIndex} index
 * @param {Uint8Array} mask
 * @param {[number, number, number, number]} segment xa, ya, xb, yb in world units
 * @param {number} radius world units
 */
export function markNear(index, mask, [xa, ya, xb, yb], radius) {
  const { xs, ys, starts, items } = index;
  const [dx, dy] = [xb - xa, yb - ya];
  const long = dx * dx + dy * dy;
  const most = radius * radius;
  const cell = (/** @type {number} */ v) => Math.max(0, Math.min(GRID - 1, Math.floor(v / GRID)));
  const [left, right] = [cell(Math.min(xa, xb) - radius), cell(Math.max(xa, xb) + radius)];
  const [low, high] = [cell(Math.min(ya, yb) - radius), cell(Math.max(ya, yb) + radius)];
  for (let row = low; row <= high; row++) {
    const end = starts[row * GRID + right + 1]; // the cells of one row lie one after the other
    for (let k = starts[row * GRID + left]; k < end; k++) {
      const i = items[k];
      if (mask[i]) continue;
      const [x, y] = [xs[i] - xa, ys[i] - ya];
      const along = long ? Math.max(0, Math.min(1, (x * dx + y * dy) / long)) : 0;
      const [ox, oy] = [x - along * dx, y - along * dy];
      if (ox * ox + oy * oy <= most) mask[i] = 1;
    }
  }
}

/** One stroke, from the press to the release; what it took is known at every moment. */
export class Stroke {
  /**
   * @param {import('./lasso.js').GridIndex} index
   * @param {number} radius world units
   * @param {import('./lasso.js').Mode} mode
   */
  constructor(index, radius, mode) {
    this.index = index;
    this.radius = radius;
    this.mode = mode;
    this.mask = new Uint8Array(index.xs.length);
    /** @type {number[]} x0, y0, x1, y1, ... in world units */
    this.path = [];
  }

  /**
   * Paint on to a place.
   * @param {number} x
   * @param {number} y
   */
  to(x, y) {
    const [xa = x, ya = y] = this.path.slice(-2);
    this.path.push(x, y);
    markNear(this.index, this.mask, [xa, ya, x, y], this.radius);
  }
}
