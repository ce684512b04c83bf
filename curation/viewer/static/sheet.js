// @ts-check
// The contact sheet: everything is kept, one taps the strays.

/**
 * @typedef {{key: string, version: string, ids: string[], thumb_url: string, labels?: (string | null)[],
 *   flags?: (string | null)[], clusters?: number[], dropped?: number[], told?: number, total?: number,
 *   height?: number}} SheetData
 */
/** @typedef {{version: string, dropped: number[], seq: number}} StraysMessage */
/** @typedef {{version: string, dropped: Set<number>, seq: number, mine: number, size: number, at: number}} SheetMemory */

const PAGE = 240; // tiles added at a time; thousands at once would freeze the page
const AHEAD = '900px'; // how far below the visible part tiles are made ready
const SIZES = { least: 48, most: 192, first: 88, step: 8 };

/** What must outlive an unmounted sheet, by key. @type {Map<string, SheetMemory>} */
const SHEETS = new Map();

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {(Node | string)[]} children
 * @returns {HTMLElement}
 */
export function made(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** One sheet of thumbnails in one host element. */
export class ContactSheet {
  /**
   * @param {Node} host
   * @param {{key?: string, onStrays?: (message: StraysMessage) => void}} [options]
   */
  constructor(host, { key = 'sheet', onStrays = () => {} } = {}) {
    this.onStrays = onStrays;
    const fresh = { version: '', dropped: new Set(), seq: 0, mine: 0, size: SIZES.first, at: 0 };
    this.memory = SHEETS.get(key) ?? fresh;
    SHEETS.set(key, this.memory);
    /** @type {SheetData} */
    this.data = { key, version: '', ids: [], thumb_url: '' };
    this.again = 0; // the message that was told a second time
    /** Where a range begins: the item that was turned last. @type {number | undefined} */
    this.anchor = undefined;
    this.abort = new AbortController();
    this.count = made('output', { 'aria-live': 'polite' });
    const { least, most, step } = SIZES;
    const span = { min: String(least), max: String(most), step: String(step) };
    this.size = /** @type {HTMLInputElement} */ (
      made('input', { type: 'range', ...span, 'aria-label': 'Size of the thumbnails' })
    );
    this.size.value = String(this.memory.size);
    this.reset = /** @type {HTMLButtonElement} */ (made('button', { type: 'button' }, 'Keep all'));
    this.flip = /** @type {HTMLButtonElement} */ (made('button', { type: 'button' }, 'Swap'));
    this.grid = made('div', { class: 'grid', role: 'group', 'aria-label': 'Selected items' });
    this.more = made('div', { class: 'more' });
    this.scroll = made('div', { class: 'scroll' }, this.grid, this.more);
    const head = made('div', { class: 'head' }, this.count, this.flip, this.reset, this.size);
    this.root = made('div', { class: 'contact-sheet' }, head, this.scroll);
    this.listen();
    host.appendChild(this.root);
  }

  listen() {
    const { signal } = this.abort;
    const on = (/** @type {HTMLElement} */ node, /** @type {string} */ name, /** @type {(event: any) => void} */ does) =>
      node.addEventListener(name, does, { signal });
    on(this.size, 'input', () => this.resize(Number(this.size.value)));
    on(this.reset, 'click', () => this.change(this.all(), false));
    on(this.flip, 'click', () => this.swap());
    on(this.grid, 'click', (event) => this.clicked(event));
    on(this.grid, 'keydown', (event) => this.key(event));
    on(this.grid, 'focusin', (event) => this.focused(this.tileOf(event)));
    this.grid.addEventListener('error', (event) => this.broken(event), { capture: true, signal });
    this.eye = new IntersectionObserver(
      (seen) => seen.some((one) => one.isIntersecting) && this.append(),
      { root: this.scroll, rootMargin: AHEAD },
    );
    this.eye.observe(this.more);
  }

  /** Colours come from the style sheet alone. */
  restyle() {}

  destroy() {
    this.abort.abort();
    this.eye?.disconnect();
    this.root.remove();
  }

  /**
   * Show these items in this order. What is dropped is as the host says: the same items may have
   * been let go and selected again. Only what it has not heard yet stays, and is told once more.
   * No number is used twice: a message about the items before may still be on its way.
   * @param {SheetData} data
   */
  update(data) {
    const { memory, root, grid, scroll } = this;
    const { version, told } = data;
    const same = this.data.version === version;
    this.data = data;
    memory.seq = Math.max(memory.seq, told ?? 0);
    if (!same) {
      Object.assign(memory, { version, at: memory.version === version ? memory.at : 0, mine: told ?? 0 });
      this.again = 0;
      this.anchor = undefined;
    }
    if (!same || (told !== undefined && told >= memory.mine)) memory.dropped = new Set(data.dropped ?? []);
    else if (told !== undefined && this.again !== memory.seq) this.tell();
    if (same) this.describe();
    else {
      grid.replaceChildren();
      scroll.scrollTop = 0;
      this.append();
    }
    this.resize(memory.size);
    this.summary();
    Object.assign(root.dataset, { ready: 'true', version, items: String(data.ids.length) });
  }

  /** Add the next tiles, and as many more as the view needs. */
  append() {
    const { grid, data, eye, more } = this;
    const from = grid.childElementCount;
    const to = Math.min(data.ids.length, from + PAGE);
    for (let k = from; k < to; k++) grid.append(this.tile(k));
    more.textContent = to < data.ids.length ? `${(data.ids.length - to).toLocaleString('en-US')} more below` : '';
    this.root.dataset.shown = String(to);
    if (from === to) return;
    eye?.unobserve(more); // an observer speaks on changes only: ask anew whether the end is in view
    eye?.observe(more);
  }

  /** @param {number} index */
  tile(index) {
    const { ids, thumb_url: url } = this.data;
    const picture = made('img', { alt: '', loading: 'lazy', decoding: 'async', draggable: 'false' });
    picture.setAttribute('src', url.replace('{id}', encodeURIComponent(ids[index])));
    const cross = made('span', { class: 'cross', 'aria-hidden': 'true' });
    const badge = made('span', { class: 'badge', 'aria-hidden': 'true' });
    const flag = made('span', { class: 'badge flag', 'aria-hidden': 'true' });
    const tile = made('button', { type: 'button', class: 'tile', 'data-index': String(index) }, picture, badge, flag, cross);
    tile.tabIndex = index === this.memory.at ? 0 : -1;
    this.dress(tile, index);
    return tile;
  }

  /**
   * @param {Element} tile
   * @param {number} index
   */
  dress(tile, index) {
    const { ids, labels, flags, clusters } = this.data;
    const dropped = this.memory.dropped.has(index);
    const label = labels?.[index] ?? null;
    const flag = flags?.[index] ?? '';
    const cluster = clusters?.[index];
    const place = cluster === undefined ? '' : cluster < 0 ? 'noise' : `cluster ${cluster}`;
    tile.setAttribute('aria-pressed', String(dropped));
    const facts = [`Item ${index + 1} of ${ids.length}`, place, label ?? 'no label', flag, dropped ? 'dropped' : 'kept'];
    tile.setAttribute('aria-label', facts.filter(Boolean).join(', '));
    const badge = /** @type {HTMLElement} */ (tile.querySelector('.badge'));
    badge.textContent = label ?? (cluster === undefined ? '' : cluster < 0 ? 'noise' : String(cluster));
    badge.classList.toggle('named', label !== null);
    /** @type {HTMLElement} */ (tile.querySelector('.flag')).textContent = flag;
    tile.classList.toggle('excluded', flag.split(', ').includes('excluded'));
  }

  describe() {
    for (const tile of this.grid.children) this.dress(tile, Number(tile.getAttribute('data-index')));
  }

  summary() {
    const { ids, total = ids.length } = this.data;
    const part = total > ids.length;
    const dropped = this.memory.dropped.size;
    const kept = ids.length - dropped;
    const number = (/** @type {number} */ value) => value.toLocaleString('en-US');
    const base = part ? `${number(ids.length)} of ${number(total)} shown` : `${number(kept)} kept`;
    const text = dropped ? `${base} · ${number(dropped)} dropped` : base;
    this.count.textContent = ids.length ? text : 'Nothing selected. Lasso some items on the map.';
    this.root.classList.toggle('empty', !ids.length);
    this.reset.disabled = !dropped;
    // Items that are not shown would stay kept: swapping must not keep what nobody has looked at.
    this.flip.disabled = part;
    this.flip.title = part ? 'Only where all items are shown' : 'Drop what is kept, keep what is dropped';
    Object.assign(this.root.dataset, { kept: String(kept), dropped: String(dropped) });
  }

  /** @param {number} size pixels */
  resize(size) {
    this.memory.size = size;
    this.grid.style.setProperty('--tile', `${size}px`);
    this.grid.classList.toggle('small', size < 72);
  }

  // ---- dropping ------------------------------------------------------------------------------

  all() {
    return this.data.ids.map((_, index) => index);
  }

  /**
   * Drop or keep items, and tell the host at once: the next click may be on Label.
   * @param {number[]} indices
   * @param {boolean} drop
   */
  change(indices, drop) {
    const { dropped } = this.memory;
    for (const index of indices) {
      if (drop) dropped.add(index);
      else dropped.delete(index);
    }
    this.changed();
  }

  swap() {
    const { memory } = this;
    memory.dropped = new Set(this.all().filter((index) => !memory.dropped.has(index)));
    this.changed();
  }

  changed() {
    this.describe();
    this.summary();
    this.memory.mine = this.memory.seq += 1; // what is on its way about these items
    this.tell();
    this.again = 0;
  }

  /** Say what is dropped; the host answers with the number of the message. */
  tell() {
    const { version, seq, dropped } = this.memory;
    this.again = seq;
    this.onStrays({ version, dropped: [...dropped].sort((a, b) => a - b), seq });
    this.root.dataset.seq = String(seq);
  }

  /** @param {Event} event @returns {number} */
  tileOf(event) {
    const tile = /** @type {HTMLElement} */ (event.target).closest('.tile');
    return tile ? Number(tile.getAttribute('data-index')) : -1;
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const index = this.tileOf(event);
    if (index >= 0) this.toggle(index, event.shiftKey);
  }

  /**
   * Turn one item over, or everything between it and the last one turned.
   * @param {number} index
   * @param {boolean} range
   */
  toggle(index, range) {
    const drop = !this.memory.dropped.has(index);
    const from = range ? (this.anchor ?? index) : index;
    const [low, high] = [Math.min(from, index), Math.min(Math.max(from, index), this.data.ids.length - 1)];
    this.change(Array.from({ length: high - low + 1 }, (_, k) => low + k), drop);
    this.anchor = index;
  }

  // ---- keyboard ------------------------------------------------------------------------------

  /** Tiles in one row, as laid out. */
  get across() {
    const tiles = /** @type {HTMLElement[]} */ ([...(this.grid.children)]);
    const next = tiles.findIndex((tile) => tile.offsetTop > tiles[0].offsetTop);
    return next < 0 ? Math.max(1, tiles.length) : next;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const index = this.tileOf(event);
    if (index < 0) return;
    const rows = this.across;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -rows, ArrowDown: rows, PageUp: -4 * rows, PageDown: 4 * rows };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (step) this.go(index + step);
    else if (event.key === 'Home') this.go(0);
    else if (event.key === 'End') this.go(this.data.ids.length - 1);
    else if (event.key === ' ') this.toggle(index, event.shiftKey);
    else if (event.key === 'Delete') {
      this.change([index], true);
      this.go(index + 1);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Move the focus; tiles that are not there yet are made. @param {number} wanted */
  go(wanted) {
    const index = Math.max(0, Math.min(this.data.ids.length - 1, wanted));
    while (this.grid.childElementCount <= index) this.append();
    const tile = /** @type {HTMLElement | undefined} */ (this.grid.children[index]);
    tile?.focus();
    tile?.scrollIntoView({ block: 'nearest' });
  }

  /** One tile at a time is in the page's tab order. @param {number} index */
  focused(index) {
    if (index < 0) return;
    const before = /** @type {HTMLElement | undefined} */ (this.grid.children[this.memory.at]);
    if (before) before.tabIndex = -1;
    this.memory.at = index;
    /** @type {HTMLElement} */ (this.grid.children[index]).tabIndex = 0;
  }

  /** A picture that does not come leaves a plain tile. @param {Event} event */
  broken(event) {
    /** @type {HTMLElement} */ (event.target).closest('.tile')?.classList.add('absent');
  }
}
