// @ts-check
// World (quantised coordinates, y up) to screen (CSS pixels, y down) and back.
import { FULL_SCALE } from './data.js';

/** @typedef {{x: number, y: number, scale: number}} View centre in world units, pixels a unit */
/** @typedef {{left: number, right: number, top: number, bottom: number}} Insets pixels */

const CLOSEST = 16; // pixels for one step of the coordinates
const FARTHEST = 0.4; // of the scale at which everything fits

/**
 * A place on a line, held between 0 and `end`, or `now` where that lies outside.
 * @param {number} to
 * @param {number} now
 * @param {number} end
 */
const heldWithin = (to, now, end) => Math.min(Math.max(to, Math.min(0, now)), Math.max(end, now));

/** Where one looks from. */
export class Camera {
  constructor() {
    this.x = FULL_SCALE / 2;
    this.y = FULL_SCALE / 2;
    this.scale = 0.01;
    this.width = 1;
    this.height = 1;
    this.fitted = 0.01;
  }

  /** @returns {View} */
  get view() {
    return { x: this.x, y: this.y, scale: this.scale };
  }

  /** @param {View} view */
  set view({ x, y, scale }) {
    this.x = x;
    this.y = y;
    this.scale = scale;
  }

  /** How far one has zoomed in: 1 = everything fits. */
  get zoom() {
    return this.scale / this.fitted;
  }

  /**
   * @param {number} px
   * @param {number} py
   * @returns {[number, number]}
   */
  toWorld(px, py) {
    return [
      this.x + (px - this.width / 2) / this.scale,
      this.y - (py - this.height / 2) / this.scale,
    ];
  }

  /**
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  toScreen(x, y) {
    return [
      (x - this.x) * this.scale + this.width / 2,
      (this.y - y) * this.scale + this.height / 2,
    ];
  }

  /**
   * Move by screen pixels; the middle of the view never leaves the atlas farther than it has.
   * @param {number} dx
   * @param {number} dy
   * @param {number[]} extent of the atlas, in world units
   */
  pan(dx, dy, [wide, high]) {
    this.x = heldWithin(this.x - dx / this.scale, this.x, wide);
    this.y = heldWithin(this.y + dy / this.scale, this.y, high);
  }

  /**
   * Zoom so that the world under (px, py) stays there.
   * @param {number} px
   * @param {number} py
   * @param {number} factor
   */
  zoomAt(px, py, factor) {
    const [x, y] = this.toWorld(px, py);
    const lowest = this.fitted * FARTHEST;
    this.scale = Math.min(CLOSEST, Math.max(lowest, this.scale * factor));
    this.x = x - (px - this.width / 2) / this.scale;
    this.y = y + (py - this.height / 2) / this.scale;
  }

  /**
   * The view that shows a box of the world between the insets.
   * @param {[number, number, number, number]} box x0, y0, x1, y1
   * @param {Insets} insets
   * @returns {View}
   */
  viewOf([x0, y0, x1, y1], insets) {
    const wide = Math.max(40, this.width - insets.left - insets.right);
    const high = Math.max(40, this.height - insets.top - insets.bottom);
    const scale = Math.min(CLOSEST, wide / Math.max(1, x1 - x0), high / Math.max(1, y1 - y0));
    return {
      x: (x0 + x1) / 2 - (insets.left - insets.right) / 2 / scale,
      y: (y0 + y1) / 2 + (insets.top - insets.bottom) / 2 / scale,
      scale,
    };
  }

  /**
   * Part of the way from one view to another; zooming looks even when scales are mixed as powers.
   * @param {View} from
   * @param {View} to
   * @param {number} part 0 to 1
   */
  between(from, to, part) {
    const eased = part * part * (3 - 2 * part);
    this.scale = from.scale * (to.scale / from.scale) ** eased;
    const ratio = to.scale / from.scale;
    // Mixing centres linearly while the scale is a power makes the picture swing sideways.
    const moved = Math.abs(ratio - 1) < 1e-6 ? eased : (1 - ratio ** -eased) / (1 - 1 / ratio);
    this.x = from.x + (to.x - from.x) * moved;
    this.y = from.y + (to.y - from.y) * moved;
  }
}
