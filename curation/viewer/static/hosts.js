// @ts-check
// Where the map and the sheet live: Streamlit's components (version 2).

/**
 * @template T
 * @typedef {{parentElement: HTMLElement | ShadowRoot, data: T,
 *   setTriggerValue: (name: string, value: unknown) => void}} StreamlitArguments
 */
/**
 * @template T
 * @typedef {{root: HTMLElement, restyle: () => void, update: (data: T) => unknown, destroy: () => void}} Guest
 */

/**
 * Streamlit calls the default export on mount and on every change of data or theme, and the
 * function that it returns at unmount only; so one guest is kept for each parent element.
 * @template {{height?: number}} T
 * @param {(parent: Node, data: T) => Guest<T>} make
 * @param {(guest: any, tell: (name: string, value: unknown) => void) => void} connect
 * @returns {(component: StreamlitArguments<T>) => () => void}
 */
export function streamlitHost(make, connect) {
  /** @type {WeakMap<object, Guest<T>>} */
  const guests = new WeakMap();
  return ({ parentElement, data, setTriggerValue }) => {
    const guest = guests.get(parentElement) ?? make(parentElement, data);
    guests.set(parentElement, guest);
    connect(guest, setTriggerValue); // a new function each time: the old one may know an old session
    // The page may fit it to its window: --atlas-map-height, --contact-sheet-height.
    guest.root.style.height = `var(--${guest.root.classList[0]}-height, ${data.height ?? 640}px)`;
    guest.restyle();
    guest.update(data);
    return () => {
      guest.destroy();
      guests.delete(parentElement);
    };
  };
}
