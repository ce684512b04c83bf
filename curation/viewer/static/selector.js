// @ts-check
// Selecting: tools, modes, hits, and the message that tells the host.
import { BRUSH, Stroke } from './brush.js';
import { MapError, asText, decodeMask, squeezeMask, widenMask } from './data.js';
import { boxAround, combine, countOf, insideBox, insidePolygon } from './lasso.js';
import { Keeper, recollect } from './remember.js';
import { scriptRuns } from './script.js';
import { Travel } from './travel.js';

/** @typedef {import('./lasso.js').Mode} Mode */
/** @typedef {import('./stage.js').Tool} Tool */
/** @typedef {import('./data.js').Column} Column */
/** @typedef {{version: string, n: number, count: number, bits: string, seq: number}} SelectionMessage */
/** @typedef {{squeezed: Promise<Uint8Array>}} Past a selection as it was */
/**
 * @typedef {{version: string, view: import('./camera.js').View | null, selected: Uint8Array,
 *   seq: number, commandSeq: number, tool: Tool, names: boolean, color: string, asked: string,
 *   legend: boolean | null, sort?: 'count' | 'name', session?: string, thumbnails: boolean,
 *   filters: Record<string, unknown>, arrangement: Record<string, unknown>,
 *   radius: number, minimap: boolean, kept: import('./remember.js').Kept | null,
 *   past: Past[], at: number, sent: number, sentAgain: number}} Memory
 */

const DOUBLE = 260; // ms in which a click may still become a double click
const DOUBT = 600; // ms in which the script may still hear the last message
const DEEP = 20; // selections that one can go back
const GROW_BY = 5; // nearest items that each selected one brings
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
    thumbnails: true,
    filters: {},
    arrangement: {},
    radius: 24,
    minimap: true,
    kept: null,
    past: [],
    at: -1,
    sent: 0,
    sentAgain: 0,
    ...recollect(key),
  };
  MEMORIES.set(key, fresh);
  return fresh;
}

/**
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
function alike(a, b) {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A stage on which items can be selected. */
export class Selector extends Travel {
  /** @param {string} key */
  constructor(key) {
    super();
    this.memory = memoryOf(key);
    this.keeper = new Keeper(key, () => this.gathered());
    addEventListener('pagehide', () => this.keeper.write(), { signal: this.abort.signal });
    this.version = '';
    /** @type {Mode} */
    this.mode = 'set';
    /** @type {Mode | null} what the keys that are held down mean */
    this.heldMode = null;
    /** @type {Stroke | null} of the brush, while it is down */
    this.stroke = null;
    /** @type {Uint8Array | null} what will be selected when the brush is lifted */
    this.preview = null;
    this.growing = false;
    this.previewing = 0; // the frame in which the stroke is shown
    /** @type {Map<string, Column>} */
    this.columns = new Map();
    /** @type {Column | null} what the colours show */
    this.column = null;
    /** @type {Uint8Array | null} 1 = filtered out: greyed, and out of reach of every tool */
    this.hidden = null;
    this.untold = false;
    /** @type {number | undefined} */
    this.doubting = undefined;
    /** @type {(message: SelectionMessage) => void} */
    this.onSelection = () => {};
  }

  /** Show the selection; the map does. */
  pushState() {}

  /** Show tools and modes; the map does. */
  showTools() {}

  /** Say something for a moment; the map does. @param {string} text */
  say(text) {}

  /** Bring the memory up to date; the map does. */
  remember() {}

  /** Before one asks what is where: put every item in its place; the map does. */
  placed() {}

  /** @type {import('./transport.js').Ask} */
  ask(path) {
    throw new MapError(`Nobody answers ${path} here.`);
  }

  /** The memory, with all that belongs into it. */
  gathered() {
    if (!this.abort.signal.aborted) this.remember(); // a map that is gone looks nowhere
    return this.memory;
  }

  /**
   * @param {[number, number]} at pixels
   * @param {number} [reach] pixels
   */
  itemAt([px, py], reach = REACH) {
    if (!this.n) return -1;
    this.placed();
    const [x, y] = this.camera.toWorld(px, py);
    return this.located.nearest(x, y, Math.max(reach, this.pointSize) / this.camera.scale, this.hidden);
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

  /** @param {Mode | null} mode of the keys that are held down */
  holdMode(mode) {
    if (mode === this.heldMode) return;
    this.heldMode = mode;
    this.showTools();
  }

  /** @param {number} factor */
  resizeBrush(factor) {
    const { memory } = this;
    memory.radius = Math.max(BRUSH.least, Math.min(BRUSH.most, memory.radius * factor));
    this.showTools();
    this.keeper.soon();
  }

  /**
   * Begin to paint, or paint on; what the stroke takes shows at once.
   * @param {[number, number]} at pixels
   * @param {Mode} mode
   */
  brushTo(at, mode) {
    if (!this.n) return;
    this.placed();
    this.stroke ??= new Stroke(this.located, this.memory.radius / this.camera.scale, mode);
    this.stroke.to(...this.camera.toWorld(...at));
    this.previewing ||= requestAnimationFrame(() => {
      this.previewing = 0;
      this.showStroke();
    });
  }

  showStroke() {
    const { stroke, hidden } = this;
    if (!stroke) return;
    const hit = hidden ? stroke.mask.map((bit, i) => bit & (hidden[i] ^ 1)) : stroke.mask;
    this.preview = this.memory.selected.slice();
    combine(this.preview, hit, stroke.mode);
    this.selectedCount = countOf(this.preview);
    this.pushState();
    this.raise();
  }

  /** Lift the brush: select what it took, or nothing. @param {boolean} keep */
  liftBrush(keep) {
    const { stroke } = this;
    if (!stroke) return;
    cancelAnimationFrame(this.previewing);
    this.previewing = 0;
    this.stroke = this.preview = null;
    if (keep) {
      this.shape = stroke.path;
      this.reach = stroke.radius;
      this.select(stroke.mask, stroke.mode);
    } else this.showSelected();
  }

  /**
   * Select what lies in a shape drawn on the screen.
   * @param {import('./stage.js').Shape} kind
   * @param {number[]} path pixels x0, y0, x1, y1, ...
   * @param {Mode} mode
   */
  selectShape(kind, path, mode) {
    /** @type {number[]} */
    const world = [];
    for (let k = 0; k < path.length; k += 2) world.push(...this.camera.toWorld(path[k], path[k + 1]));
    this.shape = world;
    this.placed();
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
    const { hidden } = this;
    if (hidden) for (let i = 0; i < hit.length; i++) hit[i] &= hidden[i] ^ 1;
    const before = this.memory.selected.slice();
    combine(this.memory.selected, hit, mode);
    this.reselected(before);
    this.tell(wait);
  }

  /** Show another selection and keep the one before. @param {Uint8Array} [before] */
  reselected(before) {
    this.showSelected();
    const { selected } = this.memory;
    if (before && alike(before, selected)) return;
    // The clicks of a double click count as one with what it selects.
    this.keep(this.untold && this.memory.at > 0);
  }

  showSelected() {
    this.selectedCount = countOf(this.memory.selected);
    this.pushState();
    this.raise();
  }

  /** Remember the selection: for the way back, and beyond this page. @param {boolean} [instead] of the newest */
  keep(instead = false) {
    const { memory, version, n } = this;
    /** @type {Past} */
    const one = { squeezed: squeezeMask(memory.selected) };
    memory.past.splice(memory.at + (instead ? 0 : 1), Infinity, one);
    if (memory.past.length > DEEP + 1) memory.past.shift();
    memory.at = memory.past.length - 1;
    this.keepPast(one, version, n);
  }

  /** The selection as it travels. */
  get squeezed() {
    const { past, at, selected } = this.memory;
    return past[at]?.squeezed ?? squeezeMask(selected);
  }

  /**
   * @param {Past} one
   * @param {string} version
   * @param {number} n
   */
  async keepPast(one, version, n) {
    const bytes = await one.squeezed;
    const { memory } = this;
    if (memory.past[memory.at] !== one) return; // a newer one is kept
    memory.kept = { version, n, bits: asText(bytes) };
    this.keeper.soon();
  }

  /** Whether there is a selection before this one, or after. @param {number} by -1 or 1 */
  canStep(by) {
    return this.memory.at + by in this.memory.past;
  }

  /** Go back to the selection before, or forth again. @param {number} by -1 or 1 */
  async step(by) {
    const { memory } = this;
    if (!this.canStep(by)) {
      this.say(by < 0 ? 'There is no selection before this one.' : 'This is the newest selection.');
      return;
    }
    clearTimeout(this.waiting);
    this.untold = false;
    memory.at += by;
    const one = memory.past[memory.at];
    const mask = await widenMask(await one.squeezed, this.n);
    if (memory.past[memory.at] !== one) return; // another step or selection has followed
    memory.selected = mask;
    this.showSelected();
    this.tell(0);
    this.keepPast(one, this.version, this.n);
  }

  /** Take what the selected items are nearest to as well. */
  async grow() {
    if (this.growing) return;
    if (!this.selectedCount) {
      this.say('Select something first: it grows by what is nearest to it.');
      return;
    }
    this.growing = true;
    this.showTools();
    const { memory, version, n } = this;
    const one = memory.past[memory.at];
    try {
      const body = await this.squeezed;
      const answer = await this.ask(`grow/${version}?k=${GROW_BY}`, { body });
      const hit = await widenMask(new Uint8Array(answer), n);
      if (memory.past[memory.at] === one) this.growTo(hit);
    } catch (error) {
      if (!(error instanceof MapError || error instanceof TypeError)) throw error;
      if (!this.abort.signal.aborted) {
        this.say(error instanceof MapError ? error.message : 'The server did not answer. Try again.');
      }
    } finally {
      this.growing = false;
      this.showTools();
    }
  }

  /** @param {Uint8Array} hit */
  growTo(hit) {
    const before = this.selectedCount;
    this.select(hit, 'add');
    const more = this.selectedCount - before;
    this.say(more ? `${more.toLocaleString('en-US')} more selected.` : `Nothing new among the ${GROW_BY} nearest of each.`);
  }

  /**
   * What an earlier page selected in an atlas; nothing that is shown changes.
   * @param {string} version
   * @param {number} n
   * @returns {Promise<Uint8Array | null>}
   */
  async recalled(version, n) {
    const { kept } = this.memory;
    const wanted = kept?.version === version && kept.n === n ? kept.bits : '';
    // Bits that somebody else wrote into the storage are no selection.
    return wanted ? decodeMask(wanted, n).catch(() => null) : null;
  }

  /**
   * Take camera and selection from the memory where they belong to the atlas that comes.
   * @param {string} version
   * @param {number} n
   * @param {Uint8Array | null} found of an earlier page
   */
  recall(version, n, found) {
    const { memory } = this;
    if (memory.version === version && memory.selected.length === n) return; // on the same page still
    if (memory.version !== version) {
      memory.view = null;
      delete memory.filters.cluster; // its numbers mean other clusters now
    }
    Object.assign(memory, { selected: found ?? new Uint8Array(n), version, past: [], at: -1, sent: 0 });
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

  /** Select what is not selected, of what passes the filter. */
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
    this.placed();
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
    const bits = asText(await this.squeezed);
    if (seq !== memory.seq) return; // a newer selection is on its way
    memory.sent = seq;
    this.onSelection({ version, n, count, bits, seq });
    this.root.dataset.seq = String(seq);
  }

  /**
   * The host says which message it heard last. One that was lost on the way is told again, once.
   * @param {number} [seq] none from a host that loses nothing
   */
  heard(seq) {
    clearTimeout(this.doubting);
    const { memory } = this;
    const lost = () => seq !== undefined && seq < memory.sent && memory.sent === memory.seq && memory.sentAgain !== memory.sent;
    if (!lost()) return;
    this.doubting = setTimeout(async () => {
      if (this.abort.signal.aborted || !lost()) return;
      if (scriptRuns()) return this.heard(seq); // it may be hearing it now
      const { version, n, selectedCount: count } = this;
      const { sent } = memory;
      memory.sentAgain = sent;
      const bits = asText(await this.squeezed);
      if (sent === memory.seq) this.onSelection({ version, n, count, bits, seq: sent });
    }, DOUBT);
  }
}
