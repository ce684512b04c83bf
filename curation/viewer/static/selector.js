// @ts-check
// Selecting: tools, modes, hits, and the message that tells the host.
import { encodeMask } from './data.js';
import { GridIndex, boxAround, combine, countOf, insideBox, insidePolygon } from './lasso.js';
import { Stage } from './stage.js';

/** @typedef {import('./lasso.js').Mode} Mode */
/** @typedef {import('./stage.js').Tool} Tool */
/** @typedef {import('./data.js').Column} Column */
/** @typedef {{version: string, n: number, count: number, bits: string, seq: number}} SelectionMessage */
/**
 * @typedef {{version: string, view: import('./camera.js').View | null, selected: Uint8Array,
 *   seq: number, commandSeq: number, tool: Tool, names: boolean, color: string, asked: string,
 *   legend: boolean | null, session?: string}} Memory
 */

const DOUBLE = 260; // ms in which a click may still become a double click
const REACH = 14; // pixels around the pointer in which an item is found

/** What must outlive an unmounted map, by key: Streamlit remounts on page and layout changes. */
/** @type {Map<string, Memory>} */
const MEMORIES = new Map();

/**
 * @param {string} key
 * @returns {Memory}
 */
function memoryOf(key) {
  const found = MEMORIES.get(key);
  if (found) return found;
  /** @type {Memory} */
  const fresh = {
    version: '',
    view: null,
    selected: new Uint8Array(0),
    seq: 0,
    commandSeq: 0,
    tool: 'pan',
    names: true,
    color: 'cluster',
    asked: '',
    legend: null,
  };
  MEMORIES.set(key, fresh);
  return fresh;
}

/** A stage on which items can be selected. */
export class Selector extends Stage {
  /** @param {string} key */
  constructor(key) {
    super();
    this.memory = memoryOf(key);
    this.version = '';
    /** @type {Mode} */
    this.mode = 'set';
    /** @type {Map<string, Column>} */
    this.columns = new Map();
    /** @type {Column | null} what the colours show */
    this.column = null;
    /** @type {GridIndex | null} */
    this.index = null;
    this.untold = false;
    /** @type {(message: SelectionMessage) => void} */
    this.onSelection = () => {};
  }

  /** Show the selection; the map does. */
  pushState() {}

  /** Show tools and modes; the map does. */
  showTools() {}

  /**
   * @param {[number, number]} at pixels
   * @param {number} [reach] pixels
   */
  itemAt([px, py], reach = REACH) {
    if (!this.n) return -1;
    this.index ??= new GridIndex(this.places.x, this.places.y);
    const [x, y] = this.camera.toWorld(px, py);
    return this.index.nearest(x, y, Math.max(reach, this.pointSize) / this.camera.scale);
  }

  get tool() {
    return this.memory.tool;
  }

  /** @param {Tool} tool */
  setTool(tool) {
    this.memory.tool = tool;
    this.root.dataset.tool = tool;
    this.showTools();
  }

  /** @param {Mode} mode */
  setMode(mode) {
    this.mode = mode;
    this.showTools();
  }

  /**
   * Select what lies in a shape drawn on the screen.
   * @param {'lasso' | 'box'} kind
   * @param {number[]} path pixels x0, y0, x1, y1, ...
   * @param {Mode} mode
   */
  selectShape(kind, path, mode) {
    /** @type {number[]} */
    const world = [];
    for (let k = 0; k < path.length; k += 2) world.push(...this.camera.toWorld(path[k], path[k + 1]));
    this.shape = world;
    const { x, y } = this.places;
    const corners = /** @type {[number, number, number, number]} */ (/** @type {unknown} */ (world));
    this.select(kind === 'box' ? insideBox(x, y, corners) : insidePolygon(x, y, world), mode);
  }

  /**
   * @param {Uint8Array} hit
   * @param {Mode} mode
   * @param {number} [wait] ms before the host is told
   */
  select(hit, mode, wait = 0) {
    combine(this.memory.selected, hit, mode);
    this.reselected();
    this.tell(wait);
  }

  reselected() {
    this.selectedCount = countOf(this.memory.selected);
    this.pushState();
    this.draw();
  }

  /**
   * @param {number} code of the current colouring, -1 = none
   * @param {Mode} mode
   * @param {Column | null} [column]
   */
  selectCode(code, mode, column = this.column) {
    if (!column) return;
    const hit = new Uint8Array(this.n);
    for (let i = 0; i < this.n; i++) hit[i] = +(column.code(i) === code);
    this.select(hit, mode);
  }

  clear() {
    this.select(new Uint8Array(this.n), 'set');
  }

  invert() {
    this.select(this.memory.selected.map((bit) => bit ^ 1), 'set');
  }

  /**
   * @param {[number, number]} at
   * @param {Mode} mode
   * @param {number} [reach] pixels
   */
  clickAt(at, mode, reach) {
    const item = this.itemAt(at, reach);
    if (item < 0) return;
    const hit = new Uint8Array(this.n);
    hit[item] = 1;
    this.select(hit, mode, DOUBLE);
  }

  /**
   * A double click takes the item's whole cluster; beside all items it zooms in.
   * @param {[number, number]} at
   * @param {Mode} mode
   */
  doubleAt(at, mode) {
    const item = this.itemAt(at);
    const clusters = this.columns.get('cluster');
    if (item < 0 || !clusters) this.zoomAt(...at, 2, true);
    else this.selectCode(clusters.code(item), mode, clusters);
  }

  /** Select the item nearest to the middle of the view, for hands on the keyboard. @param {Mode} mode */
  pickMiddle(mode) {
    const { width, height } = this.camera;
    this.clickAt([width / 2, height / 2], mode, Math.max(width, height) / 2);
    this.flush();
  }

  fitSelection() {
    const box = boxAround(this.places.x, this.places.y, this.memory.selected);
    if (box) this.flyTo(this.camera.viewOf(box, this.insets));
  }

  /** Tell the host, at once or when no double click has followed. @param {number} wait */
  tell(wait) {
    clearTimeout(this.waiting);
    this.untold = true;
    if (wait) this.waiting = setTimeout(() => this.flush(), wait);
    else this.flush();
  }

  /** Tell the host now what it has not been told. */
  async flush() {
    clearTimeout(this.waiting);
    if (!this.untold) return;
    this.untold = false;
    const { memory, version, n, selectedCount: count } = this;
    const seq = ++memory.seq;
    const bits = await encodeMask(memory.selected);
    if (seq !== memory.seq) return; // a newer selection is on its way
    this.onSelection({ version, n, count, bits, seq });
    this.root.dataset.seq = String(seq);
  }
}
