// @ts-check
// The Clean page: one sheet after the other, everything by keyboard.
import { made } from './sheet.js';
import { carryCut, Drafts, forecastOf } from './clean_drafts.js';
import { CleanTiles } from './clean_tiles.js';
import { LabelField } from './clean_field.js';
import { ProgressBar, Rail } from './clean_rail.js';
import { capOf, CleanKeys, KEYS } from './clean_keys.js';
import { Question } from './clean_ask.js';

/** @typedef {import('./clean_drafts.js').Draft} Draft */
/** @typedef {import('./clean_rail.js').Card} Card */
/**
 * @typedef {Card & {version: string, field: string, confidence: number, where: string,
 *   purity: {estimate: number, low: number, high: number} | null, doubt: number[],
 *   guesses: (string | null)[], names: {name: string, score: number, why: string}[]}} Sheet
 */
/** @typedef {{seq: number, kind: 'done' | 'note' | 'refused' | 'ask' | 'stale', text: string, sheet: string, choices: [string, Record<string, any> | null][]}} Answer */
/**
 * @typedef {{key: string, session: string, base: string, atlas: string, height?: number, field: string, mode: string,
 *   modes: string[], sheets: Sheet[], waiting: Card[], progress: import('./clean_rail.js').Progress,
 *   known: Record<string, string[]>, slots: string[], heard: number, answers: Answer[],
 *   undo: string | null, redo: string | null}} Shown
 */
/** @typedef {Record<string, any> & {seq: number, op: string}} Act */
/** @typedef {{session: string, seq: number, answered: number, outbox: Act[], flown: Map<number, {act: Act, sheet: Sheet | null}>, drafts: Drafts}} Memory */

const SURE = 0.95; // below it the page asks
const TOO_SOON = 300; // ms after a sheet appeared in which Return was meant for the one before
const AGAIN = 4000; // ms until an act is told again that was not heard
const STAYS = 120; // ms on one item until its file is fetched: an arrow key held down passes many
const PREFETCHED = 90; // thumbnails of the next sheet that are fetched before its turn
const FLOWN = 60;
const MOST = 200; // acts of one message
const REASONS = ['blurred or dark', 'cut off', 'seen twice', 'not what this is about'];
const DECIDES = ['confirm', 'refuse', 'unsure', 'exclude'];
const FIELDS = /** @type {[string, string][]} */ ([['category', 'Category'], ['instance', 'Instance']]);

/** What must outlive an unmounted page, by key. @type {Map<string, Memory>} */
const DESKS = new Map();

const count = (/** @type {number} */ value, /** @type {string} */ one) => `${value.toLocaleString('en-US')} ${value === 1 ? one : `${one}s`}`;
const percent = (/** @type {number} */ share) => String(Math.round(100 * Math.max(0, Math.min(1, share))));

/** How sure the machine is, in plain words. @param {number} confidence */
export function inPlainWords(confidence) {
  if (confidence >= 0.97) return 'almost certainly';
  if (confidence >= 0.9) return 'very probably';
  if (confidence >= 0.75) return 'probably';
  return confidence >= 0.5 ? 'perhaps' : 'hardly sure';
}

/** The page in one host element. */
export class CleaningSheet {
  /**
   * @param {Node} parent
   * @param {string} key
   */
  constructor(parent, key) {
    /** @type {Memory} */
    this.memory = DESKS.get(key) ?? { session: '', seq: 0, answered: 0, outbox: [], flown: new Map(), drafts: new Drafts(key) };
    DESKS.set(key, this.memory);
    /** @type {(message: unknown) => void} */
    this.tell = () => {};
    /** @type {Shown | null} */
    this.data = null;
    /** @type {Sheet | null} */
    this.sheet = null;
    this.left = new Set(); // keys of sheets that were answered, while the server does not know it
    this.insist = false; // the sheet came back and stays, whatever the queue makes of it
    this.undone = ''; // an act was taken back: the key of its sheet, which comes with all that was done on it
    this.shownAt = 0;
    /** @type {number | undefined} */
    this.timer = undefined;
    /** @type {HTMLImageElement[]} */
    this.fetched = [];
    /** The larger look that is shown or waited for. @type {HTMLElement | undefined} */
    this.coming = undefined;
    /** @type {number | undefined} */
    this.soon = undefined;
    this.abort = new AbortController();
    this.progress = new ProgressBar();
    this.keys = new CleanKeys();
    this.question = new Question(() => this.tiles.focus());
    this.title = made('h2', {});
    this.facts = made('p', { class: 'facts' });
    const main = made('section', { class: 'sheet', 'aria-label': 'Sheet' });
    this.tiles = new CleanTiles(main, { key: `${key} tiles`, onChange: (byHand) => this.changed(byHand) });
    this.tiles.size.addEventListener('change', () => this.tiles.focus());
    this.undo = this.button('undo', 'Undo', 'Ctrl Z');
    this.redo = this.button('redo', 'Redo', 'Ctrl ⇧ Z');
    const tools = made('div', { class: 'tools' }, this.button('split', 'Split'), this.button('twins', 'Twins'), this.button('merge', 'Merge'), this.button('like', 'More like'), this.tiles.size);
    const heading = made('header', { class: 'heading' }, made('div', {}, this.title, this.facts), tools);
    this.fields = Object.fromEntries(FIELDS.map(([name, title]) => [name, this.field(name, title)]));
    this.labels = made('div', { class: 'labels', role: 'group', 'aria-label': 'Last and suggested labels' });
    this.labels.addEventListener('click', (event) => this.chipped(event));
    this.forecast = made('p', { class: 'forecast' });
    this.confirmed = this.button('confirm', 'Confirm');
    this.confirmed.classList.add('main');
    this.refused = this.button('refuse', 'Not that');
    const answers = made('div', { class: 'answers' }, this.confirmed, this.refused, this.button('unsure', 'Not sure'), this.button('exclude', 'Exclude'), this.button('skip', 'Skip'));
    this.status = made('p', { class: 'status', role: 'status' });
    this.trouble = made('p', { class: 'trouble', role: 'alert', hidden: '' });
    const names = made('div', { class: 'names' }, ...Object.values(this.fields).map(({ root }) => root));
    this.form = made('footer', { class: 'form' }, this.trouble, this.question.root, names, this.labels, made('div', { class: 'go' }, answers, this.forecast), this.status);
    this.nothing = made('div', { class: 'nothing', hidden: '' });
    main.prepend(heading);
    main.append(this.nothing, this.form);
    this.kind = /** @type {HTMLSelectElement} */ (made('select', { 'aria-label': 'Field that is worked on' }, ...FIELDS.map(([name, title]) => made('option', { value: name }, title))));
    this.kind.addEventListener('change', () => this.turnTo('kind', { value: this.kind.value }));
    this.rail = new Rail({
      mode: (mode) => this.turnTo('mode', { value: mode }),
      show: (one) => this.turnTo('show', { value: one }),
      spread: () => this.turnTo('spread'),
      review: () => this.turnTo('review'),
    });
    const top = made('div', { class: 'bar' }, this.progress.root, this.kind, this.undo, this.redo, this.button('keys', 'Keys'));
    this.only = made('p', { role: 'status' });
    this.larger = made('div', { class: 'larger', role: 'group', hidden: '' }, made('img', { alt: '' }), this.only);
    this.root = made('div', { class: 'cleaning' }, top, made('div', { class: 'body' }, main, this.rail.root), this.larger, this.keys.root);
    parent.appendChild(this.root);
    const { signal } = this.abort;
    document.addEventListener('keydown', (event) => this.key(event), { capture: true, signal });
    globalThis.addEventListener('pagehide', () => this.memory.drafts.write(), { signal });
  }

  /** @param {string} act @param {string} words @param {string} [keys] */
  button(act, words, keys) {
    const known = KEYS.find(([, name]) => name === act);
    const cap = keys ?? (known ? capOf(known[0]) : '');
    const title = /** @type {Record<string, string>} */ (known?.[2] ? { title: known[2] } : {});
    const button = /** @type {HTMLButtonElement} */ (
      made('button', { type: 'button', 'data-act': act, ...title }, made('span', {}, words), made('kbd', { 'aria-hidden': 'true' }, cap))
    );
    button.addEventListener('click', () => {
      this.does(act);
      if (!this.question.open && !this.keys.root.open && act !== 'name') this.tiles.focus();
    });
    return button;
  }

  /** @param {string} name @param {string} title */
  field(name, title) {
    return new LabelField(title, name, {
      typed: () => this.typed(name),
      enter: () => {
        this.tiles.focus();
        this.confirm();
      },
      leave: () => this.tiles.focus(),
    });
  }

  restyle() {}

  destroy() {
    this.abort.abort();
    clearTimeout(this.timer);
    this.giveUp();
    this.memory.drafts.write();
    this.tiles.destroy();
    this.root.remove();
  }

  // ---- what the server says

  /** @param {Shown} data */
  update(data) {
    const { memory } = this;
    const first = !this.data;
    this.data = data;
    for (const sheet of data.sheets) sheet.field = data.field;
    if (memory.session !== data.session) this.begin(data);
    memory.outbox = memory.outbox.filter(({ seq }) => seq > data.heard);
    memory.drafts.unheard = memory.drafts.unheard.filter(({ seq }) => seq > data.heard);
    const news = data.answers.filter(({ seq }) => seq > memory.answered && seq <= data.heard);
    for (const answer of news) this.answered(answer);
    this.progress.update(data.progress);
    this.kind.value = data.field;
    this.offerUndo();
    if (memory.outbox.length) this.later();
    else this.settle(Boolean(news.length) || first);
    this.queue();
    this.offers();
    this.describe();
    Object.assign(this.root.dataset, { ready: 'true', seq: String(data.heard), labelled: String(data.progress.labelled) });
  }

  /** A server session that knows nothing of this page: acts that it never heard are asked for. */
  begin(/** @type {Shown} */ data) {
    const { memory } = this;
    const lost = memory.drafts.unheard;
    Object.assign(memory, { session: data.session, seq: data.heard, outbox: [], answered: data.heard });
    memory.flown.clear();
    memory.drafts.unheard = [];
    this.left.clear();
    if (!lost.length) return;
    this.warn('The server had not answered when the page was left. What is still open of that sheet is shown again.');
    for (const { key, ids, cut, value, field } of lost) this.send('reopen', { key, ids, cut, value, field: field ?? data.field });
  }

  /** @param {Answer} answer */
  answered(answer) {
    const { memory } = this;
    const { seq, kind, text, choices } = answer;
    memory.answered = seq;
    const flown = memory.flown.get(seq);
    memory.flown.delete(seq);
    if (kind === 'done' || kind === 'note') {
      if (text) this.say(text);
      if (kind === 'done' && flown) this.did(flown.act, flown.sheet, answer.sheet);
      return;
    }
    if (kind === 'stale' && flown?.sheet && flown.sheet.field !== this.data?.field) {
      this.insist = false;
      this.say('The field was changed before that was heard: nothing was done. What you typed and tapped is kept.');
      return;
    }
    if (!flown?.sheet || flown.act.op === 'reopen') {
      this.warn(text);
      return;
    }
    this.comeBack(flown.sheet);
    if (kind === 'ask') this.ask(text, choices, flown.act);
    else this.warn(text);
    if (kind === 'stale') {
      const { key, ids, proposed } = flown.sheet;
      this.insist = false;
      this.send('reopen', { key, ids, cut: this.tiles.cut, value: proposed ?? '' });
    }
  }

  /**
   * An act was done: the sheet's draft has served.
   * @param {Act} act
   * @param {Sheet | null} sheet
   * @param {string} key of the sheet that came back with an undo, or went again with a redo
   */
  did(act, sheet, key) {
    const { drafts } = this.memory;
    if (act.op === 'undo') this.undone = key;
    if (act.op === 'redo' && key) {
      drafts.again(act.field, key);
      drafts.soon();
    }
    if (!sheet || !DECIDES.includes(act.op)) return;
    if (!act.chosen?.length) drafts.spend(sheet);
    else for (const at of act.chosen) drafts.of(sheet).marks.delete(sheet.ids[at]);
    drafts.soon();
  }

  /** Show a sheet again that was answered: it was refused, and all that was typed is there. */
  comeBack(/** @type {Sheet} */ sheet) {
    this.left.delete(sheet.key);
    this.show(sheet);
    this.insist = true;
  }

  /** @param {string} text @param {Answer['choices']} choices @param {Act} act */
  ask(text, choices, act) {
    this.question.ask(text, choices.map(([words, change]) => ({
      words,
      does: () => {
        this.insist = false;
        if (!change) this.settle(true);
        else if (DECIDES.includes(act.op)) this.leave(act.op, { ...act, ...change });
      },
    })));
  }

  /** Show what the server has in hand, now that it knows all that was done here. @param {boolean} expected */
  settle(expected) {
    const { data, sheet } = this;
    if (!data) return;
    this.left.clear();
    const first = data.sheets[0] ?? null;
    const back = data.sheets.find(({ key }) => key === this.undone);
    if (back) {
      this.memory.drafts.restore(back);
      this.memory.drafts.soon();
    }
    this.undone = '';
    const same = data.sheets.find(({ key }) => key === sheet?.key);
    if (this.insist && sheet) {
      if (same) this.refresh(same);
      return;
    }
    if (first && first.key === sheet?.key) this.refresh(first);
    else {
      if (!expected && sheet) this.say('Somebody else has done that sheet meanwhile; this is the next one.');
      this.show(first);
    }
  }

  /** The sheet that is shown, with what changed of it; taps and cut move along. @param {Sheet} sheet */
  refresh(sheet) {
    const before = this.sheet;
    this.sheet = sheet;
    if (before && before.version !== sheet.version) {
      this.shownAt = performance.now(); // another sheet: what is pressed now was meant for the one before
      if (this.question.own) this.question.close(); // it was about items that may not be there
    }
    if (this.draft) carryCut(sheet, this.draft);
    this.tiles.show(sheet, this.draft, this.thumb);
  }

  /** The field that the sheet is of: the page may have been told another by now. */
  get worked() {
    return this.sheet?.field ?? this.data?.field ?? 'category';
  }

  get thumb() {
    return `${this.data?.base}/thumb/{id}`;
  }

  /** @returns {Draft | null} */
  get draft() {
    return this.sheet ? this.memory.drafts.of(this.sheet) : null;
  }

  // ---- what is shown

  /** @param {Sheet | null} sheet */
  show(sheet) {
    const held = this.root.contains(this.active) || !this.active;
    this.sheet = sheet;
    this.insist = false;
    this.question.close();
    this.look(false);
    this.trouble.hidden = true;
    if (sheet && this.draft) carryCut(sheet, this.draft);
    this.tiles.show(sheet, this.draft, this.thumb);
    this.shownAt = performance.now();
    this.offers();
    this.describe();
    if (held && sheet) this.tiles.focus();
    this.ahead();
  }

  /** What has the focus, in the page or in our own tree; nothing where it is nowhere. */
  get active() {
    const tree = /** @type {Document | ShadowRoot} */ (this.root.getRootNode());
    const found = tree.activeElement ?? document.activeElement;
    return found === document.body ? null : found;
  }

  /** What stands in a field: what was typed, else what is proposed. @param {string} field */
  text(field) {
    const typed = this.draft?.labels[field];
    return typed ?? (field === this.worked ? this.sheet?.proposed ?? '' : '');
  }

  /** The label that a field gives the sheet. @param {string} field */
  label(field) {
    return this.text(field).trim();
  }

  /** @param {boolean} [byHand] a tap or the cut, and not only what came into view */
  changed(byHand) {
    if (byHand) this.question.close();
    const { sheet, draft } = this;
    if (byHand && sheet && draft && draft.cut !== null) draft.before = sheet.ids.slice(0, draft.cut);
    this.memory.drafts.soon();
    this.describe();
  }

  /** Say in words what stands there. */
  describe() {
    const { sheet, data, draft, root } = this;
    if (!data) return;
    root.classList.toggle('empty', !sheet);
    this.nothing.hidden = Boolean(sheet);
    if (!sheet || !draft) {
      this.empty();
      Object.assign(root.dataset, { sheet: '', pending: String(this.memory.outbox.length) });
      return;
    }
    const label = this.label(sheet.field);
    const machine = Boolean(sheet.proposed) && draft.labels[sheet.field] === undefined;
    for (const [name, title] of FIELDS) this.fields[name].input.placeholder = name === sheet.field ? `${title}: type a name` : `${title} (optional)`;
    for (const [name] of FIELDS) this.fields[name].set(this.text(name), machine && name === sheet.field);
    const badge = machine ? [made('span', { class: 'badge-proposed' }, 'proposed')] : [];
    this.title.replaceChildren(made('span', { class: label ? (machine ? 'machine' : 'given') : 'unnamed' }, label || 'Name this sheet'), ...badge);
    const sure = machine ? `${inPlainWords(sheet.confidence)} (${percent(sheet.confidence)} %)` : '';
    this.facts.textContent = [count(sheet.ids.length, 'item'), sheet.where, sure].filter(Boolean).join(' · ');
    const kept = this.tiles.kept.filter(Boolean).length;
    const words = (/** @type {HTMLElement} */ button, /** @type {string} */ text) => {
      if (button.firstElementChild) button.firstElementChild.textContent = text;
    };
    words(this.confirmed, label ? `Confirm ${kept.toLocaleString('en-US')} as ${label}` : `Name ${count(kept, 'item')}`);
    words(this.refused, label ? `Not ${label}` : 'Not that');
    this.refused.disabled = !label;
    this.tiles.label = label;
    this.tiles.tellCut();
    this.tellForecast();
    this.look();
    Object.assign(root.dataset, { sheet: sheet.key, version: sheet.version, pending: String(this.memory.outbox.length), kept: String(kept), cut: String(this.tiles.cut), label });
  }

  /** What is forecast of what would be confirmed; null where nobody can say. */
  get expected() {
    const { sheet, draft } = this;
    if (!sheet || !draft) return null;
    const label = this.label(sheet.field);
    return sheet.proposed && label !== sheet.proposed ? null : forecastOf(sheet, draft);
  }

  tellForecast() {
    const found = this.expected;
    const { forecast } = this;
    forecast.classList.toggle('low', Boolean(found && found.estimate < SURE));
    const bounds = found ? ` (${percent(found.low)}–${percent(found.high)})` : '';
    if (!found) forecast.textContent = this.sheet?.purity ? 'no forecast for another label' : '';
    else forecast.textContent = (found.estimate > 0.99 ? 'over 99 % alike' : `about ${percent(found.estimate)} % alike`) + bounds;
    forecast.title = 'Forecast: the share that carries one label, and where it lies nine times in ten';
    forecast.dataset.estimate = found ? found.estimate.toFixed(3) : '';
  }

  /** Where nothing is open. */
  empty() {
    const { data } = this;
    if (!data) return;
    const waits = this.memory.outbox.length > 0;
    const { labelled, excluded, open } = data.progress;
    const text = waits || open ? 'One moment …' : `Nothing is open: ${count(labelled, 'item')} labelled, ${excluded.toLocaleString('en-US')} excluded.`;
    if (this.nothing.dataset.text === text) return;
    this.nothing.dataset.text = text;
    this.nothing.replaceChildren(made('h2', {}, text));
    if (waits || open) return;
    const review = made('button', { type: 'button', class: 'main' }, 'Doubtful labels');
    review.addEventListener('click', () => this.turnTo('review'));
    const away = made('button', { type: 'button' }, 'Export');
    away.addEventListener('click', () => this.turnTo('export'));
    this.nothing.append(made('div', {}, review, away));
  }

  offerUndo() {
    const { data } = this;
    this.undo.disabled = !data?.undo;
    this.redo.disabled = !data?.redo;
    this.undo.title = data?.undo ? `Undo ${data.undo}` : 'Nothing to undo';
    this.redo.title = data?.redo ? `Redo ${data.redo}` : 'Nothing to do again';
  }

  queue() {
    const { data, sheet } = this;
    if (!data) return;
    const cards = [...data.sheets, ...data.waiting].filter(({ key }) => key !== sheet?.key && !this.left.has(key));
    this.rail.update(cards, data.modes, data.mode, this.thumb);
  }

  /** Names to complete from and to take with one key. */
  offers() {
    const { data, sheet } = this;
    if (!data) return;
    const names = sheet?.names ?? [];
    for (const [name] of FIELDS) {
      const own = name === this.worked ? names.map(({ name: label, why }) => ({ label, why })) : [];
      const known = (data.known[name] ?? []).filter((label) => !own.some((one) => one.label === label));
      this.fields[name].offer([...own, ...known.map((label) => ({ label }))]);
    }
    const chip = (/** @type {string} */ label, /** @type {string} */ cap, /** @type {string} */ why) =>
      made('button', { type: 'button', class: why ? 'chip machine' : 'chip', 'data-label': label, title: why || 'One of the last labels' }, cap ? made('kbd', { 'aria-hidden': 'true' }, cap) : '', label);
    const fresh = names.filter(({ name }) => !data.slots.includes(name) && name !== sheet?.proposed).slice(0, 3);
    const suggested = names[0]?.name;
    this.labels.replaceChildren(
      ...fresh.map(({ name, why }) => chip(name, name === suggested ? 'A' : '', why)),
      ...data.slots.flatMap((label, at) => (label ? [chip(label, String(at + 1), '')] : [])),
    );
  }

  /** Fetch the thumbnails of the next sheet, after those that are looked at now. */
  ahead() {
    const next = this.next;
    const url = this.thumb;
    setTimeout(() => {
      if (this.abort.signal.aborted) return;
      this.fetched = (next?.ids ?? []).slice(0, PREFETCHED).map((id) => {
        const picture = new Image();
        picture.fetchPriority = 'low';
        picture.src = url.replace('{id}', encodeURIComponent(id));
        return picture;
      });
    }, 200);
  }

  /** @param {string} text */
  say(text) {
    this.status.textContent = text;
    this.trouble.hidden = true;
  }

  /** @param {string} text */
  warn(text) {
    this.trouble.textContent = text;
    this.trouble.hidden = false;
  }

  // ---- what the curator does

  /** The sheet that follows when this one is answered. */
  get next() {
    return this.data?.sheets.find(({ key }) => key !== this.sheet?.key && !this.left.has(key)) ?? null;
  }

  /** @param {string} op @param {Record<string, any>} [more] */
  send(op, more = {}) {
    const { memory, sheet } = this;
    const act = { field: this.worked, key: sheet?.key ?? '', version: sheet?.version ?? '', ...more, op, seq: ++memory.seq };
    memory.outbox.push(act);
    memory.flown.set(act.seq, { act, sheet });
    for (const old of [...memory.flown.keys()].slice(0, -FLOWN)) memory.flown.delete(old);
    if (sheet && DECIDES.includes(op)) {
      memory.drafts.unheard.push({ seq: act.seq, op, value: sheet.proposed ?? '', field: sheet.field, key: sheet.key, ids: sheet.ids, cut: this.tiles.cut });
    }
    if (op === 'reopen') memory.drafts.unheard.push({ seq: act.seq, op, value: more.value, field: act.field, key: more.key, ids: more.ids, cut: more.cut });
    memory.drafts.soon();
    this.tell({ acts: memory.outbox.slice(0, MOST) });
    this.root.dataset.pending = String(memory.outbox.length);
    this.later();
  }

  /** A message that nobody heard is told again, with all that came after it. */
  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!this.memory.outbox.length || this.abort.signal.aborted) return;
      this.say('The server has not answered yet; what you do is kept and told again.');
      this.tell({ acts: this.memory.outbox.slice(0, MOST) });
      this.later();
    }, AGAIN);
  }

  /** What the sheet is like when it is answered. */
  get stand() {
    const { sheet, data, tiles } = this;
    const kept = tiles.kept;
    const cut = tiles.cut;
    const out = kept.flatMap((one, at) => (at < cut && !one ? [at] : []));
    const picked = kept.flatMap((one, at) => (at >= cut && one ? [at] : []));
    const labels = Object.fromEntries(FIELDS.map(([name]) => [name, this.label(name)]).filter(([, label]) => label));
    const looked = cut < kept.length && tiles.looked(cut, kept.length);
    return sheet && data ? { labels, cut, out, picked, looked } : {};
  }

  /** Answer the sheet and show the next one at once. @param {string} op @param {Record<string, any>} more */
  leave(op, more = {}) {
    const next = this.next;
    this.send(op, { ...this.stand, ...more, next: next ? [next.key, next.version] : ['', ''] });
    if (this.sheet) this.left.add(this.sheet.key);
    this.show(next);
    this.queue();
  }

  /** Ask for another sheet; it comes with the server's answer. @param {string} op @param {Record<string, any>} [more] */
  turnTo(op, more = {}) {
    this.insist = false;
    this.question.close();
    this.send(op, more);
    this.tiles.focus();
  }

  /** Whether a key was meant for the sheet before, or the server has not said what is left of this one. */
  get tooSoon() {
    const { sheet, memory } = this;
    const waits = memory.outbox.some(({ op, key, chosen }) => DECIDES.includes(op) && key === sheet?.key && chosen?.length);
    return waits || performance.now() - this.shownAt < TOO_SOON;
  }

  confirm() {
    const { sheet, draft } = this;
    if (!sheet || !draft || this.tooSoon) return;
    if (!this.label(sheet.field)) {
      this.warn('Name the sheet first: type a name, take a suggested one with A, or one of the last with 1 to 9.');
      this.fields[sheet.field].input.focus();
      return;
    }
    const kept = this.tiles.kept.filter(Boolean).length;
    if (!kept) {
      this.warn('Nothing is left to confirm: ⌫ says that none of it is that, N skips the sheet.');
      return;
    }
    const doubt = draft.asked ? '' : this.doubt(kept);
    if (!doubt) this.leave('confirm');
    else {
      draft.asked = true;
      this.question.ask(doubt, [{ words: 'Confirm anyway', does: () => this.leave('confirm') }]);
      this.question.own = true;
    }
  }

  /** Why to look again before it is confirmed; empty where there is no reason. @param {number} kept */
  doubt(kept) {
    const found = this.expected;
    if (found && found.estimate < SURE) {
      return `About ${count(Math.max(1, Math.round(found.strays)), 'stray')} left among ${kept.toLocaleString('en-US')}: look again?`;
    }
    if (!found && this.sheet && !this.tiles.looked(0, this.tiles.cut)) {
      const seen = this.sheet.ids.slice(0, this.tiles.cut).filter((id) => this.draft?.looked.has(id)).length;
      return `You have seen ${seen.toLocaleString('en-US')} of ${count(this.tiles.cut, 'item')}: look again?`;
    }
    return '';
  }

  /** Positions that were tapped out; an act on some items is about these. */
  get tapped() {
    return this.sheet?.ids.flatMap((id, at) => (this.draft?.marks.get(id) === false ? [at] : [])) ?? [];
  }

  /** @param {'unsure' | 'exclude'} op @param {string} value @param {number[]} [chosen] as they were when it was asked */
  flag(op, value, chosen = this.tapped) {
    if (chosen.length) this.send(op, { chosen, value });
    else this.leave(op, { chosen, value });
  }

  exclude() {
    const chosen = this.tapped;
    const what = chosen.length ? `the ${count(chosen.length, 'crossed out item')}` : `all ${count(this.sheet?.ids.length ?? 0, 'item')} of this sheet`;
    const reasons = REASONS.map((reason) => ({ words: reason, does: (/** @type {string} */ text) => this.flag('exclude', text || reason, chosen) }));
    this.question.ask(`Exclude ${what}: why?`, reasons, 'another reason');
    this.question.own = true;
  }

  /** @param {string} name of the field */
  typed(name) {
    if (!this.draft) return;
    this.draft.labels[name] = this.fields[name].input.value;
    this.question.close(); // it was about another name
    this.changed();
  }

  /** @param {string} label */
  give(label) {
    if (!this.draft || !label) return;
    this.draft.labels[this.worked] = label;
    this.question.close(); // it was about another name
    this.trouble.hidden = true;
    this.changed();
  }

  /** @param {Event} event */
  chipped(event) {
    const chip = /** @type {HTMLElement} */ (event.target).closest('[data-label]');
    if (!chip) return;
    this.give(chip.getAttribute('data-label') ?? '');
    this.tiles.focus();
  }

  // ---- keys

  /** @param {KeyboardEvent} event */
  key(event) {
    const [target] = /** @type {HTMLElement[]} */ (event.composedPath());
    const inside = event.composedPath().includes(this.root);
    if ((!inside && target !== document.body) || this.keys.root.open || target.matches?.('input, select, textarea')) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const pressed = target.matches?.('button:not(.tile), [role="slider"]');
    if (pressed && ['Enter', ' ', 'ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight', 'Home', 'End', 'PageUp', 'PageDown'].includes(name)) return;
    if (!this.taken(event, name)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {KeyboardEvent} event @param {string} name @returns {boolean} whether it was a key of the page */
  taken(event, name) {
    const brackets = '[]{}'.includes(name); // on some keyboards with AltGr
    if (event.altKey && !brackets) return false;
    if ((event.ctrlKey || event.metaKey) && !(brackets && event.altKey)) return this.history(event, name);
    if (this.question.open) {
      if (event.repeat || this.question.key(event)) return true;
      this.question.close(); // who goes on working has answered: not now
    }
    if (name === 'Escape' && !this.larger.hidden) {
      this.look(false);
      return true;
    }
    if (this.moved(event, name)) return true;
    if (/^[1-9]$/.test(name)) {
      this.give(this.data?.slots[Number(name) - 1] ?? '');
      return true;
    }
    const act = KEYS.find(([key]) => key === name)?.[1];
    if (!act || ('<>;:'.includes(name) && !event.shiftKey)) return false; // some keyboards have them without
    const again = ['cut-', 'cut+', 'larger', 'smaller'].includes(act);
    if (!event.repeat || again) this.does(act, event.shiftKey);
    return true;
  }

  /** @param {KeyboardEvent} event @param {string} name */
  history(event, name) {
    if (name !== 'z' && name !== 'y') return false;
    if (!event.repeat) this.does(name === 'y' || event.shiftKey ? 'redo' : 'undo');
    return true;
  }

  /** Move the focus over the tiles. @param {KeyboardEvent} event @param {string} name */
  moved(event, name) {
    const { tiles } = this;
    const rows = tiles.across;
    const at = tiles.memory.at;
    const to = /** @type {Record<string, number>} */ ({
      ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - rows, ArrowDown: at + rows,
      PageUp: at - 4 * rows, PageDown: at + 4 * rows, Home: 0, End: (this.sheet?.ids.length ?? 1) - 1,
    })[name];
    if (to === undefined || !this.sheet) return false;
    tiles.go(to);
    this.look();
    return true;
  }

  /** @param {string} act @param {boolean} [shift] */
  does(act, shift = false) {
    const { tiles, data } = this;
    if (!data) return;
    /** @type {Record<string, () => void>} */
    const free = {
      undo: () => data.undo && this.turnTo('undo'),
      redo: () => data.redo && this.turnTo('redo'),
      back: () => this.turnTo('back'),
      keys: () => this.keys.show(),
      larger: () => this.size(1),
      smaller: () => this.size(-1),
    };
    /** @type {Record<string, () => void>} */
    const onSheet = {
      confirm: () => this.confirm(),
      refuse: () => this.refuse(),
      unsure: () => this.flag('unsure', ''),
      exclude: () => this.exclude(),
      skip: () => this.leave('skip'),
      name: () => this.fields[this.worked].input.focus(),
      instance: () => this.fields[FIELDS.find(([name]) => name !== this.worked)?.[0] ?? ''].input.focus(),
      accept: () => this.give(this.sheet?.names[0]?.name ?? ''),
      tap: () => tiles.toggle(tiles.memory.at, shift),
      'cut-': () => tiles.move(shift ? 0 : tiles.cut - 1),
      'cut+': () => tiles.move(shift ? Infinity : tiles.cut + 1),
      cut0: () => tiles.move(0),
      cut1: () => tiles.move(Infinity),
      cut: () => tiles.move(tiles.memory.at),
      again: () => tiles.asItCame(),
      split: () => this.turnTo('split'),
      twins: () => this.turnTo('twins'),
      merge: () => this.turnTo('merge'),
      like: () => this.turnTo('like', { chosen: this.chosen }),
      look: () => this.look(Boolean(this.larger.hidden)),
    };
    if (DECIDES.includes(act) && this.tooSoon) return;
    if (free[act]) free[act]();
    else if (this.sheet) onSheet[act]?.();
  }

  /** What was tapped, else what has the focus. */
  get chosen() {
    const marked = this.sheet?.ids.flatMap((id, at) => (this.draft?.marks.has(id) ? [at] : [])) ?? [];
    return marked.length ? marked : [this.tiles.memory.at];
  }

  refuse() {
    const { sheet, worked } = this;
    const label = this.label(worked);
    if (!label) {
      this.warn('This sheet has no name to refuse: S splits it, N skips it.');
      return;
    }
    if (!sheet?.proposed || sheet.proposed === label) {
      this.leave('refuse');
      return;
    }
    const not = (/** @type {string} */ name) => ({
      words: `Not ${name}`, does: () => this.leave('refuse', { labels: { ...this.stand.labels, [worked]: name } }),
    });
    this.question.ask(`${sheet.proposed} was proposed and you named it ${label}: which is it not?`, [not(label), not(sheet.proposed)]);
    this.question.own = true;
  }

  /** @param {number} step */
  size(step) {
    const { size } = this.tiles;
    if (step > 0) size.stepUp();
    else size.stepDown();
    this.tiles.resize(Number(size.value));
    this.tiles.place();
  }

  /** Show the item in focus as large as it goes, its thumbnail till it is there, and follow the focus. @param {boolean} [open] */
  look(open) {
    const { larger, sheet, tiles } = this;
    if (open !== undefined) larger.hidden = !open;
    if (larger.hidden || !sheet) {
      this.giveUp();
      delete larger.dataset.id; // what did not come is tried again
      return;
    }
    const at = Math.min(tiles.memory.at, sheet.ids.length - 1);
    const id = sheet.ids[at];
    const alt = `Item ${at + 1} of ${sheet.ids.length}`;
    larger.setAttribute('aria-label', `${alt}, larger`);
    if (larger.dataset.id === id) return;
    this.giveUp();
    larger.dataset.id = id;
    const named = encodeURIComponent(id);
    const picture = made('img', { alt });
    const instead = (/** @type {string} */ state, /** @type {HTMLElement} */ shown, words = '') => {
      if (this.coming !== picture) return; // the focus went on
      larger.dataset.state = state;
      larger.firstElementChild?.replaceWith(shown);
      if (this.only.textContent !== words) this.only.textContent = words;
    };
    const thumb = made('img', { alt, src: this.thumb.replace('{id}', named) });
    picture.addEventListener('load', () => instead('whole', picture));
    picture.addEventListener('error', () => instead('thumb', thumb, 'Only the thumbnail: the file is not where it was, or cannot be read.'));
    this.coming = picture;
    instead('waits', thumb);
    const source = `${this.data?.base}/picture/${this.data?.atlas}/${named}`;
    this.soon = setTimeout(() => picture.setAttribute('src', source), open ? 0 : STAYS);
  }

  /** Wait no longer for the larger look: the browser ends what it fetches for it. */
  giveUp() {
    clearTimeout(this.soon);
    this.coming?.removeAttribute('src');
    this.coming = undefined;
  }
}
