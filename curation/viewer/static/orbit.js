// @ts-check
// A 3-D map seen from any side: turned on the processor into the same flat places as every layout,
// so that lasso, hover and thumbnails need not know.
import { FULL_SCALE } from './data.js';

/** @typedef {import('./layouts.js').Layout} Layout */
/** @typedef {import('./camera.js').View} View */

const TURN_SPEED = 0.0075; // radians a pixel
const DEPTH = 0.3; // how much nearer items are spread, seen from the side
const MIDDLE = FULL_SCALE / 2;

/** Turns one map. */
export class Orbit {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    this.yaw = 0;
    this.pitch = 0;
    this.stale = false; // whether the places are those of another direction
    /** @type {Layout | null} */
    this.layout = null;
    /** @type {Layout | null} */
    this.home = null;
    this.fitting = 1;
  }

  /** @param {Layout} home where the atlas puts the items; with z where it is 3-D */
  begin(home) {
    this.home = home;
    this.layout = null;
    const { z } = home.places;
    const middles = [home.extent[0] / 2, home.extent[1] / 2, z ? (home.extent[2] ?? 0) / 2 : 0];
    this.middles = middles;
    // However it is turned, and however near a corner comes, it stays among the coordinates.
    this.fitting = MIDDLE / Math.max(1, Math.hypot(...middles) * (1 + DEPTH));
  }

  /**
   * @param {number} yaw radians round the upright axis
   * @param {number} pitch radians
   */
  face(yaw, pitch) {
    this.yaw = yaw;
    this.pitch = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, pitch));
  }

  /** The layout of this direction. @returns {Layout} */
  enter() {
    const n = this.home?.places.x.length ?? 0;
    const places = { x: new Uint16Array(n), y: new Uint16Array(n) };
    this.layout = { places, extent: [FULL_SCALE, FULL_SCALE], cell: 0, captions: [], path: 'orbit', seq: 0, kind: 'orbit', field: '' };
    this.stale = false;
    this.project(n);
    return this.layout;
  }

  /** The view that shows a flat look at the orbit as `view` showed the map. @param {View} view @returns {View} */
  sameView({ x, y, scale }) {
    const [cx, cy] = this.middles ?? [0, 0];
    return { x: MIDDLE + (x - cx) * this.fitting, y: MIDDLE + (y - cy) * this.fitting, scale: scale / this.fitting };
  }

  /**
   * Turn by pixels of a drag; the picture follows with the next frame.
   * @param {number} dx
   * @param {number} dy
   */
  turnBy(dx, dy) {
    this.face(this.yaw + dx * TURN_SPEED, this.pitch + dy * TURN_SPEED);
    this.turned();
  }

  reset() {
    this.face(0, 0);
    this.turned();
  }

  turned() {
    this.stale = true;
    this.map.arrangement.remember({ yaw: this.yaw, pitch: this.pitch });
    const { untouched } = this.map;
    this.map.land();
    this.map.moved();
    this.map.untouched = untouched; // the camera stayed
  }

  /** Before a frame: what it draws is turned, and at rest all of it, for lasso and hover. */
  follow() {
    const { map, layout } = this;
    if (!this.stale || !layout || map.places !== layout.places) return;
    const { count } = map.choose();
    this.project(count);
    const { x, y } = layout.places;
    map.layer?.setPlaces({ x: x.subarray(0, count), y: y.subarray(0, count) });
    this.stale = map.moving;
    if (!this.stale) map.arrangement.moved();
  }

  /** Turn all of it now: somebody asks what is where. */
  finish() {
    const { map, layout } = this;
    if (!this.stale || map.places !== layout?.places) return;
    map.stand();
    this.follow();
  }

  /** Write the places of the first `count` items. @param {number} count */
  project(count) {
    const { layout, home, middles, fitting } = this;
    const { x: xs, y: ys, z: zs } = home?.places ?? {};
    if (!layout || !xs || !ys || !zs || !middles) return;
    const [cx, cy, cz] = middles;
    const [cosYaw, sinYaw] = [Math.cos(this.yaw), Math.sin(this.yaw)];
    const [cosPitch, sinPitch] = [Math.cos(this.pitch), Math.sin(this.pitch)];
    // From the front it is the map itself: depth grows as one turns away.
    const depth = (DEPTH * (1 - cosYaw * cosPitch)) / 2 / (Math.hypot(cx, cy, cz) || 1);
    const { x, y } = layout.places;
    for (let i = 0; i < count; i++) {
      const [dx, dy, dz] = [xs[i] - cx, ys[i] - cy, zs[i] - cz];
      const across = cosYaw * dx + sinYaw * dz;
      const away = cosYaw * dz - sinYaw * dx;
      const up = cosPitch * dy - sinPitch * away;
      const near = fitting * (1 + depth * (sinPitch * dy + cosPitch * away));
      x[i] = MIDDLE + across * near + 0.5;
      y[i] = MIDDLE + up * near + 0.5;
    }
  }
}
