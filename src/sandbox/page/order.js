// The page of one order: where it stands, what can be done, and everything that happened.

import { clock, html, line, minutes, money, zh } from './tools.js';
import { now, shop, state } from './shop.js';
import { goodsName, hint, reason, shares, tag } from './words.js';

/** Every action that the API offers for an order, in the order of the buttons. */
const ACTIONS = [
  ['can_pay', 'pay', 'main', '去支付', 'Pay'],
  ['can_confirm', 'confirmReceipt', 'main', '确认收货', 'Received'],
  ['can_refund', 'refund', '', '申请退款', 'Refund'],
  ['can_cancel', 'cancel', '', '取消订单', 'Cancel'],
];

const waiting = o => {
  const left = Date.parse(o.pay_before) - now();
  return html`<div class="countdown">${left > 0 ? html`${zh('剩余', 'left to pay')} <b>${minutes(left)}</b>` : zh('已到时间，正在取消', 'Time is over; it is being cancelled')}</div>`;
};

const jump = () => state.info.clock_is_shared
  ? html`<button class="btn" data-act="jump" data-id="1860000">${zh('快进 31 分钟', '+31 min')}</button>` : '';

const head = o => html`<div class="card"><div class="row">${tag(o.status)}<span class="price big">${money(o.payable)}</span></div>
  ${o.status === 'PENDING_PAYMENT' ? waiting(o) : ''}
  ${hint(o) ? html`<div class="soft">${hint(o)}</div>` : ''}
  ${o.on_hold ? html`<div class="soft">${zh('已付款，同时被取消：钱会退回', 'Paid and cancelled at once: the money goes back')}</div>` : ''}
  <div class="soft"><code>${o.id}</code></div></div>`;

const goods = o => html`<div class="card">${o.lines.map(l => html`${line(html`${goodsName(l)} ×${l.quantity}`, money(l.gross))}${shares(l)}
    ${l.refunded.amount ? line(zh('已退', 'refunded'), '−' + money(l.refunded), 'off') : ''}`)}
  ${o.pickup ? '' : line(zh('运费', 'Freight'), o.freight.amount ? money(o.freight) : zh('免运费', 'free'))}
  ${line(zh('应付', 'To pay'), money(o.payable), 'sum')}
  ${o.paid.amount ? line(zh('实付', 'Paid'), money(o.paid)) : ''}
  ${o.refunded.amount ? line(zh('已退', 'Refunded'), '−' + money(o.refunded)) : ''}</div>
  ${o.address ? html`<div class="card">${o.address.recipient} ${o.address.phone_masked}<br><span class="soft">${o.address.region} ${o.address.detail}</span>
    ${o.note ? html`<br><span class="soft">${zh('留言', 'Note')}：${o.note}</span>` : ''}</div>` : ''}`;

/** Where it is handed over, and by which code. */
const pickup = o => !o.pickup ? '' : html`<div class="card"><div class="name">${o.pickup.store_name}</div>
  <div class="soft">${o.pickup.store_address} · ${o.pickup.store_phone}</div>
  ${o.pickup.code_is_open ? html`<div class="amount">${o.pickup.code.slice(0, 4)} ${o.pickup.code.slice(4)}</div>
    ${o.qr ? html`<img class="qr" src="${o.qr}" alt="取货码 Pickup code">` : ''}` : ''}
  ${o.pickup.handed_over_at ? html`<div class="soft">${zh('已交付', 'handed over')} ${clock(o.pickup.handed_over_at)}</div>` : ''}</div>`;

const section = (title, rows, row) => rows.length ? html`<h2>${title}</h2><div class="card">${rows.map(row)}</div>` : '';
const refund = r => html`<div class="entry"><div class="row">${tag(r.status)}<span class="price">${money(r.amount)}</span></div>
  <div class="soft">${r.reason}${r.freight.amount ? html` · ${zh(`含运费 ${money(r.freight)}`, 'with freight')}` : ''}</div>
  ${r.note ? html`<div class="soft">${zh('商家', 'Store')}：${r.note}</div>` : ''}
  ${r.compensated ? html`<div class="soft">${zh('附补偿券', 'with a compensation coupon')}</div>` : ''}
  ${r.status === 'REQUESTED' ? html`<button class="btn small" data-act="withdraw" data-id="${r.id}">${zh('撤回', 'Withdraw')}</button>` : ''}</div>`;
const parcel = p => {
  const units = p.lines.reduce((sum, l) => sum + l.quantity, 0);
  return line(html`${p.carrier_name} <span class="soft">${zh(`${units} 件`, units === 1 ? 'unit' : 'units')}</span>`, html`<code>${p.tracking_no || ''}</code>`);
};
const attempt = a => html`<div class="entry"><div class="row">${tag(a.status, 'payment')}<span>${money(a.amount)}</span></div><code class="soft">${a.out_trade_no}</code></div>`;
const step = t => html`<li>${zh(t.text, t.code)}<br><span class="soft">${clock(t.at)}</span></li>`;

export const order = {
  title: '订单 Order', login: true, fresh: true,
  load: () => shop.order(state.order),
  draw: o => html`${head(o)}
    <div class="chips">${ACTIONS.filter(([name]) => o.actions[name].allowed).map(([, act, kind, chinese, english]) =>
      html`<button class="btn ${kind}" data-act="${act}">${zh(chinese, english)}</button>`)}${o.status === 'PENDING_PAYMENT' ? jump() : ''}</div>
    ${o.status === 'PENDING_PAYMENT' && !o.actions.can_pay.allowed ? html`<div class="err">${reason(o.actions.can_pay.reason)}</div>` : ''}
    ${pickup(o)}
    ${goods(o)}
    ${section(zh('退款', 'Refunds'), o.refunds, refund)}
    ${section(zh('包裹', 'Parcels'), o.parcels, parcel)}
    ${section(zh('支付', 'Payments'), o.attempts, attempt)}
    <h2>${zh('时间线', 'Timeline')}</h2><div class="card"><ul class="steps">${[...o.timeline].reverse().map(step)}</ul></div>`,
};
