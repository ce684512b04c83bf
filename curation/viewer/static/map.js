// @ts-check
// The map: the data, colours and selection of one atlas on one page.
import { Card } from './card.js';
import { Chrome } from './chrome.js';
import { Column, MapError, WIRE_FORMAT, decodeMask, fetchColumn, parsePacked } from './data.js';
import { Filters } from './filter.js';
import { Gestures } from './gestures.js';
import { countOf } from './lasso.js';
import { KeySheet } from './keys.js';
import { Arrangement, homeOf } from './layouts.js';
import { Held, roomFor } from './held.js';
import { Legend } from './legend.js';
import { Minimap } from './minimap.js';
import { anchorsOf } from './names.js';
import { onNews } from './news.js';
import { FILTERED, MUTED, SELECTED, onPaper } from './points.js';
import { Selector } from './selector.js';
import { Thumbnails } from './sprites.js';
import { askOverHttp } from './transport.js';

/** @typedef {{seq: number, op: 'clear' | 'select' | 'fit' | 'invert', bits?: string,
 *   version?: string}} Command */
/** @typedef {{name: string, title: string, coding: string, seq: number, group?: string}} Field */
/**
 * @typedef {{key: string, version: string, base: string, fields?: Field[], color_by?: string,
 *   command?: Command | null, session?: string, journal?: string, told?: number | null,
 *   height?: number}} MapData
 */
const ANCHORED = 140; // ms without another change of the filters before names find their places
const GONE = [404, 410]; // HTTP's words for it
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
    this.root.classList.add('bare');
    /** @type {MapData | null} */
    this.data = null;
    /** How the server is asked; a host that has no HTTP sets its own. @type {import('./transport.js').Ask | null} */
    this.transport = null;
    this.hovered = -1;
    this.thumbnails = new Thumbnails(this);
    /** @type {Uint32Array | undefined} the items that stand out, once asked for */
    this.standing = undefined;
    /** @type {Uint8Array} what the graphics card knows of each item */
    this.state = new Uint8Array(0);
    /** @type {Field[]} what one can colour and filter by */
    this.fields = [];
    /** What was told last of a journal: a run of the script that began before may come after. */
    this.news = { journal: '', seq: 0 };
    this.loading = false; // whether another atlas is on its way, while this one is still shown
    this.work = Promise.resolve();
    this.arrangement = new Arrangement(this);
    this.chrome = new Chrome(this);
    this.filters = new Filters(this);
    this.card = new Card(this);
    this.held = new Held(this);
    this.legend = new Legend(this);
    this.legend.open(false);
    this.root.setAttribute('aria-label', 'Map. L lasso, B box, arrows move, Enter selects the item in the middle.');
    this.root.append(this.held.root, this.chrome.tools, this.filters.root, this.legend.root, this.chrome.status);
    this.minimap = new Minimap(this);
    this.keySheet = new KeySheet(this.root);
    this.root.append(this.minimap.root, this.chrome.note, this.chrome.badge);
    this.root.append(this.card.root, this.chrome.veil, this.keySheet.root);
    this.root.append(this.arrangement.root);
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
    onNews((news) => this.learn(news), signal);
    this.readTheme();
    this.setTool(this.memory.tool);
    try {
      this.start();
    } catch (error) {
      this.trouble = error;
      this.fail(error, null);
    }
    this.watch = new ResizeObserver(() => this.resized());
    this.watch.observe(this.root);
    this.watchPixels();
    this.resized();
  }

  /** Free everything; camera and selection stay in the memory. */
  destroy() {
    this.flush();
    this.keeper.write();
    this.watch?.disconnect();
    this.thumbnails.close();
    this.card.clear();
    clearTimeout(this.anchoring);
    this.close();
  }

  remember() {
    if (!this.n || this.memory.version !== this.version) return; // another map of this key is ahead
    this.memory.view = this.untouched ? null : this.camera.view;
  }

  /** @param {Event} event */
  lost(event) {
    super.lost(event);
    this.root.dataset.error = 'context lost';
    this.chrome.showVeil('The graphics card dropped the map. Waiting for it to come back.', { wait: true });
  }

  forsaken() {
    const again = () => {
      try {
        this.renew();
      } catch (error) {
        this.trouble = error;
        this.fail(error, again);
      }
    };
    const text = 'The graphics card dropped the map and the browser does not give it back. Nothing is lost.';
    this.chrome.showVeil(text, { action: ['Draw again', again] });
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
      if (this.data !== data || this.abort.signal.aborted) return;
      try {
        await this.apply(data);
      } catch (error) {
        if (!this.abort.signal.aborted) this.fail(error, () => this.update(data));
      }
    });
    return this.work;
  }

  /**
   * Show at once what others have decided and what they hold; the script may tell of it later.
   * @param {import('./news.js').News} news
   */
  learn({ url, journal, seq, shown, held }) {
    const { data } = this;
    if (url !== `${data?.base}/here`) return; // of another dataset
    this.held.hold(shown === this.version ? held : {});
    this.news = { journal, seq };
    const behind = () => journal === this.data?.journal && this.head < seq;
    if (!behind()) return;
    this.work = this.work.then(async () => {
      if (!behind() || !this.n || this.abort.signal.aborted) return;
      this.fields = this.fields.map((field) => (field.group === 'decided' ? { ...field, seq } : field));
      try {
        await this.loadColumns();
        await this.arrangement.follow();
      } catch (error) {
        if (!this.abort.signal.aborted) this.fail(error, () => this.data && this.update(this.data));
      }
    });
  }

  /** The fields of a script's run, none decided longer ago than the news say. @param {MapData} data */
  fieldsOf({ fields = [], journal }) {
    const known = journal === this.news.journal ? this.news.seq : 0;
    return fields.map((field) => (field.group === 'decided' ? { ...field, seq: Math.max(field.seq, known) } : field));
  }

  /** The newest decision that the map was told of. */
  get head() {
    return Math.max(0, ...this.fields.filter(({ group }) => group === 'decided').map(({ seq }) => seq));
  }

  /** Ask the server for a path below the dataset's address. @type {import('./transport.js').Ask} */
  ask(path, options) {
    return (this.transport ?? askOverHttp(this.data?.base ?? ''))(path, { signal: this.abort.signal, ...options });
  }

  /** @param {MapData} data */
  async apply(data) {
    if (data.version !== this.version) {
      this.loading = true;
      await this.load(data).finally(() => (this.loading = false));
    }
    if (data.color_by && data.color_by !== this.memory.asked) {
      this.memory.asked = this.memory.color = data.color_by;
    }
    this.fields = this.fieldsOf(data);
    await this.loadColumns();
    await this.arrangement.follow();
    this.meet(data.session ?? '');
    this.heard(data.told ?? undefined);
    if (data.command && data.command.seq > this.memory.commandSeq) await this.obey(data.command);
    this.settled();
    this.dress();
  }

  /** @param {MapData} data */
  async load(data) {
    delete this.root.dataset.ready;
    if (!this.n) this.chrome.showVeil('Loading the map', { wait: true });
    const { header, columns } = parsePacked(await this.ask(`points/${data.version}?format=${WIRE_FORMAT}`));
    if (header.version !== data.version) throw new MapError('The server sent another atlas. Reload the page.');
    const { version, n, levels, extent } = header;
    const { cluster, ...places } = columns;
    const home = homeOf(/** @type {any} */ (places), extent);
    const fields = this.fieldsOf(data);
    const [selected, layout] = await Promise.all([
      this.recalled(version, n),
      this.arrangement.ahead({ version, n, fields, home }),
    ]);
    // From here on nothing is waited for: everything that counts items changes together.
    this.leaveOrder();
    this.held.hold({});
    this.recall(version, n, selected);
    Object.assign(this, { n, levels, version, fields });
    this.columns = new Map([['cluster', new Column('cluster', cluster, header)]]);
    this.column = null;
    this.arrangement.begin(home, layout);
    this.filters.reset();
    this.card.clear();
    this.selectedCount = countOf(this.memory.selected);
    if (this.memory.at < 0) this.keep();
    this.legend.open(this.blind || (this.memory.legend ?? this.camera.width > ROOMY), false);
    this.colorBy('cluster');
    this.camera.fitted = this.wholeView().scale;
    this.untouched = !this.memory.view;
    this.camera.view = this.memory.view ?? this.wholeView();
    this.filters.apply();
    this.upload();
    Object.assign(this.root.dataset, { points: String(this.n), version: this.version });
    this.settled();
    this.drawNow();
  }

  /** End what is under way in the order of items that is shown now. */
  leaveOrder() {
    this.gestures?.stop();
    clearTimeout(this.waiting);
    this.untold = false; // what was clicked last is no longer selected
    this.land();
  }

  /** The fields whose columns the map shows: flags, the colour, and what filters. */
  get used() {
    const wanted = new Set(['flags', this.memory.color, ...Object.keys(this.memory.filters)]);
    return this.fields.filter(({ name }) => wanted.has(name) && name !== 'cluster');
  }

  /** Fetch what the fields in use have new, show it, and forget the columns that are not in use. */
  async loadColumns() {
    const before = new Map(this.columns);
    await Promise.all(this.used.map((field) => this.fetchField(field)));
    const used = new Set(['cluster', ...this.used.map(({ name }) => name)]);
    for (const name of this.columns.keys()) if (!used.has(name)) this.columns.delete(name);
    const changed = before.size !== this.columns.size || [...this.columns].some(([name, column]) => before.get(name) !== column);
    this.filters.apply();
    if (changed) {
      this.pushState();
      this.draw();
    }
    this.colorBy(this.memory.color);
    this.root.dataset.head = String(this.head);
  }

  /**
   * Fetch what a field has new; one that cannot be had is not used any more.
   * @param {Field} field
   */
  async fetchField({ name, seq }) {
    const { columns, version } = this;
    const { signal } = this.abort;
    const have = columns.get(name);
    const { journal } = this.data ?? {};
    const other = have?.journal && journal && have.journal !== journal; // made anew under the same name
    if (have?.seq === seq && !other) return;
    const isUsed = () => columns === this.columns && this.used.some((field) => field.name === name);
    try {
      const column = await fetchColumn((path, options) => this.ask(path, options), version, name, have, signal);
      const now = columns.get(name); // an older answer may come after a newer one
      if (isUsed() && (!now || now === have || now.seq <= column.seq)) columns.set(name, column);
    } catch (error) {
      if (signal.aborted) throw error;
      if (isUsed()) this.goWithout(name, error);
    }
  }

  /**
   * A column could not be fetched: the map is coloured and filtered without it, or by what is known.
   * @param {string} name
   * @param {unknown} error
   */
  goWithout(name, error) {
    const { memory, columns, column } = this;
    const gone = error instanceof MapError && GONE.includes(error.status);
    const parts = [];
    if (columns.has(name) && !gone) parts.push('What is shown may be out of date.');
    else {
      columns.delete(name);
      if (memory.color === name) {
        const stays = column !== null && column.field !== name && columns.get(column.field) === column;
        memory.color = stays ? column.field : 'cluster';
        parts.push(`The colours show ${this.titleOf(memory.color)}.`);
      }
      if (memory.filters[name]) parts.push('Its filter is off.');
      delete memory.filters[name];
      this.keeper.soon();
    }
    this.missed(this.titleOf(name), error, parts.join(' '));
  }

  /**
   * Say that something could not be had; the map goes on.
   * @param {string} what
   * @param {unknown} error
   * @param {string} then what the map shows now
   */
  missed(what, error, then) {
    if (!(error instanceof MapError)) console.error(error);
    const gone = error instanceof MapError && GONE.includes(error.status);
    const why = gone ? 'The server no longer has it.' : error instanceof MapError ? error.message : 'The server did not answer.';
    this.say(`${what} could not be loaded. ${why} ${then}`.trim());
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
    memory.sent = 0; // and has heard nothing
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

  /** Show the panels once the points are on the screen; then one can work. */
  dress() {
    const done = () => {
      this.root.classList.remove('bare');
      if (!this.loading) this.root.dataset.ready = 'true';
    };
    if (!this.root.classList.contains('bare')) return done();
    const soon = (/** @type {() => void} */ step) => requestAnimationFrame(() => this.abort.signal.aborted || step());
    soon(() => soon(done));
  }

  /** No trouble any more: uncover the map. */
  settled() {
    if (this.blind) {
      this.chrome.veil.classList.add('under'); // the legend and the selection can be worked with
      this.fail(this.trouble, null);
      return;
    }
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
    this.root.classList.remove('bare');
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
  palette(column) {
    return column.colors().map((color) => onPaper(color, this.dark));
  }

  /** Tell the graphics card what is selected, excluded and therefore faint, or filtered out. */
  pushState() {
    const state = (this.preview ?? this.memory.selected).slice();
    const flags = this.columns.get('flags');
    const place = flags?.legend.findIndex(({ name }) => name === 'excluded') ?? -1;
    if (flags && place >= 0) {
      for (let i = 0; i < state.length; i++) if ((flags.codes[i] >> place) & 1) state[i] |= MUTED;
    }
    const { hidden } = this;
    this.filtering = hidden !== null;
    if (hidden) for (let i = 0; i < state.length; i++) if (hidden[i]) state[i] |= FILTERED;
    this.state = state;
    this.standing = undefined;
    this.layer?.setState(state);
    this.root.dataset.selected = String(this.selectedCount);
    this.filters.say();
    this.legend.recount();
    this.showTools();
  }

  /** What the legend points at, else what is selected. @returns {Uint32Array | null} */
  get outstanding() {
    this.standing ??= this.found();
    return this.standing.length || this.pick !== null ? this.standing : null;
  }

  found() {
    const { pick, column, state, hidden } = this;
    if (pick === null && !this.selectedCount) return new Uint32Array(0);
    const stands = (/** @type {number} */ i) => (pick === null ? state[i] & SELECTED : column?.code(i) === pick) && !hidden?.[i];
    const items = new Uint32Array(this.n);
    let count = 0;
    for (let i = 0; i < this.n; i++) if (stands(i)) items[count++] = i;
    return items.slice(0, count);
  }

  showTools() {
    this.chrome?.refresh();
  }

  /** @param {string} text */
  say(text) {
    this.chrome.say(text);
  }

  drawAround() {
    this.minimap.follow();
    this.keeper.soon();
  }

  // ---- look ----------------------------------------------------------------------------------

  get insets() {
    const narrow = this.camera.width < 420;
    const { head: top = 22, foot = 0 } = this.arrangement ?? {};
    return { left: narrow ? 20 : 62, right: 18 + (this.legend?.covers ?? 0), top, bottom: 52 + foot };
  }

  /**
   * The curator's choice of colours; its column is fetched where it is not here yet.
   * @param {string} field
   */
  async setColor(field) {
    this.memory.color = field;
    if (!this.version) return; // it is fetched with the atlas
    try {
      await this.loadColumns();
    } catch (error) {
      if (!this.abort.signal.aborted) throw error;
    }
  }

  /** @param {string} field */
  colorBy(field) {
    const column = this.columns.get(field) ?? this.columns.get('cluster');
    if (!column) return;
    const same = column === this.column;
    this.legend.fill();
    if (same) return;
    this.column = column;
    this.pick = null;
    this.standing = undefined;
    this.layer?.setCodes(column.plainCodes());
    this.layer?.setPalette(this.palette(column));
    this.reanchor();
    this.root.dataset.color = column.field;
    this.legend.refresh();
    this.draw();
  }

  /** Whether the names are those of clusters. */
  get namesClusters() {
    return Boolean(this.column?.values) || this.column?.field === 'cluster';
  }

  /** Where the names stand: of what colours the map, and passes the filters; of numbers, the clusters. */
  reanchor() {
    const named = this.namesClusters ? this.columns.get('cluster') : this.column;
    if (this.arrangement.shown.captions.length) this.anchors = [];
    else if (named) this.anchors = anchorsOf(named, this.places.x, this.places.y, this.hidden);
    this.touch();
  }

  /** Other items than before pass the filters. */
  filtered() {
    this.legend.mark();
    this.pushState();
    if (this.hovered >= 0 && this.hidden?.[this.hovered]) this.inspect(-1);
    const { untouched } = this;
    this.moved(); // a range under the hand is drawn as coarsely as a move
    this.untouched = untouched;
    clearTimeout(this.anchoring);
    this.anchoring = setTimeout(() => this.reanchor(), ANCHORED);
  }

  /** A field's name as people read it. @param {string} field */
  titleOf(field) {
    return this.fields.find(({ name }) => name === field)?.title ?? field;
  }

  /** What stands on the map, in pixels: names keep clear of it. @returns {import('./names.js').Box[]} */
  get obstacles() {
    const { tools, status } = this.chrome;
    return [tools, status, this.legend.root, this.filters.root, this.arrangement.root, this.minimap.root]
      .filter(({ offsetWidth }) => offsetWidth)
      .map((part) => [
        part.offsetLeft, part.offsetTop, part.offsetLeft + part.offsetWidth, part.offsetTop + part.offsetHeight,
      ]);
  }

  /** Read the page's colours again: the theme may have changed. */
  restyle() {
    const turned = this.readTheme();
    if (turned && this.column) {
      this.layer?.setPalette(this.palette(this.column));
      this.legend.refresh();
    }
    this.draw();
  }

  /** A drag turns what is seen from all sides, and moves everything else. @param {number} dx @param {number} dy
   * @param {boolean} moves whatever is shown */
  dragBy(dx, dy, moves) {
    if (this.arrangement.turns && !moves) this.arrangement.orbit.turnBy(dx, dy);
    else this.panBy(dx, dy);
  }

  /** @param {number} dx @param {number} dy */
  lookAround(dx, dy) {
    if (this.arrangement.turns) this.arrangement.orbit.turnBy(-dx / 2, -dy / 2);
    else super.lookAround(dx, dy);
  }

  /** @param {[number, number]} at @param {import('./lasso.js').Mode} mode */
  doubleAt(at, mode) {
    if (this.arrangement.turns) this.arrangement.orbit.reset();
    else super.doubleAt(at, mode);
  }

  placed() {
    this.arrangement.orbit.finish();
  }

  nearby() {
    return this.arrangement.orbit.stale ? null : super.nearby();
  }

  paint() {
    this.arrangement?.orbit.follow();
    super.paint();
  }

  drawOverlay() {
    super.drawOverlay();
    this.arrangement.writeCaptions();
    this.held?.place();
  }

  /** @param {string} name */
  beside(name) {
    return roomFor(this.held?.of(name));
  }

  drawLayers() {
    this.thumbnails.frame();
  }

  toggleThumbnails() {
    this.memory.thumbnails = !this.memory.thumbnails;
    this.chrome.refresh();
    this.draw();
  }

  /**
   * An item that shows its picture says by itself that it is meant.
   * @param {number} item
   * @param {string} ink
   */
  ring(item, ink) {
    if (!this.thumbnails.shows(item)) super.ring(item, ink);
  }

  /**
   * @param {[number, number]} at pixels
   * @param {number} [reach] pixels
   */
  itemAt(at, reach) {
    this.placed();
    const item = this.thumbnails.at(at);
    if (item >= 0) return this.hidden?.[item] ? -1 : item;
    return super.itemAt(at, reach);
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
    this.standing = undefined;
    this.raise();
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
      this.touch();
    });
  }

  leave() {
    this.hover(null);
    this.flush();
  }

  showCard() {
    this.card.show(this.hovered);
  }

  /** Show the card of an item that a key has reached. @param {number} item wire index, -1 = none */
  inspect(item) {
    this.pointer = null;
    this.hovered = item;
    this.showCard();
    this.touch();
  }

  /** @param {import('./lasso.js').Mode} mode */
  pickMiddle(mode) {
    super.pickMiddle(mode);
    const { width, height } = this.camera;
    this.inspect(this.itemAt([width / 2, height / 2], Math.max(width, height) / 2));
  }

  /** The card goes with its item. */
  moved() {
    super.moved();
    this.card?.place();
  }
}
