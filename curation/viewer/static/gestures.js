// @ts-check
// Mouse, pen, fingers and keys become calls of the map.
import { BRUSH } from './brush.js';
import { ACTIONS } from './chrome.js';

/** @typedef {import('./lasso.js').Mode} Mode */
/**
 * @typedef {{kind: import('./stage.js').Tool, mode: Mode, start: [number, number],
 *   last: [number, number], path: number[], far: boolean, trail: [number, number, number][]}} Drag
 */

const STEP = 3; // pixels between two points of a lasso
const SLOP = 4; // pixels that a click may wander
const LONG = 450; // ms after which a finger that rests asks what is under it
const MEMORY = 120; // ms of a drag that say how fast it was at the end
const PAUSE = 60; // ms without movement before the release: the map was put down, not thrown
const NOTCH = 60; // pixels from which a turn is one of a wheel with notches, and eased
const ARROWS = { ArrowLeft: [70, 0], ArrowRight: [-70, 0], ArrowUp: [0, 70], ArrowDown: [0, -70] };

/** Keys that mean what another does. @type {Record<string, string>} */
const ALSO = { '=': '+', 0: 'f', Delete: 'Escape' };

/** Listens to one map's root until `signal` aborts. */
export class Gestures {
  /**
   * @param {import('./map.js').CurationMap} map
   * @param {AbortSignal} signal
   */
  constructor(map, signal) {
    this.map = map;
    /** @type {Drag | null} */
    this.drag = null;
    /** @type {Map<number, [number, number]>} fingers on the map */
    this.fingers = new Map();
    const root = map.root;
    const on = (/** @type {string} */ name, /** @type {(event: any) => void} */ does) =>
      root.addEventListener(name, does, { signal, passive: false });
    on('pointerdown', (event) => this.down(event));
    on('pointermove', (event) => this.move(event));
    on('pointerup', (event) => this.up(event));
    on('pointercancel', (event) => this.cancel(event.pointerId));
    on('pointerleave', (event) => this.away(event));
    on('wheel', (event) => this.wheel(event));
    on('dblclick', (event) => this.double(event));
    on('keydown', (event) => this.key(event));
    on('contextmenu', (event) => this.onMap(event) && event.preventDefault());
    root.addEventListener('focusout', () => map.flush(), { signal });
    for (const name of /** @type {const} */ (['keydown', 'keyup'])) {
      addEventListener(name, (event) => this.hold(event), { signal, capture: true });
    }
    addEventListener('blur', () => map.holdMode(null), { signal });
  }

  /** @param {Event} event whether it happened on the map itself, not on a panel */
  onMap(event) {
    const target = /** @type {HTMLElement} */ (event.composedPath()[0]);
    return target === this.map.root || target.parentElement === this.map.root && target.tagName === 'CANVAS';
  }

  /** The mode that the keys held down stand for. @param {MouseEvent | KeyboardEvent} event @returns {Mode | null} */
  heldBy(event) {
    if (event.shiftKey && event.altKey) return 'intersect';
    return event.shiftKey ? 'add' : event.altKey ? 'subtract' : null;
  }

  /** Show what Shift and Alt would do, as long as the hands are on the map. @param {KeyboardEvent} event */
  hold(event) {
    if (event.key !== 'Shift' && event.key !== 'Alt') return;
    const here = this.map.root.matches(':hover, :focus-within');
    this.map.holdMode(here ? this.heldBy(event) : null);
    if (here && event.key === 'Alt' && event.type === 'keyup') event.preventDefault(); // else a menu opens
  }

  /** @param {PointerEvent} event */
  away(event) {
    this.map.chrome.pointAt(null);
    if (event.pointerType === 'touch') this.map.flush();
    else this.map.leave();
  }

  /**
   * @param {MouseEvent} event
   * @returns {[number, number]}
   */
  at(event) {
    const box = this.map.root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** @param {MouseEvent | KeyboardEvent} event @returns {Mode} */
  mode(event) {
    return this.heldBy(event) ?? this.map.mode;
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (!this.onMap(event)) return;
    this.map.root.focus({ preventScroll: true });
    this.map.root.setPointerCapture(event.pointerId);
    this.map.hover(null);
    this.map.land();
    const at = this.at(event);
    if (event.pointerType === 'touch') {
      this.fingers.set(event.pointerId, at);
      if (this.fingers.size > 1) {
        this.stop();
        return;
      }
    }
    const { tool } = this.map;
    const held = event.shiftKey || event.altKey; // with which an orbit is moved, and everything else selected
    const draws = event.button === 0 && (tool !== 'pan' || (held && !this.map.arrangement.turns));
    const kind = !draws ? 'pan' : tool === 'pan' ? 'lasso' : tool;
    this.drag = { kind, mode: this.mode(event), start: at, last: at, path: [...at], far: false, trail: [] };
    if (event.pointerType === 'touch') this.rest(at);
    if (kind === 'brush') this.brush(this.drag, at);
  }

  /** A finger that stays where it is asks for the card. @param {[number, number]} at */
  rest(at) {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      if (!this.drag || this.drag.far) return;
      this.stop();
      this.map.hover(at);
    }, LONG);
  }

  /**
   * @param {Drag} drag
   * @param {[number, number]} at
   */
  brush(drag, at) {
    this.map.brushTo(at, drag.mode);
    this.map.sketch('brush', drag.path, this.map.memory.radius);
  }

  /** @param {PointerEvent} event */
  move(event) {
    const at = this.at(event);
    const mouse = event.pointerType !== 'touch';
    this.map.chrome.pointAt(mouse && (this.drag || this.onMap(event)) ? at : null);
    if (mouse) this.map.holdMode(this.heldBy(event));
    if (this.fingers.size > 1) this.pinch(event.pointerId, at);
    else if (this.drag) this.dragTo(this.drag, at, event.timeStamp);
    else if (mouse) this.map.hover(this.onMap(event) ? at : null);
  }

  /**
   * @param {Drag} drag
   * @param {[number, number]} at
   * @param {number} now ms
   */
  dragTo(drag, at, now) {
    const [dx, dy] = [at[0] - drag.last[0], at[1] - drag.last[1]];
    drag.far ||= Math.hypot(at[0] - drag.start[0], at[1] - drag.start[1]) >= SLOP;
    if (!drag.far) return;
    if (drag.kind === 'box') drag.path = [...drag.start, ...at];
    else if (drag.kind === 'pan') {
      this.map.dragBy(dx, dy, drag.mode === 'add');
      drag.trail.push([now, ...at]);
    } else {
      if (Math.hypot(dx, dy) < STEP) return;
      drag.path.push(...at);
    }
    drag.last = at;
    if (drag.kind === 'brush') this.brush(drag, at);
    else if (drag.kind !== 'pan') this.map.sketch(drag.kind, drag.path);
  }

  /**
   * Let the map run on as fast as the hand was when it let go.
   * @param {Drag} drag
   * @param {number} now ms
   */
  throwOn({ trail }, now) {
    const last = trail.at(-1);
    const first = trail.find(([when]) => when >= now - MEMORY);
    if (this.map.arrangement.turns || !last || !first || now - last[0] > PAUSE || last[0] <= first[0]) return;
    const took = last[0] - first[0];
    this.map.glide((last[1] - first[1]) / took, (last[2] - first[2]) / took);
  }

  /**
   * Two fingers move and zoom.
   * @param {number} id
   * @param {[number, number]} at
   */
  pinch(id, at) {
    if (!this.fingers.has(id)) return;
    const spread = () => {
      const [a, b] = [...this.fingers.values()];
      const middle = /** @type {[number, number]} */ ([(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
      return { middle, wide: Math.hypot(a[0] - b[0], a[1] - b[1]) || 1 };
    };
    const before = spread();
    this.fingers.set(id, at);
    const after = spread();
    this.map.panBy(after.middle[0] - before.middle[0], after.middle[1] - before.middle[1]);
    this.map.zoomAt(...after.middle, after.wide / before.wide);
  }

  /** @param {PointerEvent} event */
  up(event) {
    const pinched = this.fingers.size > 1;
    this.fingers.delete(event.pointerId);
    const { drag } = this;
    if (!drag || pinched) return;
    if (drag.kind === 'brush') this.map.liftBrush(true);
    this.stop();
    if (drag.kind === 'brush') return;
    if (!drag.far) {
      if (event.button === 0) this.map.clickAt(drag.start, drag.mode);
    } else if (drag.kind === 'pan') this.throwOn(drag, event.timeStamp);
    else this.map.selectShape(drag.kind, drag.path, drag.mode);
  }

  /** @param {number} id */
  cancel(id) {
    this.fingers.delete(id);
    this.stop();
  }

  /** End the drag, and drop what it has drawn. */
  stop() {
    clearTimeout(this.resting);
    this.drag = null;
    this.map.liftBrush(false);
    this.map.sketch(null, []);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    if (!this.onMap(event)) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : event.deltaMode === 2 ? 400 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0016; // a pinch on a touchpad arrives as ctrl + wheel
    const turn = (event.deltaY || event.deltaX) * lines; // Shift turns the wheel sideways
    const { map } = this;
    if (this.drag && this.drag.kind !== 'pan') return; // what is being drawn stands still
    map.hover(null);
    if (event.altKey && map.tool === 'brush') map.resizeBrush(Math.exp(-turn * speed));
    else if (Math.abs(turn) < NOTCH) map.zoomAt(...this.at(event), Math.exp(-turn * speed));
    else map.rollAt(...this.at(event), Math.exp(-turn * speed));
  }

  /** @param {MouseEvent} event */
  double(event) {
    if (this.map.tool === 'brush') return; // two dabs
    if (this.onMap(event)) this.map.doubleAt(this.at(event), this.mode(event));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { keySheet } = this.map;
    if (keySheet.shown) return keySheet.key(event); // wherever the focus went meanwhile
    const target = /** @type {HTMLElement} */ (event.composedPath()[0]);
    const typed = event.getModifierState('AltGraph'); // [ and ] on many keyboards
    if (!typed && (event.ctrlKey || event.metaKey || (event.altKey && event.key !== 'Enter'))) return;
    if (target.closest('input, select')) return;
    if (this.handled(event, target)) {
      // Streamlit has keys of its own on the page (r runs the script again, c clears its cache).
      event.preventDefault();
      event.stopPropagation();
    }
  }

  /**
   * @param {KeyboardEvent} event
   * @param {HTMLElement} target
   */
  handled(event, target) {
    const { map } = this;
    const arrow = ARROWS[/** @type {keyof typeof ARROWS} */ (event.key)];
    const size = { '[': 1 / BRUSH.step, ']': BRUSH.step }[event.key];
    if (this.drag && this.drag.kind !== 'pan') {
      if (event.key === 'Escape') this.stop();
    } else if (size) map.resizeBrush(size);
    else if (event.key === 'Backspace' && event.shiftKey) map.step(1);
    else if (arrow && target === map.root) map.lookAround(arrow[0], arrow[1]);
    else if (event.key === 'Enter' && target === map.root) map.pickMiddle(this.mode(event));
    else {
      const key = ALSO[event.key] ?? event.key;
      const action = ACTIONS.find((one) => one.key && one.key === (key.length === 1 ? key.toLowerCase() : key));
      if (!action || (action.name === 'clear' && !map.selectedCount)) return false;
      action.does(map);
    }
    return true;
  }
}
