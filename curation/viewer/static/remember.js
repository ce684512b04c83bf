// @ts-check
// What outlives the page: sessionStorage, for each map of each dataset in one tab of the browser.

/** @typedef {import('./selector.js').Memory} Memory */
/** @typedef {{version: string, n: number, bits: string}} Kept a selection as deflated bits in base64 */

const PREFIX = 'curation-atlas ';
const SETTLING = 300; // ms between two writes
/** Begins the keys of maps whose host remembers the selection itself, as the kernel of a notebook does. */
export const HELD_BY_HOST = 'held by its host ';

const isText = (/** @type {unknown} */ it) => typeof it === 'string';
const isSwitch = (/** @type {unknown} */ it) => typeof it === 'boolean';
const isCount = (/** @type {unknown} */ it) => Number.isSafeInteger(it) && Number(it) >= 0;
const isRecord = (/** @type {unknown} */ it) => typeof it === 'object' && it !== null && !Array.isArray(it);
const isView = (/** @type {any} */ it) =>
  it === null || (isRecord(it) && ['x', 'y', 'scale'].every((name) => Number.isFinite(it[name])) && it.scale > 0);

/** What is kept, and what it must look like to be taken back. @type {Record<string, (it: any) => boolean>} */
const SHAPES = {
  version: isText,
  view: isView,
  seq: isCount,
  session: isText,
  tool: (it) => ['pan', 'lasso', 'box', 'brush'].includes(it),
  radius: (it) => Number.isFinite(it) && it >= 1 && it <= 500,
  names: isSwitch,
  color: isText,
  asked: isText,
  legend: (it) => it === null || isSwitch(it),
  sort: (it) => it === 'count' || it === 'name',
  minimap: isSwitch,
  thumbnails: isSwitch,
  filters: isRecord,
  arrangement: isRecord,
};

/** The tab's storage, or null: a sandboxed frame may not even look at it. */
function storage() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}

/**
 * Write, or say that there is no room.
 * @param {Storage} box
 * @param {string} name
 * @param {string} text
 */
function put(box, name, text) {
  try {
    box.setItem(name, text);
    return true;
  } catch (error) {
    if (error instanceof DOMException) return false; // QuotaExceededError
    throw error;
  }
}

/**
 * @param {string} name
 * @returns {Record<string, unknown>} empty where nothing sound is kept
 */
function read(name) {
  try {
    const found = JSON.parse(storage()?.getItem(name) ?? 'null');
    return isRecord(found) ? found : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

/**
 * What a page before this one left; every part that looks wrong is left out.
 * @param {string} key
 * @returns {Partial<Memory>}
 */
export function recollect(key) {
  const found = read(PREFIX + key);
  /** @type {Record<string, unknown>} */
  const sound = {};
  for (const [name, fits] of Object.entries(SHAPES)) if (name in found && fits(found[name])) sound[name] = found[name];
  const { version, n, bits } = read(`${PREFIX}${key} selected`);
  if (isText(version) && isCount(n) && isText(bits)) sound.kept = { version, n, bits };
  return sound;
}

/** Keeps one map's memory in the storage, without writing more often than it helps. */
export class Keeper {
  /**
   * @param {string} key
   * @param {() => Memory} gather
   */
  constructor(key, gather) {
    this.name = PREFIX + key;
    this.selected = `${this.name} selected`;
    this.keepsSelection = !key.startsWith(HELD_BY_HOST);
    this.gather = gather;
    this.written = '';
    /** @type {number | undefined} */
    this.timer = undefined;
    /** @type {Kept | null | undefined} */
    this.selection = undefined;
  }

  /** Write within a moment. */
  soon() {
    this.timer ??= setTimeout(() => this.write(), SETTLING);
  }

  /**
   * Write; where there is no room, what other maps left goes first, then this one's selection.
   * @param {Storage} box
   * @param {string} name
   * @param {string} text
   */
  store(box, name, text) {
    if (put(box, name, text)) return true;
    for (const other of Object.keys(box)) {
      if (other.startsWith(PREFIX) && other !== this.name && other !== this.selected) box.removeItem(other);
    }
    if (put(box, name, text)) return true;
    box.removeItem(this.selected);
    this.selection = undefined;
    return name !== this.selected && put(box, name, text);
  }

  /** Write now what has changed. */
  write() {
    clearTimeout(this.timer);
    this.timer = undefined;
    const box = storage();
    if (!box) return;
    const memory = this.gather();
    const text = JSON.stringify(Object.fromEntries(Object.keys(SHAPES).map((name) => [name, memory[/** @type {keyof Memory} */ (name)]])));
    if (text !== this.written && this.store(box, this.name, text)) this.written = text;
    const { kept } = memory;
    if (kept === this.selection || !this.keepsSelection) return;
    if (!kept) box.removeItem(this.selected);
    if (!kept || this.store(box, this.selected, JSON.stringify(kept))) this.selection = kept;
  }
}
