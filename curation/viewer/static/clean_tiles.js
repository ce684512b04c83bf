// @ts-check
// The thumbnails of one sheet: a contact sheet with a cut that can be moved.
import { ContactSheet, made } from './sheet.js';
import { keptOf } from './clean_drafts.js';

/** @typedef {import('./clean_drafts.js').Draft} Draft */
/** @typedef {import('./clean_drafts.js').Known & {guesses: (string | null)[], title: string}} TileSheet */

const LOOK = 250; // ms between two looks at what is in view
const SEEN = 3; // so many looks, and an item counts as looked at
const EDGE = 40; // pixels from the edge where dragging scrolls

/** Everything before the cut is kept, what is tapped is turned over. */
export class CleanTiles extends ContactSheet {
  /**
   * @param {Node} host
   * @param {{key: string, onChange: (byHand: boolean) => void}} options
   */
  constructor(host, { key, onChange }) {
    super(host, { key });
    this.onChange = onChange;
    /** @type {TileSheet | null} */
    this.sheet = null;
    /** @type {Draft | null} */
    this.draft = null;
    this.label = ''; // what the sheet is called now
    this.natural = 0; // where the bar belongs, in pixels of the scrolled page
    /** @type {Map<string, number>} */
    this.looks = new Map();
    this.root.querySelector('.head')?.remove();
    this.grid.setAttribute('aria-label', 'Items of the sheet');
    this.words = made('span', { class: 'words' });
    const grip = made('span', { class: 'grip', 'aria-hidden': 'true' });
    this.bar = made('div', { class: 'cut', role: 'slider', tabindex: '0', 'aria-orientation': 'vertical', 'aria-label': 'Cut: what stands behind it is not confirmed' }, grip, this.words);
    this.scroll.append(this.bar);
    this.watch();
  }

  watch() {
    const { signal } = this.abort;
    this.bar.addEventListener('pointerdown', (event) => this.grab(event), { signal });
    this.scroll.addEventListener('scroll', () => this.dock(), { signal, passive: true });
    this.bar.addEventListener('keydown', (event) => this.slide(event), { signal });
    this.sizes = new ResizeObserver(() => this.place());
    this.sizes.observe(this.grid);
    this.sizes.observe(this.scroll);
    this.timer = setInterval(() => this.look(), LOOK);
    signal.addEventListener('abort', () => {
      this.sizes?.disconnect();
      clearInterval(this.timer);
    });
  }

  get cut() {
    return this.draft?.cut ?? this.sheet?.cut ?? 0;
  }

  /** Positions that are kept. */
  get kept() {
    return this.sheet && this.draft ? keptOf(this.sheet, this.draft) : [];
  }

  /**
   * @param {TileSheet | null} sheet
   * @param {Draft | null} draft
   * @param {string} url of a thumbnail
   */
  show(sheet, draft, url) {
    const before = this.sheet;
    const focus = this.sheet?.ids[this.memory.at];
    this.sheet = sheet;
    this.draft = draft;
    if (before?.key !== sheet?.key) this.looks.clear();
    const ids = sheet?.ids ?? [];
    if (before?.key === sheet?.key && focus) this.memory.at = Math.max(0, ids.indexOf(focus));
    const same = before?.version === sheet?.version;
    const top = this.scroll.scrollTop;
    if (!same) this.memory.version = sheet?.version ?? '';
    if (!same && before?.key !== sheet?.key) this.memory.at = 0;
    this.mark();
    const dropped = [...this.memory.dropped];
    super.update({ key: sheet?.key ?? '', version: sheet?.version ?? '', ids, thumb_url: url, labels: sheet?.guesses, dropped });
    while (this.grid.childElementCount < ids.length) this.append();
    if (before?.key === sheet?.key) this.scroll.scrollTop = top;
    this.place();
  }

  /** What is not kept, as the contact sheet knows it. */
  mark() {
    this.memory.dropped = new Set(this.kept.flatMap((kept, at) => (kept ? [] : [at])));
  }

  /**
   * @param {Element} tile
   * @param {number} index
   */
  dress(tile, index) {
    super.dress(tile, index);
    if (!this.sheet || !this.draft) return;
    const behind = index >= this.cut;
    const kept = !this.memory.dropped.has(index);
    const guess = this.sheet.guesses[index];
    tile.classList.toggle('behind', behind);
    tile.classList.toggle('first', index === this.cut);
    tile.classList.toggle('picked', behind && kept);
    tile.classList.toggle('crossed', !kept && (!behind || this.draft.marks.get(this.sheet.ids[index]) === false));
    tile.setAttribute('aria-pressed', String(behind ? kept : !kept));
    const state = behind ? (kept ? 'taken in' : 'behind the cut') : kept ? 'kept' : 'crossed out';
    const other = guess && !kept ? `may be ${guess}` : '';
    tile.setAttribute('aria-label', [`Item ${index + 1} of ${this.sheet.ids.length}`, other, state].filter(Boolean).join(', '));
    const badge = tile.querySelector('.badge');
    badge?.classList.toggle('guess', Boolean(guess));
    badge?.toggleAttribute('hidden', kept); // who keeps it says what it is
  }

  summary() {
    const kept = this.sheet ? this.sheet.ids.length - this.memory.dropped.size : 0;
    Object.assign(this.root.dataset, { kept: String(kept), cut: String(this.cut) });
  }

  /**
   * @param {number[]} indices
   * @param {boolean} drop
   */
  change(indices, drop) {
    if (!this.sheet || !this.draft) return;
    for (const index of indices) {
      const id = this.sheet.ids[index];
      if (drop !== index >= this.cut) this.draft.marks.set(id, !drop);
      else this.draft.marks.delete(id); // as the cut has it
      this.draft.looked.add(id);
    }
    this.changed();
  }

  changed() {
    this.mark();
    this.describe();
    this.summary();
    this.onChange(true);
  }

  /** Take every tap back, and the cut to where it came. */
  asItCame() {
    if (!this.draft) return;
    this.draft.marks.clear();
    this.draft.cut = null;
    this.changed();
    this.place();
  }

  /** The page has one place for all keys. */
  key() {}

  // ---- the cut

  /** @param {number} wanted */
  move(wanted) {
    if (!this.sheet || !this.draft) return;
    const cut = Math.max(0, Math.min(this.sheet.ids.length, wanted));
    if (cut === this.cut) return;
    this.draft.cut = cut;
    this.changed();
    this.place();
    if (!this.grid.classList.contains('flowing')) this.reveal();
  }

  /** Put the bar where the first item behind the cut stands. */
  place() {
    const { bar, grid, sheet } = this;
    if (!sheet) return;
    const first = /** @type {HTMLElement | undefined} */ (grid.children[this.cut]);
    const behind = sheet.ids.length - this.cut;
    grid.classList.toggle('whole', !behind);
    this.natural = first ? first.offsetTop - bar.offsetHeight - 5 : grid.offsetTop + grid.offsetHeight - bar.offsetHeight;
    this.dock();
    this.tellCut();
    bar.setAttribute('aria-valuemin', '0');
    bar.setAttribute('aria-valuemax', String(sheet.ids.length));
    bar.setAttribute('aria-valuenow', String(this.cut));
    bar.setAttribute('aria-valuetext', `${this.cut} of ${sheet.ids.length} before the cut`);
  }

  /** Say what becomes of what stands behind the cut: it is refused only where somebody saw it. */
  tellCut() {
    const { sheet, draft, cut, label } = this;
    if (!sheet || !draft) return;
    const behind = sheet.ids.filter((id, at) => at >= cut && !draft.marks.get(id)).length;
    const many = `${behind.toLocaleString('en-US')} suspected ${behind === 1 ? 'stray' : 'strays'}`;
    const seen = label && this.looked(cut, sheet.ids.length);
    this.words.textContent = behind ? `${many} · ${seen ? `not ${label}` : 'left undecided'}` : 'no suspected strays';
  }

  /** Bring the cut into view. */
  reveal() {
    const { scroll, bar, natural } = this;
    const lowest = natural + bar.offsetHeight + this.memory.size + 20 - scroll.clientHeight; // a row behind it too
    scroll.scrollTop = Math.min(Math.max(scroll.scrollTop, lowest), Math.max(0, natural - bar.offsetHeight));
    this.dock();
  }

  /** Where the cut is out of view, its bar stays at the edge: it can be taken hold of from anywhere. */
  dock() {
    const { bar, scroll, natural } = this;
    const lowest = scroll.scrollTop + scroll.clientHeight - bar.offsetHeight - 5;
    const top = Math.max(scroll.scrollTop + 5, Math.min(lowest, natural));
    bar.classList.toggle('docked', top !== natural);
    bar.style.top = `${top}px`;
  }

  /** @param {KeyboardEvent} event */
  slide(event) {
    const rows = this.across;
    const steps = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -rows, PageDown: rows, Home: -Infinity, End: Infinity };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.move(this.cut + step);
  }

  /** While it is dragged the tiles flow on, and the cut stands between two of them. @param {PointerEvent} down */
  grab(down) {
    if (down.button !== 0) return;
    down.preventDefault();
    const { bar, grid, scroll } = this;
    bar.setPointerCapture(down.pointerId);
    bar.focus({ preventScroll: true });
    const done = new AbortController();
    const { signal } = done;
    grid.classList.add('flowing');
    bar.classList.add('held');
    const to = (/** @type {PointerEvent} */ event) => {
      const box = scroll.getBoundingClientRect();
      if (event.clientY > box.bottom - EDGE) scroll.scrollTop += 12;
      if (event.clientY < box.top + EDGE) scroll.scrollTop -= 12;
      this.move(this.between(event.clientX, event.clientY));
      this.natural = event.clientY - box.top + scroll.scrollTop - bar.offsetHeight / 2;
      this.dock();
    };
    const end = () => {
      done.abort();
      grid.classList.remove('flowing');
      bar.classList.remove('held');
      this.place();
    };
    bar.addEventListener('pointermove', to, { signal });
    for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) bar.addEventListener(name, end, { signal });
  }

  /** The number of tiles before a place of the window. @param {number} x @param {number} y */
  between(x, y) {
    const tiles = this.grid.children;
    if (!tiles.length) return 0;
    const first = tiles[0].getBoundingClientRect();
    const gap = 5;
    const column = Math.round((x - first.left) / (first.width + gap));
    const row = Math.floor((y - first.top) / (first.height + gap));
    return Math.max(0, row) * this.across + Math.max(0, Math.min(this.across, column));
  }

  // ---- what was looked at

  look() {
    const { sheet, draft, scroll } = this;
    if (!sheet || !draft || document.visibilityState === 'hidden') return;
    const [top, bottom] = [scroll.scrollTop, scroll.scrollTop + scroll.clientHeight];
    let news = false;
    for (const [at, tile] of /** @type {HTMLElement[]} */ ([...this.grid.children]).entries()) {
      const middle = tile.offsetTop + tile.offsetHeight / 2;
      if (middle < top || middle > bottom || draft.looked.has(sheet.ids[at])) continue;
      const looks = (this.looks.get(sheet.ids[at]) ?? 0) + 1;
      this.looks.set(sheet.ids[at], looks);
      if (looks >= SEEN) {
        draft.looked.add(sheet.ids[at]);
        news = true;
      }
    }
    if (news) this.onChange(false);
  }

  /** Whether everything from one position to another was looked at. @param {number} from @param {number} to */
  looked(from, to) {
    return Boolean(this.sheet?.ids.slice(from, to).every((id) => this.draft?.looked.has(id)));
  }

  /** The focus on a tile, which is where the keys are. */
  focus() {
    if (this.sheet?.ids.length) this.go(this.memory.at);
  }
}
