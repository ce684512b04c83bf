// @ts-check
// Pictures on the graphics card: fetched as sheets, kept in a bounded number of cells of textures.
import { MapError } from './data.js';

const SHEET_SIDE = 1024; // pixels of a layer, and of a sheet's width
const SHEET_BATCH = 128; // pictures asked for at once
const SHEET_FLIGHTS = 3; // questions on their way at the same time
const SHEET_BACKLOG = 4; // sheets that wait for the graphics card before no more are asked for
const UPLOAD_MS = { moving: 3, still: 12 }; // of a frame, for cells that have arrived
const ASK_AGAIN = 4000; // ms after which what failed is asked for once more
const SHEET_TRIES = 2;
const SHEET_PATIENCE = 30_000; // ms after which what failed that often gets one more chance

/**
 * A picture of half the side: every pixel the mean of four.
 * @param {Uint8Array | Uint8ClampedArray} from RGBA
 * @param {number} width
 * @param {number} height
 */
function halfSize(from, width, height) {
  const half = new Uint8Array(from.length / 4);
  let at = 0;
  for (let y = 0; y < height; y += 2) {
    for (let k = 4 * y * width; k < 4 * (y + 1) * width; k += 8) {
      const below = k + 4 * width;
      for (let c = 0; c < 4; c++) {
        half[at++] = (from[k + c] + from[k + 4 + c] + from[below + c] + from[below + 4 + c] + 2) >> 2;
      }
    }
  }
  return half;
}

/** Square cells of one size in the layers of one texture; the least lately wanted goes first. */
export class CellTier {
  /**
   * @param {WebGL2RenderingContext} gl
   * @param {number} cell pixels of a cell's side
   * @param {number} most layers
   * @param {number} levels how often a cell is also kept at half the side before, itself included
   */
  constructor(gl, cell, most, levels) {
    this.gl = gl;
    this.cell = cell;
    this.most = most;
    this.levels = levels;
    this.columns = SHEET_SIDE / cell;
    this.layers = 0;
    /** @type {WebGLTexture | null} */
    this.texture = null;
    /** Where an item's picture is; the first is the one that was wanted least lately. @type {Map<number, number>} */
    this.slots = new Map();
    /** @type {Set<number>} nearest to the middle of the view first */
    this.wanted = new Set();
    /** @type {Set<number>} on its way here */
    this.asked = new Set();
    /** @type {Map<number, number>} how often it failed */
    this.failed = new Map();
  }

  get capacity() {
    return this.most * this.columns ** 2;
  }

  /** @param {number[]} items nearest to the middle of the view first */
  want(items) {
    this.wanted = new Set(items.slice(0, this.capacity));
    for (const item of this.wanted) {
      const slot = this.slots.get(item);
      if (slot === undefined) continue;
      this.slots.delete(item); // to the end: wanted last
      this.slots.set(item, slot);
    }
  }

  /** What is wanted, not here and not on its way; as many as one question may be about. */
  missing() {
    const items = [];
    for (const item of this.wanted) {
      if (this.slots.has(item) || this.asked.has(item) || (this.failed.get(item) ?? 0) >= SHEET_TRIES) continue;
      if (items.push(item) === SHEET_BATCH) break;
    }
    return items;
  }

  /** A cell for one more picture, or -1 where all cells show something wanted. */
  room() {
    const { size } = this.slots;
    if (size < this.layers * this.columns ** 2) return size;
    if (this.layers < this.most) {
      this.grow();
      return size;
    }
    const [item, slot] = this.slots.entries().next().value ?? [-1, -1];
    if (this.wanted.has(item)) return -1;
    this.slots.delete(item);
    return slot;
  }

  /** Twice the layers; what the old ones hold is copied on the graphics card. */
  grow() {
    const { gl, texture: old, layers: before } = this;
    this.layers = before ? Math.min(this.most, 2 * before) : this.most / 4;
    this.texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.texture);
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, this.levels, gl.RGBA8, SHEET_SIDE, SHEET_SIDE, this.layers);
    const set = (/** @type {number} */ name, /** @type {number} */ value) =>
      gl.texParameteri(gl.TEXTURE_2D_ARRAY, name, value);
    set(gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_NEAREST);
    set(gl.TEXTURE_MAG_FILTER, gl.LINEAR);
    set(gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    set(gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    if (!old) return;
    const source = gl.createFramebuffer();
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, source);
    for (let level = 0; level < this.levels; level++) {
      const side = SHEET_SIDE >> level;
      for (let layer = 0; layer < before; layer++) {
        gl.framebufferTextureLayer(gl.READ_FRAMEBUFFER, gl.COLOR_ATTACHMENT0, old, level, layer);
        gl.copyTexSubImage3D(gl.TEXTURE_2D_ARRAY, level, 0, 0, layer, 0, 0, side, side);
      }
    }
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, null);
    gl.deleteFramebuffer(source);
    gl.deleteTexture(old);
  }

  /**
   * Take some pictures of one row of a sheet; neighbours that become neighbours go in one piece.
   * @param {number[]} items
   * @param {Uint8Array[]} sheet its pixels, then at half the side, and so on
   * @param {number} first place on the sheet of the first item
   */
  write(items, sheet, first) {
    let run = { place: first, slot: -1, length: 0 };
    items.forEach((item, k) => {
      const slot = this.wanted.has(item) && !this.slots.has(item) ? this.room() : -1;
      if (slot < 0) return;
      this.slots.set(item, slot);
      const { place, slot: begun, length } = run;
      if (place + length === first + k && begun + length === slot && slot % this.columns) run.length++;
      else {
        this.copy(run, sheet);
        run = { place: first + k, slot, length: 1 };
      }
    });
    this.copy(run, sheet);
  }

  /**
   * @param {{place: number, slot: number, length: number}} run of cells side by side
   * @param {Uint8Array[]} sheet
   */
  copy({ place, slot, length }, sheet) {
    if (!length) return;
    const { gl, columns } = this;
    const within = slot % columns ** 2;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.texture);
    sheet.forEach((pixels, level) => {
      const side = this.cell >> level;
      const wide = SHEET_SIDE >> level;
      // An offset, and not UNPACK_SKIP_ROWS, which WebGL refuses for layers of a texture.
      const from = 4 * side * (Math.floor(place / columns) * wide + (place % columns));
      const at = /** @type {const} */ ([(within % columns) * side, Math.floor(within / columns) * side, Math.floor(slot / columns ** 2)]);
      gl.pixelStorei(gl.UNPACK_ROW_LENGTH, wide);
      gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, level, ...at, length * side, side, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixels, from);
    });
    gl.pixelStorei(gl.UNPACK_ROW_LENGTH, 0);
  }

  /** Let what failed too often be asked for once more. */
  forgive() {
    for (const [item, times] of this.failed) this.failed.set(item, Math.min(times, SHEET_TRIES - 1));
  }

  /** Forget all pictures; the texture stays. */
  clear() {
    for (const kept of [this.slots, this.wanted, this.asked, this.failed]) kept.clear();
  }
}

/**
 * @typedef {{tier: CellTier, items: number[], abort: AbortController}} Flight
 * @typedef {{tier: CellTier, items: number[], sheet: Uint8Array[], next: number}} Arrival
 * @typedef {(cell: number, body: Uint8Array, signal: AbortSignal) => Promise<ArrayBuffer>} AskSheet
 */

/** Fetches what is wanted, the newest view first, and hands it to the graphics card in small bites. */
export class Pictures {
  /**
   * @param {WebGL2RenderingContext} gl
   * @param {AskSheet} ask
   * @param {() => void} ready called when there is something new to show
   */
  constructor(gl, ask, ready) {
    this.ask = ask;
    this.ready = ready;
    this.small = new CellTier(gl, 64, 16, 4);
    this.sharp = new CellTier(gl, 128, 4, 2);
    this.tiers = [this.small, this.sharp];
    /** @type {Set<Flight>} */
    this.flights = new Set();
    /** @type {Arrival[]} */
    this.arrived = [];
    this.pausedUntil = 0;
    this.patience = SHEET_PATIENCE;
    /** @type {number | undefined} the timer of one more chance */
    this.chance = undefined;
    this.pen = /** @type {CanvasRenderingContext2D} */ (
      document.createElement('canvas').getContext('2d', { willReadFrequently: true })
    );
  }

  /**
   * Say which pictures the view needs; what is on its way for another view is called back.
   * @param {number[]} small nearest to the middle of the view first
   * @param {number[]} sharp the same, of those shown bigger than a small cell
   */
  want(small, sharp) {
    this.small.want(small);
    this.sharp.want(sharp);
    for (const { tier, items, abort } of this.flights) {
      if (!items.some((item) => tier.wanted.has(item))) abort.abort();
    }
    this.pump();
  }

  /** Ask for what is missing, as far as there is room on the way. */
  pump() {
    while (this.flights.size < SHEET_FLIGHTS && this.arrived.length < SHEET_BACKLOG && performance.now() >= this.pausedUntil) {
      const tier = this.tiers.find((one) => one.missing().length);
      if (!tier) return;
      this.fly(tier, tier.missing());
    }
  }

  /**
   * @param {CellTier} tier
   * @param {number[]} items
   */
  async fly(tier, items) {
    const flight = { tier, items, abort: new AbortController() };
    const { signal } = flight.abort;
    this.flights.add(flight);
    for (const item of items) tier.asked.add(item);
    try {
      const bytes = await this.ask(tier.cell, new Uint8Array(Uint32Array.from(items).buffer), signal);
      const sheet = await this.decoded(bytes, tier, items.length);
      signal.throwIfAborted();
      this.arrived.push({ tier, items, sheet, next: 0 });
      for (const { failed } of this.tiers) failed.clear(); // the server is well
    } catch (error) {
      for (const item of items) tier.asked.delete(item);
      if (!signal.aborted) this.miss(flight, error);
    }
    this.flights.delete(flight);
    this.ready();
  }

  /**
   * What failed is asked for once more, later; then its place stays grey until another sheet
   * arrives, or for half a minute.
   * @param {Flight} flight
   * @param {unknown} error
   */
  miss({ tier, items }, error) {
    if (!(error instanceof MapError)) console.warn('Thumbnails that could not be loaded:', error);
    for (const item of items) tier.failed.set(item, (tier.failed.get(item) ?? 0) + 1);
    this.pausedUntil = performance.now() + ASK_AGAIN;
    clearTimeout(this.later);
    this.later = setTimeout(() => this.ready(), ASK_AGAIN + 1);
    this.chance ??= setTimeout(() => {
      this.chance = undefined;
      for (const one of this.tiers) one.forgive();
      this.ready();
    }, this.patience);
  }

  /**
   * The pixels of a sheet, and of its smaller copies.
   * @param {ArrayBuffer} bytes
   * @param {CellTier} tier
   * @param {number} count of pictures on it
   * @returns {Promise<Uint8Array[]>}
   */
  async decoded(bytes, tier, count) {
    const bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: 'none' });
    const { canvas } = this.pen;
    const height = Math.ceil(count / tier.columns) * tier.cell;
    const fits = bitmap.width === SHEET_SIDE && bitmap.height >= height;
    Object.assign(canvas, { width: SHEET_SIDE, height });
    this.pen.drawImage(bitmap, 0, 0);
    bitmap.close();
    if (!fits) throw new MapError('The server sent a sheet of thumbnails of another size. Reload the page.');
    const whole = this.pen.getImageData(0, 0, SHEET_SIDE, height).data;
    const levels = [new Uint8Array(whole.buffer)];
    for (let level = 1; level < tier.levels; level++) {
      levels.push(halfSize(levels[level - 1], SHEET_SIDE >> (level - 1), height >> (level - 1)));
    }
    return levels;
  }

  /**
   * Give the graphics card some of what has arrived; returns whether there is more.
   * @param {'moving' | 'still'} hands whether somebody moves the map and must not wait
   */
  upload(hands) {
    const until = performance.now() + UPLOAD_MS[hands];
    while (this.arrived.length) {
      const arrival = this.arrived[0];
      const { tier, items, sheet, next } = arrival;
      const row = items.slice(next, next + tier.columns);
      for (const item of row) tier.asked.delete(item);
      tier.write(row, sheet, next);
      arrival.next += row.length;
      if (arrival.next >= items.length) this.arrived.shift();
      if (performance.now() > until) break;
    }
    this.pump();
    return this.arrived.length > 0;
  }

  /** Forget everything: the items are others now. */
  clear() {
    for (const { abort } of this.flights) abort.abort();
    clearTimeout(this.later);
    clearTimeout(this.chance);
    this.chance = undefined;
    this.arrived = [];
    this.pausedUntil = 0;
    for (const tier of this.tiers) tier.clear();
  }
}
