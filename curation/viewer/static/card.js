// @ts-check
// The card beside an item: its picture, what the map knows of it, and then what the server does.
import { element } from './chrome.js';
import { WIRE_FORMAT, MapError } from './data.js';
import { valueText } from './filter.js';
import { onPaper } from './points.js';

/** @typedef {{item_id: string, title: string, lines: {name: string, value: string}[]}} Details */

const RESTS = 120; // ms that the pointer rests on an item before the server is asked about it
const GLANCE = 25; // ms before its picture is fetched: a pointer in passing fetches nothing
const DETAILS = 200; // items
const PICTURES = 100; // items
const AWAY = 18; // pixels between the item and the card

/**
 * What was used last, up to a number of things.
 * @template T
 */
class Recent {
  /**
   * @param {number} most
   * @param {(value: T) => void} [drop] called with what leaves
   */
  constructor(most, drop = () => {}) {
    this.most = most;
    this.drop = drop;
    /** @type {Map<string, T>} */
    this.kept = new Map();
  }

  /** @param {string} key @returns {T | undefined} */
  get(key) {
    const found = this.kept.get(key);
    if (found === undefined) return undefined;
    this.kept.delete(key);
    this.kept.set(key, found);
    return found;
  }

  /**
   * @param {string} key
   * @param {T} value
   */
  set(key, value) {
    this.kept.set(key, value);
    for (const [oldest, gone] of this.kept) {
      if (this.kept.size <= this.most) break;
      this.kept.delete(oldest);
      this.drop(gone);
    }
  }

  clear() {
    for (const value of this.kept.values()) this.drop(value);
    this.kept.clear();
  }
}

/** The hover card of one map. */
export class Card {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    this.item = -1;
    /** @type {Recent<Details>} */
    this.details = new Recent(DETAILS);
    /** @type {Recent<string>} addresses of pictures in memory */
    this.pictures = new Recent(PICTURES, (url) => URL.revokeObjectURL(url));
    this.asking = new AbortController();
    this.picture = /** @type {HTMLImageElement} */ (element('img', { alt: '', draggable: 'false' }));
    this.title = element('div', { class: 'title' });
    this.facts = element('div', { class: 'facts' });
    this.more = element('dl', { class: 'more' });
    this.root = element('div', { class: 'card', hidden: '', role: 'status' }, this.picture, this.title, this.facts, this.more);
    this.picture.addEventListener('load', () => this.picture.classList.remove('waiting'));
  }

  /** Forget pictures and details; the atlas or its decisions are others. */
  clear() {
    this.hide();
    this.details.clear();
    this.pictures.clear();
  }

  hide() {
    this.asking.abort();
    clearTimeout(this.glance);
    clearTimeout(this.rest);
    this.item = -1;
    this.root.hidden = true;
    delete this.root.dataset.item;
    delete this.root.dataset.told;
  }

  /** Show the card of an item, or none. @param {number} item wire index, -1 = none */
  show(item) {
    if (item < 0) {
      this.hide();
      return;
    }
    this.asking.abort();
    this.asking = new AbortController();
    this.item = item;
    const { map } = this;
    const key = `${map.version}/${item}`;
    const head = `${map.root.dataset.head ?? ''} ${key}`; // what is said of an item changes with decisions
    const { signal } = this.asking;
    this.root.hidden = false;
    Object.assign(this.root.dataset, { item: String(item), told: 'false' });
    this.facts.replaceChildren(...this.known(item));
    this.tell(this.details.get(head));
    this.draw(this.pictures.get(key));
    this.place();
    clearTimeout(this.glance);
    clearTimeout(this.rest);
    if (!this.pictures.kept.has(key)) this.glance = setTimeout(() => this.fetchPicture(key, signal), GLANCE);
    if (!this.details.kept.has(head)) this.rest = setTimeout(() => this.fetchDetails(key, head, signal), RESTS);
  }

  /**
   * What the columns that are here say of an item.
   * @param {number} item
   */
  known(item) {
    const { map } = this;
    const lines = [];
    for (const column of map.columns.values()) {
      for (const { text, color } of worded(column, item)) {
        const swatch = element('i', { class: 'swatch', style: `--c:${onPaper(color, map.dark)}` });
        const words = column.field === 'cluster' || column.field === 'category' ? text : `${map.titleOf(column.field)}: ${text}`;
        lines.push(element('div', {}, swatch, element('span', {}, words)));
      }
    }
    return lines;
  }

  /** @param {Details | undefined} details */
  tell(details) {
    this.title.hidden = !details?.title;
    this.title.textContent = details?.title ?? '';
    const said = new Set([...this.map.columns.keys()].flatMap((field) => [field, this.map.titleOf(field)]));
    const lines = (details?.lines ?? []).filter(({ name, value }) => !said.has(name) && value !== details?.title);
    this.more.hidden = !lines.length;
    this.more.replaceChildren(
      ...lines.flatMap(({ name, value }) => [element('dt', {}, name), element('dd', {}, value)]),
    );
    this.root.dataset.told = String(Boolean(details));
  }

  /** @param {string | undefined} url */
  draw(url) {
    this.picture.classList.remove('absent');
    this.picture.classList.toggle('waiting', !url || this.picture.getAttribute('src') !== url);
    if (url) this.picture.src = url;
  }

  /**
   * @param {string} key
   * @param {AbortSignal} signal
   */
  async fetchPicture(key, signal) {
    try {
      const bytes = await this.map.ask(`thumb_at/${key}?format=${WIRE_FORMAT}`, { signal });
      if (signal.aborted) return;
      const url = URL.createObjectURL(new Blob([bytes], { type: 'image/jpeg' }));
      this.pictures.set(key, url);
      this.draw(url);
    } catch (error) {
      if (signal.aborted) return;
      this.picture.classList.add('absent'); // there is no picture: the card shows the rest
      if (!(error instanceof MapError)) console.warn(error);
    }
    this.place();
  }

  /**
   * @param {string} key
   * @param {string} head
   * @param {AbortSignal} signal
   */
  async fetchDetails(key, head, signal) {
    try {
      const text = new TextDecoder().decode(await this.map.ask(`item/${key}`, { signal }));
      if (signal.aborted) return;
      this.details.set(head, JSON.parse(text));
      this.tell(this.details.get(head));
    } catch (error) {
      if (signal.aborted) return;
      this.more.hidden = false;
      this.more.replaceChildren(element('dd', { class: 'whole' }, 'The server did not say more.'));
      if (!(error instanceof MapError)) console.warn(error);
    }
    this.place();
  }

  /** Stand beside the item, inside the map, and never under the pointer. */
  place() {
    const { map, root, item } = this;
    if (item < 0) return;
    const { width, height } = map.camera;
    const [x, y] = map.camera.toScreen(map.places.x[item], map.places.y[item]);
    if (x < 0 || y < 0 || x > width || y > height) {
      this.hide();
      return;
    }
    const [px, py] = map.pointer ?? [x, y];
    const [w, h] = [root.offsetWidth, root.offsetHeight];
    const half = Math.max(map.pointSize, map.thumbnails.sizeOf(item)) / 2;
    // The box that stays free: the item and the pointer.
    const free = { left: Math.min(x - half, px), right: Math.max(x + half, px), top: Math.min(y - half, py), bottom: Math.max(y + half, py) };
    const within = (/** @type {number} */ at, /** @type {number} */ size, /** @type {number} */ all) =>
      Math.max(8, Math.min(all - size - 8, at));
    const [level, middle] = [within(y - h / 2, h, height), within(x - w / 2, w, width)];
    const right = width - (map.legend.covers ? map.legend.covers + 12 : 0);
    const spots = [
      { left: free.right + AWAY, top: level, fits: free.right + AWAY + w + 8 <= right },
      { left: free.left - AWAY - w, top: level, fits: free.left - AWAY - w >= 8 },
      { left: free.right + AWAY, top: level, fits: free.right + AWAY + w + 8 <= width },
      { left: middle, top: free.bottom + AWAY, fits: free.bottom + AWAY + h + 8 <= height },
      { left: middle, top: free.top - AWAY - h, fits: free.top - AWAY - h >= 8 },
    ];
    const spot = spots.find(({ fits }) => fits) ?? spots[x < width / 2 ? 0 : 1];
    root.style.transform = `translate(${Math.round(spot.left)}px, ${Math.round(spot.top)}px)`;
  }
}

/**
 * What a column says of an item, each with its colour; nothing where it has no value.
 * @param {import('./data.js').Column} column
 * @param {number} item
 * @returns {{text: string, color: string}[]}
 */
function worded(column, item) {
  const { field, coding, codes, legend, none, values } = column;
  const code = column.code(item);
  if (values) {
    if (code < 0) return [];
    return [{ text: valueText(column, values[item]), color: column.colors()[code + 1] }];
  }
  if (coding === 'bits') {
    return legend.filter((_, bit) => (codes[item] >> bit) & 1).map(({ name, color }) => ({ text: name, color }));
  }
  if (field === 'cluster') {
    return [code < 0 ? { text: none.name, color: none.color } : { text: `Cluster ${legend[code].name}`, color: legend[code].color }];
  }
  return code < 0 ? [] : [{ text: legend[code].name, color: legend[code].color }];
}
