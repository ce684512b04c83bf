// @ts-check
// Moves of the camera: pushed, rolled, flown, always landing where something is.
import { Stage } from './stage.js';

const FLIGHT = 260; // ms of an animated move
const FRICTION = 240; // ms in which a released map loses most of its speed
const CREEP = 0.02; // pixels a ms at which it stands still
const HURRY = 5; // pixels a ms at most
const CHASE = 55; // ms in which a turn of the wheel is mostly done

/** A stage that one can move about. */
export class Travel extends Stage {
  constructor() {
    super();
    this.owed = 0; // of the wheel, as the logarithm of a factor
  }

  /**
   * @param {number} dx pixels
   * @param {number} dy pixels
   */
  panBy(dx, dy) {
    this.land();
    this.camera.pan(dx, dy, this.extent);
    this.moved();
  }

  /**
   * Let the map run on after a push, slower and slower, until it stands.
   * @param {number} vx pixels a ms
   * @param {number} vy
   */
  glide(vx, vy) {
    this.land();
    const speed = Math.hypot(vx, vy);
    if (this.still.matches || speed < 10 * CREEP) return;
    let pace = Math.min(1, HURRY / speed);
    this.animate((took) => {
      const before = this.camera.view;
      this.camera.pan(vx * pace * took, vy * pace * took, this.extent);
      pace *= Math.exp(-took / FRICTION);
      const { x, y } = this.camera.view;
      this.moved();
      return speed * pace > CREEP && (x !== before.x || y !== before.y);
    });
  }

  /**
   * Zoom softly towards a factor; turns of the wheel add up.
   * @param {number} px
   * @param {number} py
   * @param {number} factor
   */
  rollAt(px, py, factor) {
    const owed = this.owed + Math.log(factor);
    this.land();
    if (this.still.matches) {
      this.zoomAt(px, py, Math.exp(owed));
      return;
    }
    this.owed = owed;
    this.animate((took) => {
      const part = Math.abs(this.owed) < 0.004 ? 1 : 1 - Math.exp(-took / CHASE);
      const before = this.camera.scale;
      this.camera.zoomAt(px, py, Math.exp(this.owed * part));
      this.owed *= 1 - part;
      this.moved();
      if (this.owed && this.camera.scale !== before) return true;
      this.owed = 0;
      return false;
    });
  }

  /**
   * Move with every frame until `step` says that it is over; then everything is drawn.
   * @param {(took: number) => boolean} step takes the ms since the last frame
   */
  animate(step) {
    let last = performance.now();
    const go = () => {
      const now = performance.now();
      const on = now === last || step(Math.min(64, now - last)); // a coarse clock may stand still
      last = now;
      this.flight = on ? requestAnimationFrame(go) : 0;
      if (!on) this.stand();
    };
    this.flight = requestAnimationFrame(go);
  }

  /**
   * Look at a place of the world.
   * @param {number} x
   * @param {number} y
   */
  lookAt(x, y) {
    this.land();
    const { scale } = this.camera;
    const [wide, high] = this.extent;
    this.camera.view = { x: Math.max(0, Math.min(wide, x)), y: Math.max(0, Math.min(high, y)), scale };
    this.moved();
  }

  /**
   * @param {number} px
   * @param {number} py
   * @param {number} factor
   * @param {boolean} [smooth]
   */
  zoomAt(px, py, factor, smooth = false) {
    this.land();
    const from = this.camera.view;
    this.camera.zoomAt(px, py, factor);
    if (smooth) {
      const to = this.camera.view;
      this.camera.view = from;
      this.flyTo(to);
    } else this.moved();
  }

  /** @param {number} factor */
  zoomBy(factor) {
    this.zoomAt(this.camera.width / 2, this.camera.height / 2, factor, true);
  }

  /**
   * Move by pixels with an eased step: arrow keys.
   * @param {number} dx
   * @param {number} dy
   */
  lookAround(dx, dy) {
    const { x, y, scale } = this.camera;
    this.flyTo({ x: x - dx / scale, y: y + dy / scale, scale });
  }

  fit() {
    this.flyTo(this.wholeView());
    this.untouched = true;
  }

  /** @param {import('./camera.js').View} to */
  flyTo(to) {
    this.land();
    const from = this.camera.view;
    if (this.still.matches || !this.n) {
      this.camera.view = to;
      this.moved();
      return;
    }
    const begun = performance.now();
    const step = () => {
      const part = Math.min(1, (performance.now() - begun) / FLIGHT);
      this.camera.between(from, to, part);
      if (part === 1) this.camera.view = to;
      const { untouched } = this;
      this.moved();
      this.untouched = untouched;
      this.flight = part < 1 ? requestAnimationFrame(step) : 0;
    };
    this.untouched = false;
    step();
  }

  land() {
    super.land();
    this.owed = 0;
  }
}
