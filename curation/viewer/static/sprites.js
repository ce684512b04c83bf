// @ts-check
// Thumbnails on the map: which items show theirs, how big, and how they are drawn.
import { Pictures } from './cells.js';
import { FILTERED, MUTED, SELECTED } from './points.js';
import { linked } from './targets.js';

const MOST_NEAR = 20000; // items around the view from which there are only points
const FEW_NEAR = 4000; // items in view of which any share of thumbnails is fair
const FAIR_SHARE = 0.05; // of the items in view that must have room for a thumbnail
const ENTER_ZOOM = 1.6; // zoom from which there are thumbnails
const LEAVE_AT = 0.82; // of what makes them appear; below they go
const SMALLEST_SPRITE = 34; // pixels of a thumbnail when they appear
const BIGGEST_SPRITE = 128;
const ROOMY_AT = 20; // pixels between neighbours until which they stay at their smallest
const SPRITE_GROWTH = 0.36; // power of the zoom with which they grow; below 1, so that room grows faster
const SPRITES_APART = 4; // pixels between two thumbnails
const AROUND_VIEW = 0.25; // of the view's longer side that is chosen and fetched beyond its edges
const RECHOOSE = 120; // ms between two choices while the map moves
const SPRITE_FADING = 150; // ms
const FIRST_STEP = 16; // ms of it in the first frame
const SMALLEST_CELL = 10; // device pixels of a layout's cell from which it shows its picture
const SHARP_FROM = 80; // device pixels from which the sharper cells are used
const SPRITE_RAISED = 1.15; // the hovered one
const FAINT = 0.3; // what is not selected, or filtered out
const SPRITE_FLOATS = 10; // of one instance

const SPRITE_VERTEX = `#version 300 es
precision highp float;
layout(location=0) in vec2 aPlace;
layout(location=1) in vec4 aLook; // grown by, alpha, how much of the picture, texel of the palette
layout(location=2) in vec4 aCell; // slot, 1 = sharp, 1 = selected, 1 = grey
uniform vec2 uCenter, uScale, uPixel;
uniform float uSide, uDpr, uShade;
uniform sampler2D uPalette;
out vec2 vAt;
flat out vec4 vLook; // half a side, alpha, how much of the picture, 1 = selected
flat out vec4 vCell; // column, row, layer, 1 = sharp
flat out vec3 vColor;
flat out float vLod, vGrey;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2. - 1.;
  float half_ = .5 * uSide * aLook.x + (aCell.z > 0. ? 1.5 * uDpr : 0.);
  vAt = corner * (half_ + uShade);
  gl_Position = vec4((aPlace - uCenter) * uScale + vAt * uPixel, 0., 1.);
  int texel = int(aLook.w);
  vColor = texelFetch(uPalette, ivec2(texel & 255, texel >> 8), 0).rgb;
  float columns = aCell.y > 0. ? 8. : 16.;
  float layer = floor(aCell.x / (columns * columns));
  float within = aCell.x - layer * columns * columns;
  vCell = vec4(mod(within, columns), floor(within / columns), layer, aCell.y);
  vLook = vec4(half_, aLook.yz, aCell.z);
  vGrey = aCell.w;
  // one level and not two mixed: crisper, and half the work
  vLod = clamp(floor(log2(1024. / columns / (2. * half_)) + .2), 0., aCell.y > 0. ? 1. : 3.);
}`;

const SPRITE_FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler2DArray;
in vec2 vAt;
flat in vec4 vLook, vCell;
flat in vec3 vColor;
flat in float vLod, vGrey;
uniform sampler2DArray uSmall, uSharp;
uniform float uDpr, uLine, uRound, uShade;
uniform vec3 uInk, uPaper;
out vec4 color;
vec3 seen(float line) {
  vec3 waits = mix(uPaper, mix(uInk, vColor, .55), .22);
  if (vLook.z <= 0.) return waits;
  vec2 at = vec2(vAt.x, -vAt.y) / max(1., vLook.x - line) * .5 + .5;
  float columns = vCell.w > 0. ? 8. : 16.;
  float inset = .5 * exp2(vLod) * columns / 1024.; // half a pixel: nothing of the neighbour's
  vec3 place = vec3((vCell.xy + clamp(at, inset, 1. - inset)) / columns, vCell.z);
  vec3 picture = vCell.w > 0. ? textureLod(uSharp, place, vLod).rgb : textureLod(uSmall, place, vLod).rgb;
  return mix(waits, picture, vLook.z);
}
void main() {
  bool chosen = vLook.w > 0.;
  float line = uLine + (chosen ? 2. * uDpr : 0.);
  vec3 paint = seen(line);
  float alpha = 1.;
  vec2 reach = abs(vAt) - vLook.x;
  if (max(reach.x, reach.y) > -line - uRound) { // all but the inside, which is most of it
    vec2 corner = reach + uRound;
    float away = length(max(corner, 0.)) + min(max(corner.x, corner.y), 0.) - uRound; // pixels outside
    float inside = clamp(.5 - away, 0., 1.);
    float shade = uShade > 0. ? clamp(1. - away / uShade, 0., 1.) : 0.;
    vec3 edge = mix(vColor, uInk, chosen ? clamp(away + 3. * uDpr + .5, 0., 1.) * .88 : 0.);
    paint = mix(paint, edge, clamp(away + line + .5, 0., 1.)) * inside;
    alpha = inside + (1. - inside) * shade * shade * .26;
  }
  if (vGrey > 0.) paint = vec3(.35 * alpha + .4 * dot(paint, vec3(.3, .59, .11)));
  color = vec4(paint, alpha) * vLook.y;
}`;

/** The squares on the graphics card: one draw of instances, coloured by the points' palette. */
class SpriteLayer {
  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    this.linked = linked(gl, SPRITE_VERTEX, SPRITE_FRAGMENT);
    this.array = gl.createVertexArray();
    this.buffer = gl.createBuffer();
    gl.bindVertexArray(this.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    [[0, 2, 0], [1, 4, 8], [2, 4, 24]].forEach(([slot, size, at]) => {
      gl.enableVertexAttribArray(slot);
      gl.vertexAttribPointer(slot, size, gl.FLOAT, false, 4 * SPRITE_FLOATS, at);
      gl.vertexAttribDivisor(slot, 1);
    });
    gl.bindVertexArray(null);
    // A sampler that is never read still wants a texture of its kind.
    this.nothing = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.nothing);
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.RGBA8, 1, 1, 1);
  }

  /**
   * @param {Float32Array} instances
   * @param {{camera: import('./camera.js').Camera, dpr: number, side: number, line: number, round: number,
   *   shade: number, ink: import('./points.js').Rgb, paper: import('./points.js').Rgb,
   *   palette: WebGLTexture | null, small: WebGLTexture | null, sharp: WebGLTexture | null}} look pixels of CSS
   */
  draw(instances, { camera, dpr, side, line, round, shade, ink, paper, palette, small, sharp }) {
    const { gl } = this;
    const { program, at } = this.linked;
    gl.useProgram(program);
    gl.bindVertexArray(this.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, instances, gl.DYNAMIC_DRAW);
    [small, sharp].forEach((texture, k) => {
      gl.activeTexture(gl.TEXTURE1 + k);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture ?? this.nothing);
    });
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, palette);
    gl.uniform1i(at.Palette, 0);
    gl.uniform1i(at.Small, 1);
    gl.uniform1i(at.Sharp, 2);
    gl.uniform2f(at.Center, camera.x, camera.y);
    gl.uniform2f(at.Scale, (2 * camera.scale) / camera.width, (2 * camera.scale) / camera.height);
    gl.uniform2f(at.Pixel, 2 / gl.drawingBufferWidth, 2 / gl.drawingBufferHeight);
    gl.uniform1f(at.Side, side * dpr);
    gl.uniform1f(at.Dpr, dpr);
    gl.uniform1f(at.Line, line * dpr);
    gl.uniform1f(at.Round, round * dpr);
    gl.uniform1f(at.Shade, shade * dpr);
    gl.uniform3f(at.Ink, ...ink);
    gl.uniform3f(at.Paper, ...paper);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, instances.length / SPRITE_FLOATS);
    gl.bindVertexArray(null);
  }
}

/**
 * Those of some items whose squares overlap none taken before.
 * @param {Iterable<number>} items in the order of their right to a place
 * @param {import('./points.js').Places} places
 * @param {[number, number, number, number]} box that holds them all
 * @param {number} side of a square, in units of the world
 * @returns {number[]}
 */
export function apart(items, { x: xs, y: ys }, [x0, y0, x1, y1], side) {
  const columns = Math.ceil((x1 - x0) / side) + 3;
  // One cell holds at most one: two in it would overlap. So the neighbours of a cell are all.
  const taken = new Int32Array(columns * (Math.ceil((y1 - y0) / side) + 3)).fill(-1);
  const beside = [0, -1, 1, -columns, columns, -columns - 1, -columns + 1, columns - 1, columns + 1];
  const accepted = [];
  for (const item of items) {
    const cell = (Math.floor((ys[item] - y0) / side) + 1) * columns + Math.floor((xs[item] - x0) / side) + 1;
    const free = beside.every((step) => {
      const other = taken[cell + step];
      return other < 0 || Math.abs(xs[other] - xs[item]) >= side || Math.abs(ys[other] - ys[item]) >= side;
    });
    if (!free) continue;
    taken[cell] = item;
    accepted.push(item);
  }
  return accepted;
}

/**
 * @typedef {{item: number, x: number, y: number, fromX: number, fromY: number, alpha: number,
 *   picture: number, stays: boolean}} Sprite one thumbnail: where it is, where it came from
 */

/** Chooses, fetches, fades and draws the thumbnails of one map. */
export class Thumbnails {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    /** @type {Map<number, Sprite>} what is on the screen, with what is fading away */
    this.sprites = new Map();
    /** @type {number[]} the items that show a thumbnail, in and around the view */
    this.chosen = [];
    this.open = false; // whether one is near enough for thumbnails
    this.presence = 1;
    this.chosenAt = 0;
    this.seenAt = 0;
    this.fading = false;
    this.key = '';
    this.spacing = 0;
    this.version = '';
    /** @type {import('./points.js').PointLayer | undefined} the context that everything here belongs to */
    this.owner = undefined;
    /** @type {Pictures | null} */
    this.pictures = null;
    /** @type {SpriteLayer | null} */
    this.layer = null;
    /** @type {import('./points.js').Places | null} */
    this.places = null;
    /** @type {import('./lasso.js').GridIndex | null} */
    this.index = null;
    /** @type {Uint8Array | null | undefined} */
    this.state = null;
  }

  /** Draw in the present frame, and ask for another while something fades or arrives. */
  frame() {
    const { map } = this;
    if (!map.layer || !map.n || !this.made()) return;
    const now = performance.now();
    this.follow();
    const key = [map.camera.x, map.camera.y, map.camera.scale, map.camera.width, map.camera.height,
      map.memory.thumbnails, map.cell, map.part < 1].join(' ');
    // A turned orbit keeps its places and drops their index.
    const moved = this.places !== map.places || this.index !== map.index;
    const stale = moved || key !== this.key || this.state !== map.state;
    if (stale && (!map.moving || now - this.chosenAt >= RECHOOSE)) {
      Object.assign(this, { key, state: map.state, places: map.places, chosenAt: now });
      this.choose();
      this.index = map.index;
    }
    const more = this.pictures?.upload(map.moving ? 'moving' : 'still');
    // The frame before may be long ago, where nothing was on its way.
    const passed = this.fading ? now - this.seenAt : FIRST_STEP;
    this.fading = this.fade(map.still.matches ? Infinity : passed);
    this.seenAt = now;
    this.draw();
    if (more || this.fading) map.touch();
  }

  /** Have everything that belongs to the present context and atlas; false where nothing is wanted yet. */
  made() {
    const { map } = this;
    if (this.owner === map.layer && this.version === map.version) return this.pictures !== null || this.begin();
    this.pictures?.clear();
    if (this.owner !== map.layer) this.pictures = this.layer = null;
    Object.assign(this, { owner: map.layer, version: map.version, open: false, chosen: [], key: '' });
    this.sprites.clear();
    this.spacing = this.spacingOf(map.levels, map.n);
    return this.pictures !== null || this.begin();
  }

  /** Make the graphics card's part when it is first of use. */
  begin() {
    const { map } = this;
    if (!map.gl || !map.memory.thumbnails || (!map.cell && map.camera.zoom < ENTER_ZOOM)) return false;
    const ask = (/** @type {number} */ cell, /** @type {Uint8Array} */ body, /** @type {AbortSignal} */ signal) =>
      map.ask(`sheet/${this.version}?cell=${cell}`, { body, signal });
    this.pictures = new Pictures(map.gl, ask, () => map.touch());
    this.layer = new SpriteLayer(map.gl);
    return true;
  }

  /** Free everything and call back what is on its way. */
  close() {
    this.pictures?.clear();
    this.pictures = this.layer = null;
    this.owner = undefined;
  }

  /**
   * World units between neighbours, on average where there are any: the finest level on which a
   * cell still holds several items tells how much of the map is covered.
   * @param {number[]} levels
   * @param {number} n
   */
  spacingOf(levels, n) {
    const level = Math.max(0, Math.min(4, Math.floor(Math.log2(n / 64) / 2)));
    const cells = levels[Math.min(level + 1, levels.length - 1)] ?? 1;
    return (65536 / (4 << level)) * Math.sqrt(cells / n);
  }

  /** Pixels of a thumbnail's side. */
  get side() {
    const { cell, camera } = this.map;
    if (cell) return Math.max(1, cell * camera.scale - 1);
    const grown = SMALLEST_SPRITE * ((this.spacing * camera.scale) / ROOMY_AT) ** SPRITE_GROWTH;
    return Math.max(SMALLEST_SPRITE, Math.min(BIGGEST_SPRITE, grown));
  }

  // ---- which -----------------------------------------------------------------------------------

  /** Decide which items show their thumbnail, and say which pictures that takes. */
  choose() {
    const { map } = this;
    const { camera } = map;
    const box = map.viewBox(AROUND_VIEW * Math.max(camera.width, camera.height));
    const items = this.candidates(box);
    const chosen = !items ? [] : map.cell ? [...items] : this.sample(items, box);
    this.open = items !== null && this.opened(items, chosen);
    this.chosen = this.open ? chosen : [];
    const keep = new Set(this.chosen);
    for (const sprite of this.sprites.values()) sprite.stays = keep.has(sprite.item);
    for (const item of this.chosen) if (!this.sprites.has(item)) this.sprites.set(item, this.spriteOf(item));
    this.order();
  }

  /** @param {number} item @returns {Sprite} */
  spriteOf(item) {
    const { x, y } = this.map.places;
    return { item, x: x[item], y: y[item], fromX: x[item], fromY: y[item], alpha: 0, picture: 0, stays: true };
  }

  /**
   * The items that may show one, in wire order, or null where they are too many or too small.
   * @param {[number, number, number, number]} box
   */
  candidates(box) {
    const { map } = this;
    const { cell, camera, dpr = 1 } = map;
    if (!map.memory.thumbnails) return null;
    if (cell ? cell * camera.scale * dpr < SMALLEST_CELL : camera.zoom < ENTER_ZOOM * LEAVE_AT) return null;
    return map.located.within(box, MOST_NEAR);
  }

  /**
   * An even sample of the items with room for each: those shown already first, so that nothing
   * jumps while one moves, then in wire order, and what is filtered out last.
   * @param {Uint32Array} items
   * @param {[number, number, number, number]} box
   */
  sample(items, box) {
    const { map, sprites } = this;
    const state = map.state ?? new Uint8Array(map.n);
    /** @type {number[][]} */
    const ranks = [[], [], []];
    for (const item of items) ranks[state[item] & FILTERED ? 2 : sprites.get(item)?.stays ? 0 : 1].push(item);
    return apart(ranks.flat(), map.places, box, (this.side + SPRITES_APART) / map.camera.scale);
  }

  /**
   * Whether thumbnails are a fair share of what there is to see.
   * @param {Uint32Array} items
   * @param {number[]} chosen
   */
  opened(items, chosen) {
    const { map } = this;
    const { x, y } = map.places;
    const [x0, y0, x1, y1] = map.viewBox();
    let seen = 0;
    for (const i of items) seen += +(x[i] >= x0 && x[i] <= x1 && y[i] >= y0 && y[i] <= y1);
    const fair = Math.max(chosen.length / Math.max(1, items.length) / FAIR_SHARE, FEW_NEAR / Math.max(1, seen));
    if (map.cell) return FEW_NEAR / Math.max(1, seen) >= (this.open ? LEAVE_AT : 1);
    const plenty = Math.min(map.camera.zoom / ENTER_ZOOM, fair);
    this.presence = Math.min(1, 0.7 + 0.3 * (plenty - LEAVE_AT) / (1 - LEAVE_AT));
    return plenty >= (this.open ? LEAVE_AT : 1);
  }

  /** Ask for the pictures: of those in view the nearest to its middle first, then those around it. */
  order() {
    const { places, camera, dpr = 1 } = this.map;
    const { x, y, scale } = camera;
    const { side } = this;
    const [x0, y0, x1, y1] = this.map.viewBox((side * SPRITE_RAISED) / 2);
    /** @type {Map<number, number>} */
    const away = new Map();
    const seen = new Set();
    for (const i of this.chosen) {
      const [px, py] = [places.x[i], places.y[i]];
      const inside = px >= x0 && px <= x1 && py >= y0 && py <= y1;
      if (inside) seen.add(i);
      away.set(i, ((px - x) ** 2 + (py - y) ** 2) * scale ** 2 + (inside ? 0 : 1e9));
    }
    const near = this.chosen.slice().sort((a, b) => (away.get(a) ?? 0) - (away.get(b) ?? 0));
    this.pictures?.want(near, side * dpr > SHARP_FROM ? near.filter((i) => seen.has(i)) : []);
  }

  // ---- how -------------------------------------------------------------------------------------

  /** Go where the items go: a change of layout is animated. */
  follow() {
    const { map } = this;
    const { x, y } = map.places;
    const turned = this.places !== null && this.places !== map.places;
    for (const sprite of this.sprites.values()) {
      if (turned) Object.assign(sprite, { fromX: sprite.x, fromY: sprite.y });
      sprite.x = map.part < 1 ? sprite.fromX + (x[sprite.item] - sprite.fromX) * map.part : x[sprite.item];
      sprite.y = map.part < 1 ? sprite.fromY + (y[sprite.item] - sprite.fromY) * map.part : y[sprite.item];
    }
    if (turned) Object.assign(this, { places: map.places, key: '' });
  }

  /** Come and go; returns whether anything is still on its way. @param {number} passed ms */
  fade(passed) {
    const step = passed / SPRITE_FADING;
    let fading = false;
    for (const sprite of this.sprites.values()) {
      const here = this.pictures?.small.slots.has(sprite.item) || this.pictures?.sharp.slots.has(sprite.item);
      sprite.alpha = Math.max(0, Math.min(1, sprite.alpha + (sprite.stays ? step : -step)));
      sprite.picture = here ? Math.min(1, sprite.picture + step) : 0;
      if (!sprite.stays && !sprite.alpha) this.sprites.delete(sprite.item);
      else fading ||= sprite.alpha !== +sprite.stays || (here === true && sprite.picture < 1);
    }
    return fading;
  }

  draw() {
    const { map, layer, pictures } = this;
    if (!layer || !pictures || !map.look || !map.layer) return;
    const { ink, paper } = map.look;
    const { side } = this;
    const seen = this.inView();
    const { dataset } = map.root;
    const shown = String(seen.filter((s) => s.stays && s.picture > 0).length);
    const wanted = String(seen.filter((s) => s.stays).length);
    if (dataset.sprites !== shown) dataset.sprites = shown;
    if (dataset.spritesWanted !== wanted) dataset.spritesWanted = wanted;
    if (!seen.length) return;
    layer.draw(this.instances(seen), {
      camera: map.camera,
      dpr: map.dpr ?? 1,
      side,
      line: Math.min(2, Math.max(map.cell ? 0.5 : 1.5, side * 0.045)),
      round: Math.min(5, side * 0.09),
      shade: map.cell ? 0 : 3,
      ink,
      paper,
      palette: map.layer.palette,
      small: pictures.small.texture,
      sharp: pictures.sharp.texture,
    });
  }

  /** The thumbnails on the screen, in the order in which they are drawn: the hovered last. */
  inView() {
    const { map } = this;
    const [x0, y0, x1, y1] = map.viewBox((this.side * SPRITE_RAISED) / 2);
    const seen = [...this.sprites.values()].filter(({ x, y }) => x >= x0 && x <= x1 && y >= y0 && y <= y1);
    const rank = (/** @type {Sprite} */ s) => (s.item === map.hovered ? 2 : +s.stays);
    return seen.sort((a, b) => rank(a) - rank(b));
  }

  /** @param {Sprite[]} seen */
  instances(seen) {
    const { map, pictures, presence } = this;
    const { column, pick, selectedCount, hovered } = map;
    const values = new Float32Array(seen.length * SPRITE_FLOATS);
    let at = 0;
    for (const { item, x, y, alpha, picture } of seen) {
      const state = map.state?.[item] ?? 0;
      const code = column?.code(item) ?? -1;
      const filtered = (state & FILTERED) > 0;
      const selected = (state & SELECTED) > 0;
      const front = !filtered && (pick !== null ? code === pick : selected);
      const fade = front ? 1 : filtered || pick !== null || selectedCount ? FAINT : 1;
      const sharp = pictures?.sharp.slots.get(item);
      values[at++] = x;
      values[at++] = y;
      values[at++] = item === hovered ? SPRITE_RAISED : 1;
      values[at++] = alpha * fade * (state & MUTED ? 0.45 : 1) * (front || map.cell ? 1 : presence);
      values[at++] = picture;
      values[at++] = code + 1;
      values[at++] = sharp ?? pictures?.small.slots.get(item) ?? 0;
      values[at++] = sharp === undefined ? 0 : 1;
      values[at++] = +selected;
      values[at++] = +filtered;
    }
    return values;
  }

  // ---- under the pointer -----------------------------------------------------------------------

  /** Whether an item shows its thumbnail now. @param {number} item */
  shows(item) {
    return this.sprites.get(item)?.stays === true;
  }

  /** Pixels across the raised thumbnail of an item, 0 where it shows none. @param {number} item */
  sizeOf(item) {
    return this.shows(item) ? this.side * SPRITE_RAISED : 0;
  }

  /** The item whose thumbnail is at a place of the screen, or -1. @param {[number, number]} at */
  at([px, py]) {
    const { map } = this;
    const [x, y] = map.camera.toWorld(px, py);
    const reach = this.side / 2 / map.camera.scale;
    for (const { item, x: sx, y: sy, stays } of this.sprites.values()) {
      const reachable = stays && !((map.state?.[item] ?? 0) & FILTERED);
      if (reachable && Math.abs(sx - x) <= reach && Math.abs(sy - y) <= reach) return item;
    }
    return -1;
  }
}
