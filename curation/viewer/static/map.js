// @ts-check
// The map: the data, colours and selection of one atlas on one page.
import { Chrome } from './chrome.js';
import { Column, MapError, decodeMask, fetchColumn, fetchPacked } from './data.js';
import { Gestures } from './gestures.js';
import { countOf } from './lasso.js';
import { Legend } from './legend.js';
import { anchorsOf } from './names.js';
import { onPaper } from './points.js';
import { Selector } from './selector.js';

/** @typedef {{seq: number, op: 'clear' | 'select' | 'fit' | 'invert', bits?: string,
 *   version?: string}} Command */
/**
 * @typedef {{key: string, version: string, points_url: string, thumb_url?: string,
 *   columns?: Record<string, {url: string, seq: number}>, color_by?: string,
 *   command?: Command | null, session?: string, height?: number}} MapData
 */
const ROOMY = 560; // pixels of width from which the legend opens by itself

/** One map in one host element. */
export class CurationMap extends Selector {
  /**
   * @param {Node} host
   * @param {{key?: string, onSelection?: (message: import('./selector.js').SelectionMessage) => void}} [options]
   */
  constructor(host, { key = 'map', onSelection = () => {} } = {}) {
    super(key);
    this.onSelection = onSelection;
    this.names = this.memory.names;
    /** @type {MapData | null} */
    this.data = null;
    this.work = Promise.resolve();
    this.chrome = new Chrome(this);
    this.legend = new Legend(this);
    this.legend.open(false);
    this.root.setAttribute('aria-label', 'Map. L lasso, B box, arrows move, Enter selects the item in the middle.');
    this.root.append(this.chrome.tools, this.legend.root, this.chrome.status);
    this.root.append(this.chrome.card, this.chrome.veil);
    // A handle for the browser's console and for tests: where an item is, what is selected.
    Object.assign(this.root, { atlasMap: this });
    if (this.memory.seq) this.root.dataset.seq = String(this.memory.seq);
    host.appendChild(this.root);
    this.listen();
  }

  listen() {
    const { signal } = this.abort;
    this.gestures = new Gestures(this, signal);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', () => this.restyle(), { signal });
    this.readTheme();
    this.setTool(this.memory.tool);
    try {
      this.start();
    } catch (error) {
      this.fail(error, null);
    }
    this.watch = new ResizeObserver(() => this.resized());
    this.watch.observe(this.root);
    this.resized();
  }

  /** Free everything; camera and selection stay in the memory. */
  destroy() {
    this.flush();
    this.remember();
    this.watch?.disconnect();
    this.close();
  }

  remember() {
    if (!this.n) return;
    Object.assign(this.memory, { version: this.version, view: this.untouched ? null : this.camera.view });
  }

  /** @param {Event} event */
  lost(event) {
    super.lost(event);
    this.root.dataset.error = 'context lost';
    this.chrome.showVeil('The graphics card dropped the map. Waiting for it to come back.', { wait: true });
  }

  restored() {
    super.restored();
    this.settled();
    this.upload();
    this.draw();
  }

  // ---- data ----------------------------------------------------------------------------------

  /**
   * Show what the host wants shown; calls are worked off one after the other, the newest wins.
   * @param {MapData} data
   * @returns {Promise<void>}
   */
  update(data) {
    this.data = data;
    this.work = this.work.then(async () => {
      if (this.data !== data || this.abort.signal.aborted || !this.gl) return;
      try {
        await this.apply(data);
      } catch (error) {
        if (!this.abort.signal.aborted) this.fail(error, () => this.update(data));
      }
    });
    return this.work;
  }

  /** @param {MapData} data */
  async apply(data) {
    if (data.version !== this.version) await this.load(data);
    if (data.color_by && data.color_by !== this.memory.asked) {
      this.memory.asked = this.memory.color = data.color_by;
    }
    const flags = this.columns.get('flags');
    await this.loadColumns(data.columns ?? {});
    if (flags !== this.columns.get('flags')) this.pushState();
    this.setColor(this.memory.color);
    this.meet(data.session ?? '');
    if (data.command && data.command.seq > this.memory.commandSeq) await this.obey(data.command);
    this.settled();
    this.root.dataset.ready = 'true';
  }

  /** @param {MapData} data */
  async load(data) {
    delete this.root.dataset.ready;
    if (!this.n) this.chrome.showVeil('Loading the map', { wait: true });
    const { header, columns } = await fetchPacked(data.points_url, this.abort.signal);
    if (header.version !== data.version) throw new MapError('The server sent another atlas. Reload the page.');
    this.places = /** @type {import('./points.js').Places} */ (/** @type {unknown} */ (columns));
    Object.assign(this, { n: header.n, levels: header.levels, extent: header.extent, version: header.version });
    this.columns = new Map([['cluster', new Column('cluster', columns.cluster, header)]]);
    this.column = null;
    this.index = null;
    this.recall();
    this.legend.open(this.memory.legend ?? this.camera.width > ROOMY, false);
    this.setColor(this.memory.color);
    this.camera.fitted = this.wholeView().scale;
    this.untouched = !this.memory.view;
    this.camera.view = this.memory.view ?? this.wholeView();
    this.upload();
    Object.assign(this.root.dataset, { points: String(this.n), version: this.version });
    this.settled();
    this.drawNow();
  }

  /** Take camera and selection from the memory where they belong to this atlas. */
  recall() {
    const { memory } = this;
    if (memory.version !== this.version || memory.selected.length !== this.n) {
      Object.assign(memory, { selected: new Uint8Array(this.n), view: null, version: this.version });
    }
    this.selectedCount = countOf(memory.selected);
  }

  /** @param {Record<string, {url: string, seq: number}>} wanted */
  async loadColumns(wanted) {
    for (const field of this.columns.keys()) {
      if (field !== 'cluster' && !(field in wanted)) this.columns.delete(field);
    }
    await Promise.all(
      Object.entries(wanted).map(async ([field, { url, seq }]) => {
        const have = this.columns.get(field);
        if (have?.seq === seq) return;
        this.columns.set(field, await fetchColumn(url, field, have, this.abort.signal));
      }),
    );
    this.legend.fill();
  }

  /**
   * A page may outlive the server's session (a restart, a lost connection): tell the new one.
   * @param {string} session
   */
  meet(session) {
    const { memory } = this;
    const known = memory.session ?? session;
    memory.session = session;
    if (known === session) return;
    memory.commandSeq = 0; // the new session counts its commands from the beginning
    if (this.selectedCount) this.tell(0);
  }

  /** @param {Command} command */
  async obey({ seq, op, bits, version = this.version }) {
    this.memory.commandSeq = seq;
    if (version !== this.version) return; // it was meant for an atlas that is no longer shown
    if (op === 'fit') this.fit();
    else if (op === 'invert') this.invert();
    else {
      // The host knows what it asked for: it is not told again.
      this.untold = false;
      const wanted = bits && op === 'select' ? await decodeMask(bits, this.n) : new Uint8Array(this.n);
      this.memory.selected = wanted;
      this.reselected();
    }
  }

  /** No trouble any more: uncover the map. */
  settled() {
    delete this.root.dataset.error;
    this.chrome.showVeil(this.n ? null : 'No items yet. Build the dataset and come back.');
  }

  /**
   * @param {unknown} error
   * @param {(() => void) | null} again
   */
  fail(error, again) {
    if (!(error instanceof MapError)) console.error(error);
    const text = error instanceof MapError ? error.message : 'The map could not be loaded: the server did not answer.';
    this.root.dataset.error = text;
    this.chrome.showVeil(text, again ? { action: ['Try again', again] } : {});
  }

  /** Give the graphics card everything it needs. */
  upload() {
    if (!this.layer || !this.column) return;
    this.layer.setPlaces(this.places);
    this.layer.setCodes(this.column.plainCodes());
    this.layer.setPalette(this.palette(this.column));
    this.pushState();
  }

  /** @param {Column} column */
  palette({ none, legend }) {
    return [none, ...legend].map(({ color }) => onPaper(color, this.dark));
  }

  /** Tell the graphics card what is selected, and what is excluded and therefore faint. */
  pushState() {
    const state = this.memory.selected.slice();
    const flags = this.columns.get('flags');
    const place = flags?.legend.findIndex(({ name }) => name === 'excluded') ?? -1;
    if (flags && place >= 0) {
      for (let i = 0; i < state.length; i++) if ((flags.codes[i] >> place) & 1) state[i] |= 2;
    }
    this.layer?.setState(state);
    this.root.dataset.selected = String(this.selectedCount);
    this.showTools();
  }

  showTools() {
    this.chrome?.refresh();
  }

  // ---- look ----------------------------------------------------------------------------------

  get insets() {
    const narrow = this.camera.width < 420;
    return { left: narrow ? 20 : 62, right: 18 + (this.legend?.covers ?? 0), top: 22, bottom: 52 };
  }

  /** The fields one can colour by. */
  get fields() {
    return [...this.columns.keys()];
  }

  /** @param {string} field */
  setColor(field) {
    this.memory.color = field;
    const column = this.columns.get(field) ?? this.columns.get('cluster');
    if (!column || column === this.column) return;
    this.column = column;
    this.pick = null;
    this.layer?.setCodes(column.plainCodes());
    this.layer?.setPalette(this.palette(column));
    this.anchors = anchorsOf(column, this.places.x, this.places.y);
    this.root.dataset.color = column.field;
    this.legend.refresh();
    this.draw();
  }

  /** Read the page's colours again: the theme may have changed. */
  restyle() {
    const turned = this.readTheme();
    if (turned && this.column) {
      this.layer?.setPalette(this.palette(this.column));
      this.legend.list();
    }
    this.draw();
  }

  toggleNames() {
    this.names = this.memory.names = !this.names;
    this.chrome.refresh();
    this.draw();
  }

  /** @param {number | null} code */
  highlight(code) {
    if (code === this.pick) return;
    this.pick = code;
    this.draw();
  }

  // ---- under the pointer ---------------------------------------------------------------------

  /** @param {[number, number] | null} at */
  hover(at) {
    this.pointer = at;
    this.looking ||= requestAnimationFrame(() => {
      this.looking = 0;
      const item = this.pointer ? this.itemAt(this.pointer) : -1;
      if (item === this.hovered) return;
      this.hovered = item;
      this.root.style.cursor = item >= 0 && this.tool === 'pan' ? 'pointer' : '';
      this.showCard();
      this.draw();
    });
  }

  leave() {
    this.hover(null);
    this.flush();
  }

  showCard() {
    const item = this.hovered;
    if (item < 0) {
      this.chrome.showCard(null);
      return;
    }
    const lines = [];
    for (const column of this.columns.values()) {
      const entry = column.legend[column.code(item)];
      if (!entry && column.field !== 'cluster') continue;
      const { name, color } = entry ?? column.none;
      const text = column.field === 'cluster' && entry ? `Cluster ${name}` : name;
      lines.push({ text, color: onPaper(color, this.dark) });
    }
    const [x, y] = this.camera.toScreen(this.places.x[item], this.places.y[item]);
    const url = this.data?.thumb_url?.replace('{i}', String(item)) ?? '';
    this.chrome.showCard({ x, y, url, lines });
  }
}
