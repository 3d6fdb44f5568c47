// What every screen stands on: HTML that escapes by itself, painting without jumps, money, time, HTTP.

export const $ = id => document.getElementById(id);

class Html { constructor(text) { this.text = text } }
const SPECIAL = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = v => v instanceof Html ? v.text
  : Array.isArray(v) ? v.map(escape).join('')
  : v == null || v === false ? '' : String(v).replace(/[&<>"']/g, c => SPECIAL[c]);
export const html = (parts, ...values) =>
  new Html(parts.reduce((text, part, i) => text + escape(values[i - 1]) + part));
/** Chinese with its English behind it. */
export const zh = (chinese, english) => html`${chinese} <small lang="en">${english}</small>`;

const painted = {};
/** Writes only what changed, so that nothing jumps while lists are refreshed; the focus stays where it was. */
export function paint(id, content) {
  const text = escape(content);
  if (painted[id] === text) return;
  painted[id] = text;
  const place = $(id), held = document.activeElement;
  const mark = place.contains(held) && held.dataset.act ? JSON.stringify(held.dataset) : null;
  place.innerHTML = text;
  if (mark) [...place.querySelectorAll('[data-act]')].find(e => JSON.stringify(e.dataset) === mark)?.focus();
}

const DECIMALS = { JPY: 0 }, SIGNS = { CNY: '¥', USD: '$', EUR: '€', JPY: '¥' };
/** `{amount, currency}`, or a number of fen. */
export function money(m) {
  if (m == null) return '';
  const { amount, currency } = typeof m === 'number' ? { amount: m, currency: 'CNY' } : m;
  const decimals = DECIMALS[currency] ?? 2;
  return (amount < 0 ? '−' : '') + (SIGNS[currency] || currency + ' ') + (Math.abs(amount) / 10 ** decimals).toFixed(decimals);
}

const two = n => String(n).padStart(2, '0');
/** Month, day and time. */
export function clock(t) {
  if (!t) return '';
  const d = new Date(t);
  return `${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}
export const day = t => { const d = new Date(t); return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}` };
/** Time of day, on the wall of that zone. */
export const hour = (t, timeZone) =>
  new Date(t).toLocaleTimeString('en-GB', { timeZone, hour: '2-digit', minute: '2-digit' });
export const minutes = ms => `${two(Math.floor(ms / 60000))}:${two(Math.floor(ms / 1000) % 60)}`;
export const distance = m => m == null ? '' : m < 1000 ? `${m} m` : `${(m / 1000).toFixed(1)} km`;

/** Nobody else's: for Idempotency-Key. */
export const freshKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), b => b.toString(16).padStart(2, '0')).join('');

/** A request that was refused or not answered. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.detail || '没有回答 No answer');
    this.status = status;
    this.code = body?.code || (status ? 'http_' + status : 'unreachable');
    this.field = body?.field;
    this.body = body;
  }
}

export async function http(base, method, path, body, headers = {}) {
  const json = body === undefined ? {} : { 'Content-Type': 'application/json' };
  let answer;
  try {
    answer = await fetch(base + path, { method, headers: { ...json, ...headers }, body: JSON.stringify(body) });
  } catch {
    throw new Refused(0, { detail: `连不上 ${base || '沙箱'}，服务在运行吗？ Can't reach it; is it running?` });
  }
  const text = await answer.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null } catch { value = { detail: text } }
  if (!answer.ok) throw new Refused(answer.status, value);
  return value;
}
/** The sandbox's own calls. */
export const box = (method, path, body) => http('', method, '/sandbox' + path, body);

let toastTimer;
export function toast(text, bad) {
  $('toast').innerHTML = escape(html`<div class="toast ${bad ? 'bad' : ''}">${text}</div>`);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $('toast').innerHTML = '' }, bad ? 7000 : 2500);
}

let answer = null;
/** Asks the person; answers what was pressed or, for a form, its fields. Closed: null. */
export function ask(content, close = zh('关闭', 'Close')) {
  answered(null);
  return new Promise(done => {
    answer = value => { answer = null; $('sheet').innerHTML = ''; done(value) };
    $('sheet').innerHTML = escape(html`<div class="sheet" role="dialog" aria-modal="true"><div>${content}
      <button class="btn wide" data-act="answer" data-id="">${close}</button></div></div>`);
    $('sheet').querySelector('[autofocus],button.main')?.focus();
  });
}
export const answered = value => answer?.(value || null);
export const asking = () => answer !== null;

export const failed = e => html`<div class="err" role="alert"><b>${e.message}</b>
  <code>${[e.code, e.status || '', e.field].filter(Boolean).join(' · ')}</code></div>`;
export const empty = text => html`<div class="empty">${text}</div>`;
export const line = (label, value, kind = '') => html`<div class="line ${kind}"><span>${label}</span><span>${value}</span></div>`;
