// @ts-check
// The whole atlas in a corner, with a frame around what is in view.
import { element, icon } from './chrome.js';
import { rgbOf } from './points.js';

const MOST = 30000; // items drawn: an even sample of the rest
const WIDE = 150; // pixels
const HIGH = 110;
const FROM = 1.3; // zoom from which one may be lost
const NARROW = 420; // pixels of the map's width under which there is no room

/** The overview of one map. */
export class Minimap {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    /** @type {[number, number] | null} from the middle of the frame to where it was taken */
    this.held = null;
    this.picture = /** @type {HTMLCanvasElement} */ (element('canvas', { 'aria-hidden': 'true' }));
    this.frame = element('div', { class: 'frame' });
    this.land = element('div', { class: 'land', title: 'Drag to move the map' }, this.picture, this.frame);
    this.fold = element('button', { type: 'button', class: 'toggle', 'aria-label': 'Overview', title: 'Overview' }, icon('minimap'));
    this.root = element('div', { class: 'minimap', role: 'group', 'aria-label': 'Overview', hidden: '' }, this.land, this.fold);
    this.fold.addEventListener('click', () => this.open(!map.memory.minimap));
    this.land.addEventListener('pointerdown', (event) => this.grab(event));
    this.land.addEventListener('pointermove', (event) => this.held && this.lookAt(event));
    for (const end of ['pointerup', 'pointercancel']) this.land.addEventListener(end, () => (this.held = null));
    /** @type {unknown[]} what the picture was drawn from */
    this.drawn = [];
    this.ratio = 1; // pixels a world unit
  }

  /** @param {boolean} yes */
  open(yes) {
    this.map.memory.minimap = yes;
    this.follow();
    this.map.keeper.soon();
  }

  /** Show what the camera sees; called with every frame. */
  follow() {
    const { camera, memory, n } = this.map;
    const wanted = n > 0 && camera.zoom > FROM && camera.width >= NARROW;
    if (this.root.hidden === wanted) this.root.hidden = !wanted;
    const open = wanted && memory.minimap;
    this.map.root.classList.toggle('overview', open);
    this.fold.setAttribute('aria-expanded', String(memory.minimap));
    this.land.hidden = !open;
    if (!open) return;
    this.draw();
    const [x0, y0, x1, y1] = this.map.viewBox();
    const { style } = this.frame;
    style.width = `${(x1 - x0) * this.ratio}px`;
    style.height = `${(y1 - y0) * this.ratio}px`;
    style.transform = `translate(${x0 * this.ratio}px, ${(this.tall - y1) * this.ratio}px)`;
  }

  get tall() {
    return this.map.extent[1];
  }

  /** The same places hold other numbers: the next picture is drawn from them. */
  forget() {
    this.drawn = [];
  }

  /** Draw the items anew where places, colours or paper are others than last time. */
  draw() {
    const { places, column, dark, hidden, extent, dpr = 1 } = this.map;
    const from = [places, column, dark, hidden, extent[0], extent[1], dpr];
    if (!column || from.every((part, k) => part === this.drawn[k])) return;
    this.drawn = from;
    this.ratio = Math.min(WIDE / Math.max(1, extent[0]), HIGH / Math.max(1, extent[1]));
    const [wide, high] = [extent[0] * this.ratio, extent[1] * this.ratio];
    Object.assign(this.land.style, { width: `${Math.max(24, wide)}px`, height: `${Math.max(24, high)}px` });
    Object.assign(this.picture.style, { width: `${wide}px`, height: `${high}px` });
    this.picture.width = Math.max(1, Math.round(wide * dpr));
    this.picture.height = Math.max(1, Math.round(high * dpr));
    this.paint(this.map.palette(column).map(rgbOf), this.ratio * dpr);
  }

  /**
   * @param {import('./points.js').Rgb[]} colors none first, then by code
   * @param {number} ratio pixels of the picture a world unit
   */
  paint(colors, ratio) {
    const { places, levels, n, hidden } = this.map;
    const column = /** @type {import('./data.js').Column} */ (this.map.column);
    const pen = /** @type {CanvasRenderingContext2D} */ (this.picture.getContext('2d'));
    const { width, height } = this.picture;
    const image = pen.createImageData(width, height);
    const count = n <= MOST ? n : (levels.filter((end) => end <= MOST).pop() ?? MOST);
    const spot = Math.max(1, Math.round(Math.min(3, Math.sqrt((width * height) / count / 6))));
    for (let i = count - 1; i >= 0; i--) { // the first items are the most spread out: they stay on top
      const color = hidden?.[i] ? /** @type {const} */ ([0.6, 0.6, 0.6]) : colors[column.code(i) + 1];
      const left = Math.min(width - spot, Math.floor(places.x[i] * ratio));
      const top = Math.min(height - spot, Math.floor((this.tall - places.y[i]) * ratio));
      for (let k = 0; k < spot * spot; k++) {
        const at = 4 * ((top + Math.floor(k / spot)) * width + left + (k % spot));
        for (let part = 0; part < 3; part++) image.data[at + part] = 255 * color[part];
        image.data[at + 3] = hidden?.[i] ? 90 : 255;
      }
    }
    pen.putImageData(image, 0, 0);
    this.root.dataset.items = String(count);
  }

  /** @param {PointerEvent} event @returns {[number, number]} world */
  worldAt(event) {
    const box = this.land.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left - this.land.clientLeft, event.clientY - box.top - this.land.clientTop];
    return [px / this.ratio, this.tall - py / this.ratio];
  }

  /** @param {PointerEvent} event */
  grab(event) {
    event.preventDefault();
    this.land.setPointerCapture(event.pointerId);
    this.map.root.focus({ preventScroll: true }); // its keys go on
    const [x, y] = this.worldAt(event);
    const [x0, y0, x1, y1] = this.map.viewBox();
    this.held = [0, 0];
    if (x > x0 && x < x1 && y > y0 && y < y1) this.held = [x - (x0 + x1) / 2, y - (y0 + y1) / 2];
    this.lookAt(event);
  }

  /** @param {PointerEvent} event */
  lookAt(event) {
    const [x, y] = this.worldAt(event);
    const [dx, dy] = this.held ?? [0, 0];
    this.map.lookAt(x - dx, y - dy);
  }
}
