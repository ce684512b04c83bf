// @ts-check
// The same items in other places: map, grid, columns by a field, and an orbit round a 3-D map.
import { element, thousands } from './chrome.js';
import { MapError, parsePacked } from './data.js';
import { offerFields } from './legend.js';
import { Orbit } from './orbit.js';

/** @typedef {import('./points.js').Places} Places */
/** @typedef {'map' | 'grid' | 'by' | 'orbit'} LayoutKind */
/**
 * @typedef {{places: Places, extent: number[], cell: number, captions: import('./names.js').Anchor[],
 *   path: string, seq: number, kind: LayoutKind, field: string}} Layout
 * `path` is where it was asked for, empty for the map; `cell` is 0 where items do not stand in cells.
 */
/** @typedef {{kind: LayoutKind, field: string, yaw: number, pitch: number}} Choice */
/** @typedef {{version: string, n: number, fields: import('./map.js').Field[], home: Layout}} Atlas of which there are layouts */

const MORPH = 600; // ms from one layout to another
const KEPT_LAYOUTS = 4; // 4 MB each at 1,000,000 items
const CAPTION_ROOM = 34; // pixels below the columns
const CAPTION_DROP = 30; // pixels by which every other caption stands lower where they are crowded
const NARROW_MAP = 480; // pixels under which the control stands below: the legend is above
const CAPTIONS_FEW = 6; // that fit into one line on any screen
const CAPTION_LEAST = 30; // pixels; narrower columns are named in part
const CAPTION_MOST = 76; // pixels for which columns are skipped; wider names are cut

/**
 * A text, cut with an ellipsis where it is wider than `room` pixels.
 * @param {CanvasRenderingContext2D} pen
 * @param {string} text
 * @param {number} room
 */
function shortened(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (pen.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return low ? `${text.slice(0, low).trimEnd()}…` : '';
}

/**
 * Where items are on their way from one layout to another.
 * @param {Places} from
 * @param {Places} to
 * @param {number} part 0 to 1
 * @returns {Places}
 */
function midway(from, to, part) {
  const mixed = (/** @type {Uint16Array} */ a, /** @type {Uint16Array} */ b) =>
    a.map((value, i) => Math.round(value + (b[i] - value) * part));
  return { x: mixed(from.x, to.x), y: mixed(from.y, to.y) };
}

/**
 * Where the atlas itself puts its items.
 * @param {Places} places
 * @param {number[]} extent
 * @returns {Layout}
 */
export function homeOf(places, extent) {
  return { places, extent, cell: 0, captions: [], path: '', seq: 0, kind: 'map', field: '' };
}

/** How the items of one map are laid out. */
export class Arrangement {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    /** @type {Layout} where the atlas itself puts them */
    this.home = homeOf(map.places, [0, 0]);
    this.shown = this.home;
    /** @type {Map<string, Layout>} by path and seq, newest last */
    this.kept = new Map();
    this.turn = 0; // counts what has been asked for: the newest wins
    this.orbit = new Orbit(map);
    /** @type {Map<string, HTMLElement>} */
    this.buttons = new Map();
    this.root = element('div', { class: 'layouts', role: 'group', 'aria-label': 'Layout' });
    this.root.append(this.button('map', 'Map', 'm', 'The map'), this.button('grid', 'Grid', 'g', 'The grid: no overlaps'));
    this.choice = /** @type {HTMLSelectElement} */ (element('select', { 'aria-label': 'Columns by a field' }));
    this.choice.addEventListener('change', () => this.show('by', this.choice.value));
    this.by = element('label', { class: 'by', title: 'Columns by the values of a field' }, element('span', {}, 'By'), this.choice);
    this.root.append(this.by, this.button('orbit', 'Orbit', 'o', 'Turn the 3-D map by dragging'));
  }

  /**
   * @param {LayoutKind} kind
   * @param {string} text
   * @param {string} key
   * @param {string} title
   */
  button(kind, text, key, title) {
    const made = element('button', { type: 'button', 'data-layout': kind, 'aria-pressed': 'false', 'aria-keyshortcuts': key }, text);
    made.title = `${title} (${key.toUpperCase()})`;
    made.addEventListener('click', () => this.show(kind));
    this.buttons.set(kind, made);
    return made;
  }

  /** What the person chose, as it is remembered; what is not offered here is the map. @returns {Choice} */
  get choiceKept() {
    return this.choiceIn(this.atlas);
  }

  /** The atlas that is shown. @returns {Atlas} */
  get atlas() {
    const { version, n, fields } = this.map;
    return { version, n, fields, home: this.home };
  }

  /** The same for an atlas that may not be shown yet. @param {Atlas} atlas @returns {Choice} */
  choiceIn({ fields, home }) {
    const { kind, field, yaw, pitch } = this.map.memory.arrangement;
    const number = (/** @type {unknown} */ value) => (Number.isFinite(value) ? Number(value) : 0);
    const offered = fields.some(({ name }) => name === field);
    const known = kind === 'grid' || (kind === 'by' && offered) || (kind === 'orbit' && home.places.z);
    return {
      kind: known ? /** @type {LayoutKind} */ (kind) : 'map',
      field: typeof field === 'string' ? field : '',
      yaw: number(yaw),
      pitch: number(pitch),
    };
  }

  /** @param {Partial<Choice>} change */
  remember(change) {
    Object.assign(this.map.memory.arrangement, change);
    this.map.keeper?.soon();
  }

  /** Whether a drag turns the map. */
  get turns() {
    return this.shown === this.orbit.layout;
  }

  /**
   * Fetch the layout that was chosen, for an atlas that is not shown yet; nothing that is shown changes.
   * @param {Atlas} atlas
   * @returns {Promise<Layout | null>} null where there is nothing to fetch, or it could not be had
   */
  async ahead(atlas) {
    const { map } = this;
    const { kind, field } = this.choiceIn(atlas);
    if (kind === 'map' || kind === 'orbit') return null;
    try {
      return await this.fetched(kind, field, atlas);
    } catch (error) {
      if (map.abort.signal.aborted) throw error; // it was not the layout that failed
      this.remember({ kind: 'map' });
      map.missed(this.named(kind, field), error, 'This is the map.');
      return null;
    }
  }

  /**
   * A new atlas is shown from now on.
   * @param {Layout} home
   * @param {Layout | null} found what `ahead` has fetched
   */
  begin(home, found) {
    this.home = home;
    this.kept.clear();
    this.turn++;
    this.morphing = 0;
    this.from = undefined;
    this.orbit.begin(home);
    if (found) {
      this.keepLayout(found);
      this.remember({ kind: found.kind, field: found.field });
    }
    const { kind, yaw, pitch } = this.choiceKept;
    this.orbit.face(yaw, pitch);
    this.settle(found ?? (kind === 'orbit' ? this.orbit.enter() : home));
  }

  /** Fetch the layout anew where it shows what has changed since: a label was given. */
  async follow() {
    this.refresh();
    const { map, turn, atlas } = this;
    const { kind, field } = this.choiceKept;
    if (kind !== 'by' || this.shown.path !== this.pathOf(kind, field, atlas)) return;
    if (this.shown.seq === this.seqOf(field, atlas)) return;
    try {
      const layout = await this.laidOut(kind, field);
      if (turn === this.turn && !map.abort.signal.aborted) this.go(layout);
    } catch (error) {
      if (turn === this.turn && !map.abort.signal.aborted) {
        map.missed(this.named(kind, field), error, 'The items stay where they were.');
      }
    }
  }

  /**
   * @param {LayoutKind} kind
   * @param {string} field
   */
  named(kind, field) {
    return kind === 'by' ? `The layout by ${this.map.titleOf(field)}` : 'The grid';
  }

  /**
   * @param {LayoutKind} kind
   * @param {string} field
   * @param {Atlas} atlas
   */
  pathOf(kind, field, { version }) {
    return `places/${version}/${kind === 'grid' ? 'grid' : `by?field=${encodeURIComponent(field)}`}`;
  }

  /**
   * @param {string} field
   * @param {Atlas} atlas
   */
  seqOf(field, { fields }) {
    return fields.find(({ name }) => name === field)?.seq ?? 0;
  }

  /**
   * @param {LayoutKind} kind
   * @param {string} field
   * @returns {Promise<Layout>}
   */
  async laidOut(kind, field) {
    if (kind === 'map') return this.home;
    if (kind === 'orbit') return this.orbit.enter();
    const { atlas } = this;
    const seq = kind === 'grid' ? 0 : this.seqOf(field, atlas);
    const known = this.kept.get(`${this.pathOf(kind, field, atlas)} ${seq}`);
    const found = known ?? (await this.fetched(kind, field, atlas));
    this.keepLayout(found);
    return found;
  }

  /** @param {Layout} layout */
  keepLayout(layout) {
    const key = `${layout.path} ${layout.seq}`;
    this.kept.delete(key);
    this.kept.set(key, layout);
    for (const old of this.kept.keys()) if (this.kept.size > KEPT_LAYOUTS) this.kept.delete(old);
  }

  /**
   * @param {LayoutKind} kind
   * @param {string} field
   * @param {Atlas} atlas
   * @returns {Promise<Layout>}
   */
  async fetched(kind, field, atlas) {
    const path = this.pathOf(kind, field, atlas);
    const seq = kind === 'grid' ? 0 : this.seqOf(field, atlas);
    const { header, columns } = parsePacked(await this.map.ask(path));
    const { cell, captions, extent } = header;
    const places = { x: /** @type {Uint16Array} */ (columns.x), y: /** @type {Uint16Array} */ (columns.y) };
    if (header.version !== atlas.version || places.x.length !== atlas.n) {
      throw new MapError('The server sent the layout of another atlas. Reload the page.');
    }
    return { places, extent: extent.map((end) => end + (cell >> 1)), cell, captions, path, seq, kind, field: kind === 'by' ? field : '' };
  }

  /**
   * Show another layout of the same items; where it cannot be had, what is shown stays.
   * @param {LayoutKind} kind
   * @param {string} [field]
   */
  async show(kind, field = '') {
    const { map } = this;
    if (!map.n || (kind === 'orbit' && (this.turns || !this.home.places.z))) return;
    if (map.loading) {
      map.say('A newer map is being loaded: choose again when it is here.');
      this.refresh();
      return;
    }
    if (kind === 'orbit' && this.shown === this.home) this.orbit.face(0, 0);
    const turn = ++this.turn;
    this.remember({ kind, ...(field && { field }) });
    this.refresh();
    try {
      const layout = await this.laidOut(kind, field);
      if (turn === this.turn && !map.abort.signal.aborted) this.go(layout, true);
    } catch (error) {
      if (turn !== this.turn || map.abort.signal.aborted) return;
      const { shown } = this;
      this.remember({ kind: shown.kind, ...(shown.field && { field: shown.field }) });
      this.refresh();
      map.missed(this.named(kind, field), error, 'The items stay where they were.');
    }
  }

  /** The grid, or from there the map: one key to compare them. */
  toggle() {
    return this.show(this.choiceKept.kind === 'grid' ? 'map' : 'grid');
  }

  /**
   * Move every item to its new place, and the camera to the whole of it.
   * @param {Layout} layout
   * @param {boolean} [fly]
   */
  go(layout, fly = this.map.untouched) {
    const { map } = this;
    if (layout === this.shown) return;
    if (fly) map.land();
    const from = map.part < 1 && this.from ? midway(this.from, map.places, map.part) : map.places;
    const [view, seamless] = [map.camera.view, layout === this.orbit.layout && this.shown === this.home];
    const wasCells = this.shown.cell > 0;
    this.settle(layout);
    if (seamless) {
      map.camera.view = this.orbit.sameView(view);
      map.draw();
      return;
    }
    const to = fly ? map.wholeView() : null; // else the camera is the hand's
    map.untouched ||= fly;
    if (map.still.matches || !map.layer) {
      if (to) map.camera.view = to;
      map.drawNow();
    } else this.morph(from, view, to, wasCells);
  }

  /**
   * @param {Places} from
   * @param {import('./camera.js').View} view
   * @param {import('./camera.js').View | null} to where the camera flies, or null: it is left alone
   * @param {boolean} wasCells whether items were squares in cells before
   */
  morph(from, view, to, wasCells) {
    const { map } = this;
    const { layer } = map;
    const begun = performance.now();
    this.from = from;
    const { cell } = map;
    layer?.setPlaces(map.places, from);
    if (!wasCells) map.cell = 0; // dots fly and become squares when they are there
    map.anchors = []; // names wait for their items
    map.root.dataset.arranging = 'true';
    const id = (this.morphing = this.turn + begun);
    const step = () => {
      if (id !== this.morphing) return;
      const part = layer === map.layer ? Math.min(1, (performance.now() - begun) / MORPH) : 1;
      map.part = part ** 2 * (3 - 2 * part);
      const { untouched } = map;
      if (to) map.camera.between(view, to, part);
      if (part === 1) this.arrive(to, cell);
      map.moved();
      map.untouched = untouched;
      if (part < 1) requestAnimationFrame(step);
    };
    step();
  }

  /**
   * @param {import('./camera.js').View | null} to
   * @param {number} cell
   */
  arrive(to, cell) {
    const { map } = this;
    this.morphing = 0;
    this.from = undefined;
    Object.assign(map, { part: 1, cell });
    if (to) map.camera.view = to;
    map.reanchor();
    map.layer?.setPlaces(map.places);
    delete map.root.dataset.arranging;
  }

  /** Give the map the places of a layout; it is drawn by who calls. @param {Layout} layout */
  settle(layout) {
    const { map } = this;
    this.morphing = 0;
    this.shown = layout;
    delete map.root.dataset.arranging;
    Object.assign(map, { places: layout.places, extent: layout.extent, cell: layout.cell, part: 1, hovered: -1 });
    map.root.style.cursor = '';
    map.card.hide(); // its item stands elsewhere
    map.camera.fitted = map.wholeView().scale;
    this.moved();
    map.layer?.setPlaces(map.places);
    map.root.dataset.layout = layout.kind;
    this.refresh();
  }

  /** The places are others: forget what was made from the old ones. */
  moved() {
    const { map } = this;
    map.index = null;
    map.near = null;
    map.minimap?.forget();
    map.reanchor();
  }

  /** Show which layout is chosen, and the fields there are. */
  refresh() {
    const { kind, field } = this.choiceKept;
    for (const [name, button] of this.buttons) button.setAttribute('aria-pressed', String(name === kind));
    const orbit = this.buttons.get('orbit');
    if (orbit) orbit.hidden = !this.home.places.z;
    const { fields } = this.map;
    offerFields(this.choice, fields, 'field…');
    this.choice.value = kind === 'by' ? field : '';
    this.by.classList.toggle('on', kind === 'by');
    this.by.hidden = !fields.length;
  }

  get narrow() {
    return this.map.camera.width < NARROW_MAP;
  }

  /** Pixels above the items: full pictures keep clear of the control. */
  get head() {
    return this.shown.cell && !this.narrow ? 54 : 22;
  }

  /** Pixels that the columns' captions need. */
  get foot() {
    const { captions, cell } = this.shown;
    const below = cell && this.narrow ? 44 : 0; // the control
    return (captions.length && CAPTION_ROOM) + (captions.length > CAPTIONS_FEW ? CAPTION_DROP : 0) + below;
  }

  /** Write name and count below the columns, where they fit; below the picture while one is close. */
  writeCaptions() {
    const { map } = this;
    const { pen, camera, look, root } = map;
    const { captions } = this.shown;
    this.root.classList.toggle('below', this.narrow);
    let written = 0;
    if (captions.length && map.part === 1 && look) {
      pen.textAlign = 'center';
      pen.textBaseline = 'middle';
      pen.font = `600 12px ${look.font}`;
      const pitch = (captions.length > 1 ? captions[1].x - captions[0].x : this.shown.extent[0]) * camera.scale;
      const widest = Math.max(...captions.map(({ name }) => pen.measureText(name).width));
      const needed = Math.min(CAPTION_MOST, Math.max(CAPTION_LEAST, widest + 10));
      const lines = captions.length > CAPTIONS_FEW && needed > pitch ? 2 : 1;
      const every = Math.max(1, Math.ceil(needed / (lines * pitch)));
      const room = Math.min(240, lines * pitch * every - 10);
      const top = Math.min(camera.toScreen(0, captions[0].y)[1], camera.height - 44 - this.foot);
      for (let k = 0; k < captions.length; k += every) {
        const [x] = camera.toScreen(captions[k].x, 0);
        const drop = (k / every) % lines ? CAPTION_DROP : 0;
        if (x > -room / 2 && x < camera.width + room / 2) written += this.caption(captions[k], x, top, room, drop);
      }
    }
    if (root.dataset.captions !== String(written)) root.dataset.captions = String(written);
  }

  /**
   * @param {import('./names.js').Anchor} caption
   * @param {number} x pixels
   * @param {number} top pixels
   * @param {number} room pixels
   * @param {number} drop pixels that it stands lower, with a line from the column
   * @returns {number} 1 where it was written
   */
  caption({ name, count }, x, top, room, drop) {
    const { pen, look } = this.map;
    if (!look) return 0;
    const line = (/** @type {string} */ text, /** @type {number} */ y, /** @type {number} */ alpha) => {
      pen.strokeStyle = look.paperText;
      pen.lineWidth = 4;
      pen.globalAlpha = 0.85;
      pen.strokeText(text, x, y);
      pen.globalAlpha = alpha;
      pen.fillStyle = look.inkText;
      pen.fillText(text, x, y);
      pen.globalAlpha = 1;
    };
    pen.font = `600 12px ${look.font}`;
    const text = shortened(pen, name, room);
    if (!text) return 0;
    if (drop) {
      pen.globalAlpha = 0.22;
      pen.fillStyle = look.inkText;
      pen.fillRect(Math.round(x), top + 4, 1, drop);
    }
    line(text, top + drop + 12, 1);
    pen.font = `400 11px ${look.font}`;
    const number = thousands(count);
    if (pen.measureText(number).width <= room) line(number, top + drop + 26, 0.62);
    return 1;
  }
}
