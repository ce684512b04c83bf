// @ts-check
// A label that was typed counts. Streamlit's select box throws typed text away unless Return is
// pressed: the field then holds the label before it, and a click on Label would give that one.

/** @typedef {{parentElement: HTMLElement | ShadowRoot, data: {fields: string[]}}} Arguments */

/** Presses Return for the curator who leaves a field. */
export default function keepTyped(/** @type {Arguments} */ { data }) {
  const away = new AbortController();
  const leave = (/** @type {Event} */ event) => {
    const field = document.activeElement;
    const open = field instanceof HTMLInputElement && field.getAttribute('aria-expanded') === 'true';
    if (!open || !field.value || !data.fields.some((one) => field.closest(`.st-key-${one}`))) return;
    const list = document.getElementById(field.getAttribute('aria-controls') ?? '');
    const target = /** @type {Node} */ (event.target);
    if (event.type === 'pointerdown' && (field.parentElement?.contains(target) || list?.contains(target))) return;
    field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
  };
  const options = { capture: true, signal: away.signal };
  document.addEventListener('pointerdown', leave, options);
  document.addEventListener('keydown', (event) => event.key === 'Tab' && leave(event), options);
  return () => away.abort();
}
