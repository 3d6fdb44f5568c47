// Shows the current screen of the phone and the current tab of the channel.

import { $, Refused, asking, box, empty, failed, html, paint, zh } from './tools.js';
import { shop, state } from './shop.js';
import { TABS, screens } from './screens.js';
import { PANELS, topLine, views } from './channel.js';

const waiting = [1, 2, 3].map(() => html`<div class="card"><div class="wait-line"></div><div class="wait-line"></div></div>`);
const needLogin = empty(html`${zh('先登录', 'Sign in first')}<br><br><button class="btn main" data-act="tab" data-id="me">${zh('去登录', 'Sign in')}</button>`);
const current = () => state.stack.at(-1) || state.tab;

let turn = 0, shown = null;
function frame(screen) {
  paint('bar', html`${state.stack.length ? html`<button data-act="back">‹ 返回</button>` : html`<i></i>`}
    <h1>${typeof screen.title === 'function' ? screen.title() : screen.title}</h1><button data-act="reload" aria-label="刷新 Reload">刷新</button>`);
  paint('tabs', TABS.map(([to, chinese, english]) => html`<button data-act="tab" data-id="${to}" class="${state.tab === to ? 'on' : ''}"
    ${state.tab === to ? 'aria-current=page' : ''}>${chinese}${to === 'inbox' && state.unread ? html` <b>${state.unread}</b>` : ''}<small>${english}</small></button>`));
  paint('who', state.user ? state.user.name : zh('未登录', 'Signed out'));
}

/** Draws the current screen; quietly: what is there stays until the new is loaded. */
export async function show(quiet) {
  const name = current(), screen = screens[name], mine = ++turn;
  frame(screen);
  if (screen.login && !state.user) return paint('view', needLogin);
  const key = `${name}:${state.order}:${state.product}`;
  if (!quiet || shown !== key) { paint('view', waiting); $('view').scrollTop = 0 }
  try {
    const data = await screen.load();
    if (mine !== turn) return;
    state.data[name] = data;
    paint('view', screen.draw(data));
    shown = key;
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    if (mine !== turn) return;
    if (!state.user && screen.login) { state.tab = 'me'; state.stack = []; return show() }
    paint('view', failed(e));
    shown = null;
  }
}
export const open = name => { state.stack.push(name); return show() };

export async function panel() {
  paint('panelTabs', PANELS.map(([to, chinese, english]) => html`<button data-act="panel" data-id="${to}" class="${state.panel === to ? 'on' : ''}">${zh(chinese, english)}</button>`));
  const name = state.panel;
  try {
    const content = await views[name]();
    if (name !== state.panel) return;
    const opened = new Set(Array.from($('panel').querySelectorAll('details[open]'), d => d.dataset.key));
    paint('panel', content);
    for (const d of $('panel').querySelectorAll('details')) d.open = opened.has(d.dataset.key);
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    paint('panel', failed(e));
  }
}

/** Asks the sandbox what time it is. */
export async function refresh() {
  try { state.info = await box('GET', '/info') } catch (e) { return paint('top', failed(e)) }
  state.infoAt = Date.now();
  paint('time', new Date(state.info.now_ms).toTimeString().slice(0, 5));
  paint('top', topLine());
}

/** The number on the tab of messages. */
export async function countUnread() {
  if (!state.user) return;
  try {
    state.unread = (await shop.notices()).filter(n => !n.read_at).length;
    frame(screens[current()]);
  } catch (e) { if (!(e instanceof Refused)) throw e }
}

/** Looks again at what may have changed by itself. */
export async function keepFresh() {
  if (document.hidden) return;
  await refresh();
  panel();
  if (!asking() && (!shown || screens[current()].fresh)) show(true);
  countUnread();
}

/** A countdown moves between two looks at the server. */
export function tick() {
  const data = state.data[current()];
  if (current() === 'order' && shown && data?.status === 'PENDING_PAYMENT') paint('view', screens.order.draw(data));
}
