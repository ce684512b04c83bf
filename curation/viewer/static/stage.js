// @ts-check
// The stage: canvases, graphics context, camera moves and frames. It knows no selection and no host.
import { Camera } from './camera.js';
import { element } from './chrome.js';
import { MapError } from './data.js';
import { writeNames } from './names.js';
import { PointLayer, rgbOf } from './points.js';

/** @typedef {'pan' | 'lasso' | 'box'} Tool */

const REST = 160; // ms without movement before everything is drawn again
const FLIGHT = 260; // ms of an animated move
const SLOW = 42; // ms a frame: draw fewer points while moving
const FAST = 22; // ms a frame: draw more
const LEAST = 20000; // points that any device is trusted with

/**
 * Any CSS colour as "#rrggbb", read the way the browser paints it.
 * @param {string} text
 * @returns {string}
 */
function solid(text) {
  const pen = /** @type {CanvasRenderingContext2D} */ (
    Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d')
  );
  pen.fillStyle = text;
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
  return `#${[r, g, b].map((v) => v.toString(16).padStart(2, '0')).join('')}`;
}

/** A root element with a drawing on it that one can move about. */
export class Stage {
  constructor() {
    this.abort = new AbortController();
    this.camera = new Camera();
    this.n = 0;
    /** @type {import('./points.js').Places} */
    this.places = { x: new Uint16Array(0), y: new Uint16Array(0) };
    /** @type {number[]} */
    this.levels = [];
    /** @type {number[]} */
    this.extent = [1, 1];
    /** @type {import('./names.js').Anchor[]} */
    this.anchors = [];
    /** @type {number | null} the legend entry that stands out */
    this.pick = null;
    this.hovered = -1;
    this.selectedCount = 0;
    this.names = true;
    this.budget = 250000;
    this.moving = false;
    this.dark = false;
    this.untouched = true;
    /** @type {{kind: Tool, path: number[]} | null} */
    this.drawing = null;
    this.still = matchMedia('(prefers-reduced-motion: reduce)');
    this.root = element('div', { class: 'atlas-map', tabindex: '0', role: 'application' });
    this.canvas = /** @type {HTMLCanvasElement} */ (element('canvas', { class: 'points' }));
    this.overlay = /** @type {HTMLCanvasElement} */ (element('canvas', { class: 'overlay' }));
    this.pen = /** @type {CanvasRenderingContext2D} */ (this.overlay.getContext('2d'));
    this.root.append(this.canvas, this.overlay);
  }

  // ---- graphics context ----------------------------------------------------------------------

  /** Take a graphics context; throws a MapError where there is none to take. */
  start() {
    const gl = this.canvas.getContext('webgl2', { antialias: false, premultipliedAlpha: true });
    if (!gl) {
      throw new MapError(
        'This browser shows no WebGL2, which the map needs. Turn on hardware acceleration, or use ' +
          'a current Firefox, Chrome, Edge or Safari. Everything else on this page works without.',
      );
    }
    const { signal } = this.abort;
    this.canvas.addEventListener('webglcontextlost', (event) => this.lost(event), { signal });
    this.canvas.addEventListener('webglcontextrestored', () => this.restored(), { signal });
    this.gl = gl;
    this.layer = new PointLayer(gl);
  }

  /** @param {Event} event */
  lost(event) {
    event.preventDefault(); // without this the browser never gives the context back
    this.layer = undefined;
  }

  restored() {
    this.layer = new PointLayer(/** @type {WebGL2RenderingContext} */ (this.gl));
  }

  /** Stop drawing and free the graphics context: browsers keep 16 at most. */
  close() {
    this.abort.abort();
    cancelAnimationFrame(this.frame ?? 0);
    cancelAnimationFrame(this.flight ?? 0);
    clearTimeout(this.rest);
    this.gl?.getExtension('WEBGL_lose_context')?.loseContext();
    this.root.remove();
  }

  // ---- camera --------------------------------------------------------------------------------

  /** Pixels at each side that the tools cover. @returns {import('./camera.js').Insets} */
  get insets() {
    return { left: 20, right: 20, top: 20, bottom: 20 };
  }

  wholeView() {
    return this.camera.viewOf([0, 0, this.extent[0], this.extent[1]], this.insets);
  }

  /** Take the size of the root; until one has moved, everything stays in view. */
  resized() {
    const { clientWidth, clientHeight } = this.root;
    if (!clientWidth || !clientHeight) return;
    this.camera.width = clientWidth;
    this.camera.height = clientHeight;
    this.dpr = Math.min(3, globalThis.devicePixelRatio || 1);
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = Math.round(clientWidth * this.dpr);
      canvas.height = Math.round(clientHeight * this.dpr);
    }
    this.camera.fitted = this.wholeView().scale;
    if (this.untouched) this.camera.view = this.wholeView();
    this.drawNow(); // in the same task: a resized canvas is blank until drawn
  }

  /** The camera has moved: draw a coarse picture now and all of it at rest. */
  moved() {
    this.untouched = false;
    this.moving = true;
    clearTimeout(this.rest);
    this.rest = setTimeout(() => {
      this.moving = false;
      this.draw();
    }, REST);
    this.draw();
  }

  /**
   * @param {number} dx pixels
   * @param {number} dy pixels
   */
  panBy(dx, dy) {
    this.land();
    this.camera.pan(dx, dy);
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

  /** End an animated move where it is. */
  land() {
    if (this.flight) cancelAnimationFrame(this.flight);
    this.flight = 0;
  }

  // ---- frames --------------------------------------------------------------------------------

  /** Draw in the next frame. */
  draw() {
    this.frame ||= requestAnimationFrame((now) => {
      this.frame = 0;
      this.adapt(now);
      this.drawNow();
    });
  }

  /** Draw more or fewer points while moving, by how long the last frames took. @param {number} now */
  adapt(now) {
    const took = now - (this.lastFrame ?? 0);
    this.lastFrame = now;
    if (!this.moving || took > 500) return;
    if (took > SLOW) this.budget = Math.max(LEAST, this.budget / 1.6);
    else if (took < FAST) this.budget = Math.min(4e6, this.budget * 1.1);
  }

  /** How many points this frame draws: a prefix that ends with a level is an even sample. */
  get shown() {
    if (!this.moving || this.n <= this.budget) return this.n;
    return this.levels.filter((end) => end <= this.budget).pop() ?? this.n;
  }

  /** Pixels across a point: fewer items are drawn bigger, and all grow a little with the zoom. */
  get pointSize() {
    const base = Math.min(9.5, Math.max(1.7, 8 * (1800 / Math.max(1, this.n)) ** 0.27));
    return base * Math.min(3, Math.max(0.8, this.camera.zoom ** 0.38));
  }

  /** Draw in this task. */
  drawNow() {
    const { layer, look, camera, dpr = 1 } = this;
    if (!layer || !look) return;
    const count = this.shown;
    layer.draw({
      camera,
      dpr,
      count,
      size: this.pointSize,
      alpha: this.n < 20000 ? 0.96 : this.n < 200000 ? 0.8 : 0.6,
      standOut: this.selectedCount > 0,
      pick: this.pick,
      ink: look.ink,
      paper: look.paper,
    });
    if (this.root.dataset.drawn !== String(count)) this.root.dataset.drawn = String(count);
    this.drawOverlay();
  }

  drawOverlay() {
    const { pen, look, dpr = 1 } = this;
    pen.setTransform(dpr, 0, 0, dpr, 0, 0);
    pen.clearRect(0, 0, this.camera.width, this.camera.height);
    if (!look) return;
    const { inkText: ink, paperText: paper, font } = look;
    const written = this.names ? writeNames(pen, this.anchors, this.camera, { ink, paper, font }) : 0;
    if (this.root.dataset.names !== String(written)) this.root.dataset.names = String(written);
    if (this.hovered >= 0) this.ring(this.hovered, ink);
    if (this.drawing) this.outline(this.drawing, look.accent);
  }

  /**
   * @param {number} item
   * @param {string} ink
   */
  ring(item, ink) {
    const [x, y] = this.camera.toScreen(this.places.x[item], this.places.y[item]);
    this.pen.beginPath();
    this.pen.arc(x, y, this.pointSize / 2 + 4, 0, 2 * Math.PI);
    this.pen.strokeStyle = ink;
    this.pen.lineWidth = 2;
    this.pen.stroke();
  }

  /**
   * @param {{kind: Tool, path: number[]}} drawing
   * @param {string} accent
   */
  outline({ kind, path }, accent) {
    const { pen } = this;
    pen.beginPath();
    if (kind === 'box') pen.rect(path[0], path[1], path[2] - path[0], path[3] - path[1]);
    else for (let k = 0; k < path.length; k += 2) pen.lineTo(path[k], path[k + 1]);
    pen.closePath();
    pen.fillStyle = accent;
    pen.globalAlpha = 0.12;
    pen.fill();
    pen.globalAlpha = 1;
    pen.strokeStyle = accent;
    pen.lineWidth = 1.8;
    pen.setLineDash([6, 4]);
    pen.stroke();
    pen.setLineDash([]);
  }

  /**
   * Show a lasso or box in the making, or none.
   * @param {Tool | null} kind
   * @param {number[]} path pixels
   */
  sketch(kind, path) {
    if (!kind && !this.drawing) return;
    this.drawing = kind && { kind, path };
    this.draw();
  }

  /** Read the page's colours; returns whether paper went from light to dark or back. */
  readTheme() {
    const style = getComputedStyle(this.root);
    const paper = rgbOf(solid(style.backgroundColor));
    this.look = {
      paper,
      ink: rgbOf(solid(style.color)),
      paperText: style.backgroundColor,
      inkText: style.color,
      accent: style.getPropertyValue('--accent').trim() || '#3b6fe0',
      font: style.fontFamily,
    };
    const dark = 0.3 * paper[0] + 0.59 * paper[1] + 0.11 * paper[2] < 0.5;
    const turned = dark !== this.dark;
    this.dark = dark;
    this.root.classList.toggle('dark', dark);
    return turned;
  }
}
