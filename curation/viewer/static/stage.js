// @ts-check
// The stage: canvases, graphics context, what a frame draws. It knows no selection and no host.
import { Camera } from './camera.js';
import { element } from './chrome.js';
import { MapError } from './data.js';
import { GridIndex } from './lasso.js';
import { Lettering } from './names.js';
import { PointLayer, rgbOf } from './points.js';

/** @typedef {'lasso' | 'box' | 'brush'} Shape */
/** @typedef {'pan' | Shape} Tool */

const REST = 160; // ms without movement before everything is drawn again
const PATIENCE = 5000; // ms for the browser to give a lost context back
const SLOW = 42; // ms a frame: draw fewer points while moving
const FAST = 22; // ms a frame: draw more
const LEAST = 20000; // points that any device is trusted with
const FIRST = 2e6; // points a frame until the first picture is whole
const CULL_FROM = 50000; // items from which only those near the view are drawn when zoomed in
const CULL_ZOOM = 1.7;
const KEPT_FROM = 30000; // dots from which their picture is kept while nothing moves
const OCCUPIED = 0.5; // of the area, roughly, is where an atlas has points

/**
 * Any CSS colour as "#rrggbb", read the way the browser paints it.
 * @param {string} text
 * @returns {string}
 */
function solid(text) {
  const hex = (/** @type {Iterable<number>} */ parts) =>
    `#${[...parts].map((v) => v.toString(16).padStart(2, '0')).join('')}`;
  const plain = /^rgb\((\d+), (\d+), (\d+)\)$/.exec(text);
  if (plain) return hex(plain.slice(1).map(Number));
  // Asked of a canvas in the processor's memory: reading one back from a graphics card takes 0.2 s.
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { willReadFrequently: true }));
  pen.fillStyle = text;
  pen.fillRect(0, 0, 1, 1);
  return hex(pen.getImageData(0, 0, 1, 1).data.subarray(0, 3));
}

/**
 * How many of ascending numbers are below `end`.
 * @param {Uint32Array} numbers
 * @param {number} end
 */
function firstAbove(numbers, end) {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < end) low = middle + 1;
    else high = middle;
  }
  return low;
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
    this.lettering = new Lettering();
    /** @type {number | null} the legend entry that stands out */
    this.pick = null;
    this.hovered = -1;
    this.selectedCount = 0;
    this.names = true;
    this.filtering = false; // whether any item is filtered out
    this.cell = 0; // world units from an item to the next where they stand in cells, else 0
    this.pictured = false; // whether all has been drawn once: before that no hand waits
    this.unkept = false; // whether the last picture went straight to the canvas
    this.part = 1; // of the way to `places`, while a change of layout is animated
    this.stale = true; // the points are to be drawn anew
    this.raised = false; // only what stands out over them is
    this.dirty = true; // something that the graphics card draws is to be drawn anew
    this.worked = false; // whether the last frame was drawn by it
    this.drawn = 0; // of the chosen points
    /** @type {import('./points.js').Chosen} */
    this.chosen = { count: 0, total: 0, items: null };
    /** @type {{box: number[], places: import('./points.js').Places, items: Uint32Array | null} | null} */
    this.near = null;
    /** @type {GridIndex | null} */
    this.index = null;
    this.budget = 60000; // points a frame; grows where the device is quick
    this.moving = false;
    this.dark = false;
    this.untouched = true;
    /** @type {{kind: Tool, path: number[], radius: number} | null} */
    this.drawing = null;
    this.still = matchMedia('(prefers-reduced-motion: reduce)');
    this.root = element('div', { class: 'atlas-map', tabindex: '0', role: 'application' });
    this.canvas = this.blankCanvas();
    this.patience = PATIENCE;
    this.overlay = /** @type {HTMLCanvasElement} */ (element('canvas', { class: 'overlay' }));
    this.pen = /** @type {CanvasRenderingContext2D} */ (this.overlay.getContext('2d'));
    this.root.append(this.canvas, this.overlay);
  }

  // ---- graphics context ----------------------------------------------------------------------

  /** @returns {HTMLCanvasElement} */
  blankCanvas() {
    return /** @type {HTMLCanvasElement} */ (element('canvas', { class: 'points' }));
  }

  /** Whether there is no graphics context to draw with. */
  get blind() {
    return !this.gl;
  }

  /** Take a graphics context; throws a MapError where there is none to take. */
  start() {
    const gl = this.canvas.getContext('webgl2', { antialias: false, premultipliedAlpha: true });
    if (!gl) {
      throw new MapError(
        'This browser shows no WebGL2, which drawing the map needs. Turn on hardware acceleration, or use ' +
          'a current Firefox, Chrome, Edge or Safari. The legend still selects whole groups, and ' +
          'everything else on this page works without.',
      );
    }
    const { canvas } = this;
    const { signal } = this.abort;
    // A canvas that was replaced has nothing to say any more.
    canvas.addEventListener('webglcontextlost', (event) => canvas === this.canvas && this.lost(event), { signal });
    canvas.addEventListener('webglcontextrestored', () => canvas === this.canvas && this.restored(), { signal });
    this.layer = new PointLayer(gl);
    this.gl = gl;
  }

  /** @param {Event} event */
  lost(event) {
    event.preventDefault(); // without this the browser never gives the context back
    this.layer = undefined;
    this.land();
    clearTimeout(this.waitingForCard);
    this.waitingForCard = setTimeout(() => this.forsaken(), this.patience);
  }

  /** The browser did not give the context back; the map offers to take a new one. */
  forsaken() {}

  /** Draw on a new canvas, with a new context; throws a MapError where there is none. */
  renew() {
    const old = this.canvas;
    this.canvas = this.blankCanvas();
    old.replaceWith(this.canvas);
    this.gl = undefined;
    this.start();
    this.resized();
    this.restored();
  }

  restored() {
    clearTimeout(this.waitingForCard);
    this.layer = new PointLayer(/** @type {WebGL2RenderingContext} */ (this.gl));
  }

  /** Stop drawing and free the graphics context: browsers keep 16 at most. */
  close() {
    this.abort.abort();
    cancelAnimationFrame(this.frame ?? 0);
    cancelAnimationFrame(this.flight ?? 0);
    clearTimeout(this.rest);
    clearTimeout(this.waitingForCard);
    this.gl?.getExtension('WEBGL_lose_context')?.loseContext();
    this.root.remove();
  }

  // ---- camera --------------------------------------------------------------------------------

  /** Pixels at each side that the tools cover. @returns {import('./camera.js').Insets} */
  get insets() {
    return { left: 20, right: 20, top: 20, bottom: 20 };
  }

  /**
   * The items by place, made when first asked for.
   * @returns {GridIndex}
   */
  get located() {
    this.index ??= new GridIndex(this.places.x, this.places.y);
    return this.index;
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

  /** Follow the window to a screen with other pixels: no size changes that an observer would see. */
  watchPixels() {
    const { signal } = this.abort;
    const now = matchMedia(`(resolution: ${globalThis.devicePixelRatio}dppx)`);
    const changed = () => {
      this.resized();
      this.watchPixels();
    };
    now.addEventListener('change', changed, { signal, once: true });
  }

  /** The camera has moved: draw a coarse picture now and all of it at rest. */
  moved() {
    this.untouched = false;
    this.stir();
  }

  /** Something goes on: draw so much as the device can, and everything when it is over. */
  stir() {
    this.moving = true;
    clearTimeout(this.rest);
    this.rest = setTimeout(() => this.stand(), REST);
    this.draw();
  }

  /** Nothing moves any more: draw everything. */
  stand() {
    clearTimeout(this.rest);
    this.moving = false;
    this.draw();
  }

  /** End an animated move where it is. */
  land() {
    if (this.flight) cancelAnimationFrame(this.flight);
    this.flight = 0;
  }

  // ---- frames --------------------------------------------------------------------------------

  /** Draw everything anew in the next frame. */
  draw() {
    this.stale = true;
    this.touch();
  }

  /** Draw in the next frame what stands out, over the ground as it is. */
  raise() {
    this.raised = true;
    this.touch();
  }

  /** What stands out over the rest, ascending; null where nothing does. @returns {Uint32Array | null} */
  get outstanding() {
    return null;
  }

  /**
   * Draw in the next frame what lies over the points; they stay as they are.
   * @param {boolean} [writing] whether only names and outlines change: the graphics card has nothing to do
   */
  touch(writing = false) {
    this.dirty ||= !writing;
    this.frame ||= requestAnimationFrame((now) => {
      this.frame = 0;
      this.adapt(now);
      this.paint();
    });
  }

  /** Draw everything anew in this task. */
  drawNow() {
    this.stale = true;
    this.paint();
  }

  /** Draw more or fewer points a frame, by how long the last frames took. @param {number} now */
  adapt(now) {
    const took = now - (this.lastFrame ?? 0);
    this.lastFrame = now;
    if (!this.moving || !this.worked || took > 500) return; // it is told by the wait after a frame that drew
    if (took > SLOW) this.budget = Math.max(LEAST, this.budget / (took > 2 * SLOW ? 3 : 1.6));
    else if (took < FAST) this.budget = Math.min(4e6, this.budget * 1.1);
  }

  /**
   * What this frame draws: everything near the view, and while it moves only so much as the device
   * can, a prefix that ends with a level and is therefore an even sample.
   * @returns {import('./points.js').Chosen}
   */
  choose() {
    const items = this.nearby();
    const total = items ? items.length : this.n;
    if (!this.moving || total <= this.budget) return { count: total, total, items };
    const ends = this.levels.map((end) => (items ? firstAbove(items, end) : end));
    const count = ends.filter((end) => end <= this.budget).pop() || Math.min(total, this.budget | 0);
    return { count, total, items };
  }

  /** The items around the view where they are few enough to be worth a list, else null. */
  nearby() {
    if (this.n < CULL_FROM || this.camera.zoom < CULL_ZOOM || this.part < 1) return null;
    const view = this.viewBox();
    const wide = view[2] - view[0];
    const { near } = this;
    const fits =
      near?.places === this.places &&
      near.box[0] <= view[0] && near.box[1] <= view[1] && near.box[2] >= view[2] && near.box[3] >= view[3] &&
      near.box[2] - near.box[0] < 4 * wide;
    if (!fits) {
      const box = this.viewBox(Math.max(this.camera.width, this.camera.height) / 2);
      const items = this.located.around(box);
      this.near = { box, places: this.places, items: items.length < 0.6 * this.n ? items : null };
    }
    return this.near?.items ?? null;
  }

  /** How often the points in view would cover the part of it where points usually are. */
  get crowd() {
    const { chosen, camera } = this;
    const [x0, y0, x1, y1] = (chosen.items && this.near?.box) ?? [0, 0, this.extent[0], this.extent[1]];
    const many = chosen.total;
    const area = Math.max(1, (x1 - x0) * (y1 - y0)) * camera.scale ** 2; // pixels
    return (many * this.pointSize ** 2) / (area * OCCUPIED);
  }

  /** Pixels across a point: fewer items are drawn bigger, and all grow a little with the zoom. */
  get pointSize() {
    if (this.cell) return Math.max(1.5, 0.94 * this.cell * this.camera.scale);
    const base = Math.min(9.5, Math.max(1.7, 8 * (1800 / Math.max(1, this.n)) ** 0.27));
    return Math.min(Math.max(base, 11), base * Math.max(0.8, this.camera.zoom ** 0.38));
  }

  /** What the points look like now. @returns {import('./points.js').Look} */
  get picture() {
    const { ink, paper } = /** @type {NonNullable<Stage['look']>} */ (this.look);
    return {
      camera: this.camera,
      dpr: this.dpr ?? 1,
      size: this.pointSize,
      alpha: this.cell ? 1 : this.n < 20000 ? 0.96 : this.n < 200000 ? 0.8 : 0.6,
      crowd: this.crowd,
      filtering: this.filtering,
      ink,
      paper,
      dark: this.dark,
      square: this.cell > 0,
      part: this.part,
      coarse: this.moving,
    };
  }

  /** Draw in this task; many points at rest are added over several frames, so that a hand never waits. */
  paint() {
    const { layer } = this;
    if (!layer || !this.look) return;
    this.worked = this.dirty || this.stale || this.raised || this.drawn < this.chosen.count;
    if (this.worked) this.lay(layer);
    this.drawOverlay();
    this.drawAround();
    if (this.drawn < this.chosen.count) this.touch();
  }

  /** @param {PointLayer} layer draws points and what lies on them */
  lay(layer) {
    this.dirty = false;
    if (this.stale || !this.painted) {
      this.stale = false;
      this.raised = true;
      this.chosen = this.choose();
      this.painted = this.picture;
      this.drawn = 0;
    }
    const { count } = this.chosen;
    const over = this.outstanding;
    // A picture that is kept makes a hovering hand cheap, at the price of one more pass over the canvas.
    const direct = !over && !layer.shading(this.painted) && (this.moving || count < KEPT_FROM);
    if (direct) {
      layer.direct(this.painted, this.chosen);
      this.drawn = count;
    } else {
      this.heap(layer, this.painted, count);
      if (over && this.raised) layer.raise(this.painted, over, this.sampled(over));
      layer.show(this.painted, over !== null);
    }
    this.unkept = direct;
    this.raised = false;
    if (this.root.dataset.drawn !== String(this.drawn)) this.root.dataset.drawn = String(this.drawn);
    this.drawLayers();
  }

  /**
   * Add to the ground what this frame can.
   * @param {PointLayer} layer
   * @param {import('./points.js').Look} look
   * @param {number} count of all that belongs to it
   */
  heap(layer, look, count) {
    if (this.unkept) this.drawn = 0; // the last picture went to the canvas and was not kept
    if (this.drawn && this.drawn >= count) return;
    const part = this.pictured ? this.budget | 0 : FIRST;
    const step = this.moving || count < 2 * this.budget ? count : part;
    const to = Math.min(count, this.drawn + step);
    layer.add(look, this.chosen, this.drawn, to);
    this.drawn = to;
    this.pictured ||= to === count;
  }

  /** How many of ascending items are among those that this frame draws. @param {Uint32Array} items */
  sampled(items) {
    const { count, total, items: near } = this.chosen;
    return count === total ? items.length : firstAbove(items, near ? near[count] : count);
  }

  /** What lies over the points: thumbnails. */
  drawLayers() {}

  /** What stands around the points and follows the camera: the overview. */
  drawAround() {}

  /** How many pixels are kept free beside a name. @param {string} _name @returns {number} */
  beside(_name) {
    return 0;
  }

  /** What names keep clear of, in pixels. @returns {import('./names.js').Box[]} */
  get obstacles() {
    return [];
  }

  drawOverlay() {
    const { pen, look, dpr = 1 } = this;
    pen.setTransform(dpr, 0, 0, dpr, 0, 0);
    pen.clearRect(0, 0, this.camera.width, this.camera.height);
    if (!look) return;
    const { inkText: ink, paperText: paper, font } = look;
    const written = this.lettering.write(pen, this.names ? this.anchors : [], this.camera, { ink, paper, font }, {
      obstacles: this.obstacles, now: performance.now(), still: this.still.matches, besides: (name) => this.beside(name),
    });
    if (this.lettering.unfinished && !this.moving) this.touch(true); // a moving hand brings frames anyway
    if (this.root.dataset.names !== String(written)) this.root.dataset.names = String(written);
    if (this.hovered >= 0) this.ring(this.hovered, ink);
    if (this.drawing) this.outline(this.drawing, look.accent);
  }

  /** The box of the world that is on the screen, widened by pixels at each side. @param {number} [margin]
   * @returns {[number, number, number, number]} x0, y0, x1, y1 */
  viewBox(margin = 0) {
    const { camera } = this;
    const [x0, y1] = camera.toWorld(-margin, -margin);
    const [x1, y0] = camera.toWorld(camera.width + margin, camera.height + margin);
    return [x0, y0, x1, y1];
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
   * @param {{kind: Tool, path: number[], radius: number}} drawing
   * @param {string} accent
   */
  outline({ kind, path, radius }, accent) {
    const { pen } = this;
    pen.beginPath();
    if (kind === 'brush') {
      pen.moveTo(path[0], path[1]);
      for (let k = 0; k < path.length; k += 2) pen.lineTo(path[k], path[k + 1]);
      pen.lineCap = pen.lineJoin = 'round';
      pen.strokeStyle = accent;
      pen.globalAlpha = 0.18;
      pen.lineWidth = 2 * radius;
      pen.stroke();
      pen.globalAlpha = 1;
      return;
    }
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
   * Show a lasso, box or stroke in the making, or none.
   * @param {Tool | null} kind
   * @param {number[]} path pixels
   * @param {number} [radius] pixels of the brush
   */
  sketch(kind, path, radius = 0) {
    if (!kind && !this.drawing) return;
    this.drawing = kind && { kind, path, radius };
    this.touch(true);
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
