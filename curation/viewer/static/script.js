// @ts-check
// The script behind a page of Streamlit.

/** Whether it runs, or is about to: what is told now could end what it is doing. In a notebook never. */
export function scriptRuns() {
  const app = document.querySelector('[data-testid="stApp"]');
  const state = app?.getAttribute('data-test-script-state');
  return Boolean(state) && state !== 'notRunning';
}
