// @ts-check
// Mouse, pen, fingers and keys become calls of the map.
import { ACTIONS } from './chrome.js';

/** @typedef {import('./lasso.js').Mode} Mode */
/**
 * @typedef {{kind: 'pan' | 'lasso' | 'box', mode: Mode, start: [number, number],
 *   last: [number, number], path: number[], far: boolean}} Drag
 */

const STEP = 3; // pixels between two points of a lasso
const SLOP = 4; // pixels that a click may wander
const ARROWS = { ArrowLeft: [70, 0], ArrowRight: [-70, 0], ArrowUp: [0, 70], ArrowDown: [0, -70] };

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
    on('pointerleave', () => map.leave());
    on('wheel', (event) => this.wheel(event));
    on('dblclick', (event) => this.double(event));
    on('keydown', (event) => this.key(event));
    on('contextmenu', (event) => this.onMap(event) && event.preventDefault());
    root.addEventListener('focusout', () => map.flush(), { signal });
  }

  /** @param {Event} event whether it happened on the map itself, not on a panel */
  onMap(event) {
    const target = /** @type {HTMLElement} */ (event.composedPath()[0]);
    return !target.closest?.('.tools, .legend, .veil');
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
    return event.shiftKey ? 'add' : event.altKey ? 'subtract' : this.map.mode;
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (!this.onMap(event)) return;
    this.map.root.focus({ preventScroll: true });
    this.map.root.setPointerCapture(event.pointerId);
    this.map.hover(null);
    const at = this.at(event);
    if (event.pointerType === 'touch') {
      this.fingers.set(event.pointerId, at);
      if (this.fingers.size > 1) {
        this.stop();
        return;
      }
    }
    const { tool } = this.map;
    const draws = event.button === 0 && (tool !== 'pan' || event.shiftKey || event.altKey);
    const kind = !draws ? 'pan' : tool === 'box' ? 'box' : 'lasso';
    this.drag = { kind, mode: this.mode(event), start: at, last: at, path: [...at], far: false };
  }

  /** @param {PointerEvent} event */
  move(event) {
    const at = this.at(event);
    if (this.fingers.size > 1) this.pinch(event.pointerId, at);
    else if (this.drag) this.dragTo(this.drag, at);
    else if (event.pointerType !== 'touch') this.map.hover(this.onMap(event) ? at : null);
  }

  /**
   * @param {Drag} drag
   * @param {[number, number]} at
   */
  dragTo(drag, at) {
    const [dx, dy] = [at[0] - drag.last[0], at[1] - drag.last[1]];
    drag.far ||= Math.hypot(at[0] - drag.start[0], at[1] - drag.start[1]) >= SLOP;
    if (!drag.far) return;
    if (drag.kind === 'lasso') {
      if (Math.hypot(dx, dy) < STEP) return;
      drag.path.push(...at);
    } else if (drag.kind === 'box') drag.path = [...drag.start, ...at];
    else this.map.panBy(dx, dy);
    drag.last = at;
    if (drag.kind !== 'pan') this.map.sketch(drag.kind, drag.path);
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
    this.stop();
    if (!drag.far) {
      if (event.button === 0) this.map.clickAt(drag.start, drag.mode);
    } else if (drag.kind !== 'pan') this.map.selectShape(drag.kind, drag.path, drag.mode);
  }

  /** @param {number} id */
  cancel(id) {
    this.fingers.delete(id);
    this.stop();
  }

  stop() {
    this.drag = null;
    this.map.sketch(null, []);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    if (!this.onMap(event)) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : event.deltaMode === 2 ? 400 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0016; // a pinch on a touchpad arrives as ctrl + wheel
    this.map.hover(null);
    this.map.zoomAt(...this.at(event), Math.exp(-event.deltaY * lines * speed));
  }

  /** @param {MouseEvent} event */
  double(event) {
    if (this.onMap(event)) this.map.doubleAt(this.at(event), this.mode(event));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {HTMLElement} */ (event.composedPath()[0]);
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest('input, select')) return;
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
    if (event.key === 'Escape' && this.drag) this.stop();
    else if (arrow && target === map.root) map.lookAround(arrow[0], arrow[1]);
    else if (event.key === 'Enter' && target === map.root) map.pickMiddle(this.mode(event));
    else if (event.key === 'z') map.fitSelection();
    else {
      const key = event.key === '=' ? '+' : event.key;
      const action = ACTIONS.find((one) => one.key && one.key === (key.length === 1 ? key.toLowerCase() : key));
      if (!action || (action.name === 'clear' && !map.selectedCount)) return false;
      action.does(map);
    }
    return true;
  }
}
