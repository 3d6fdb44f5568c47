// The right side: what WeChat Pay believes, what it sends, what is to go wrong, and the raw calls.

import { box, clock, empty, html, money, zh } from './tools.js';
import { state } from './shop.js';
import { tag } from './words.js';

export const PANELS = [['money', '支付与退款', 'Payments'], ['notices', '通知', 'Notifications'], ['faults', '故障', 'Faults'], ['calls', '原始调用', 'Raw calls']];

const FUNDS = { 1: '待发货，资金冻结 To ship, frozen', 2: '已发货，资金冻结 Shipped, frozen', 4: '已结算 Settled', 5: '已退款 Refunded' };
const table = (heads, rows, none) => rows.length
  ? html`<div class="scroll"><table><thead><tr>${heads}</tr></thead><tbody>${rows}</tbody></table></div>` : empty(none);

async function payments() {
  const [payments, refunds] = await Promise.all([box('GET', '/payments'), box('GET', '/refunds')]);
  const payment = p => html`<tr><td><code>${p.out_trade_no}</code><div class="soft">${p.description} · ${clock(p.created_ms)}</div></td>
    <td>${tag(p.trade_state)}</td><td class="num">${money(p.total)}${p.refunded ? html`<div class="soft">退 −${money(p.refunded)}</div>` : ''}</td>
    <td class="soft">${FUNDS[p.order_state] || ''}</td>
    <td>${p.order_state === 2 ? html`<button class="btn small" data-act="confirm" data-id="${p.out_trade_no}">${zh('确认收货', 'Confirm')}</button>` : ''}</td></tr>`;
  const refund = r => html`<tr><td><code>${r.out_refund_no}</code><div class="soft">${r.out_trade_no} · ${clock(r.created_ms)}</div></td>
    <td>${tag(r.status)}</td><td class="num">${money(r.amount)}</td>
    <td>${['PROCESSING', 'ABNORMAL'].includes(r.status) ? html`<button class="btn small" data-act="finish" data-id="${r.out_refund_no}">${zh('成功', 'Succeed')}</button>` : ''}</td></tr>`;
  return html`<h2>${zh('支付', 'Payments, newest first')}</h2>
    ${table(html`<th>商户单号 out_trade_no</th><th>状态 State</th><th class="num">金额 Amount</th><th>资金 Funds</th><th></th>`, payments.slice(0, 12).map(payment), zh('还没有支付单', 'No payments yet'))}
    <h2>${zh('退款', 'Refunds')}</h2>
    ${table(html`<th>退款单号 out_refund_no</th><th>状态 State</th><th class="num">金额 Amount</th><th></th>`, refunds.slice(0, 12).map(refund), zh('还没有退款', 'No refunds yet'))}`;
}

async function notices() {
  const list = (await box('GET', '/notifications')).slice(0, 30);
  return table(html`<th>事件 Event</th><th>状态 State</th><th class="num">次数 Tries</th><th>上次回答 Answer</th><th>下次 Next</th><th></th>`,
    list.map(n => html`<tr><td>${n.event_type}<div class="soft"><code>${n.notice_id}</code></div></td><td>${tag(n.state)}</td><td class="num">${n.attempts}</td>
      <td>${n.last_answer || '—'}</td><td>${clock(n.due_ms) || '—'}</td><td><button class="btn small" data-act="resend" data-id="${n.id}">${zh('重发', 'Resend')}</button></td></tr>`),
    zh('还没有通知', 'No notifications yet'));
}

const FAULTS = {
  notify_delay: ['下一个通知晚到一分钟', 'The next notification comes a minute late'],
  notify_duplicate: ['下一个通知发两次', 'The next notification is sent twice'],
  notify_drop: ['下一个通知丢失', 'The next notification is lost'],
  notify_bad_signature: ['下一次通知签名错误', 'Signed by a wrong key'],
  notify_signtest: ['下一次通知是签名探测', 'A signature probe'],
  notify_wrong_serial: ['下一次通知序列号未知', 'An unknown serial number'],
  notify_before_prepay_answer: ['通知先于下单应答到达', 'Paid and notified before prepay is answered'],
  pay_during_close: ['关单时恰好付款', 'Paid just when it is closed'],
  error_after_work: ['做完事再回 500', '500 after doing the work'],
  rate_limit: ['下一次调用 429', 'The next call gets 429'],
  refund_not_enough: ['退款时余额不足', 'No money for the next refund'],
  refund_abnormal: ['下一笔退款异常', 'The next refund ends ABNORMAL'],
  refund_closed: ['下一笔退款关闭', 'The next refund ends CLOSED'],
  refund_pending: ['下一笔退款一直处理中', 'The next refund stays PROCESSING'],
  slow: ['下一次调用等 10 秒', 'The next call takes 10 seconds'],
  down: ['下一次连接断开', 'The next connection breaks'],
  down_after_work: ['做完事再断开', 'It breaks after the work'],
  no_platform_certificate: ['只有微信支付公钥的商户', 'A merchant with the public key only'],
  rotate_certificate: ['平台证书换新', 'The newer certificate signs'],
  key_ramp: ['两种密钥轮流签名', 'Both kinds of key sign in turns'],
  out_trade_no_used_as_400: ['单号重复回 400', 'A re-used number gets 400'],
  sign_errors: ['错误应答也签名', 'Errors are signed, too'],
  token_expired: ['access_token 过期', 'The access token is dead'],
  wx_busy: ['微信系统繁忙 -1', 'WeChat answers -1'],
  wx_refuse_message: ['用户拒收消息 43101', 'The next message is refused'],
  upload_10060001: ['发货录入找不到支付单', 'The upload finds no payment'],
};
async function faults() {
  state.faults = await box('GET', '/faults');
  const left = kind => {
    const on = state.faults.filter(f => f.kind === kind);
    if (!on.length) return null;
    return on.some(f => f.left == null) ? zh('开', 'on') : zh(`剩 ${on.reduce((n, f) => n + f.left, 0)} 次`, 'left');
  };
  const button = kind => {
    const on = left(kind), [chinese, english] = FAULTS[kind] || ['', ''];
    return html`<button class="btn ${on ? 'on' : ''}" aria-pressed="${!!on}" data-act="fault" data-id="${kind}">
      <code>${kind}</code> ${on ? html`<span class="tag bad">${on}</span>` : ''}<small>${chinese}</small><small>${english}</small></button>`;
  };
  return html`<div class="row lead"><span class="soft">点一下打开，再点关闭。 Press to switch on, again to switch off.</span>
    <button class="btn small" data-act="clearFaults">${zh('全部清除', 'Clear all')}</button></div>
    <div class="faults">${state.info.fault_kinds.map(button)}</div>`;
}

const signed = h => /^(authorization|wechatpay-|request-id)/i.test(h.name);
const heads = list => list.map(h => html`${signed(h) ? html`<mark>${h.name}: ${h.value}</mark>` : html`${h.name}: ${h.value}`}\n`);
const raw = c => html`<details data-key="${c.id}"><summary><span class="tag ${c.status >= 200 && c.status < 300 ? 'good' : 'bad'}">${c.status || '✕'}</span>
  <span title="${c.direction === 'in' ? '商城→微信' : '微信→商城'}">${c.direction === 'in' ? '→' : '←'}</span>
  <code>${c.method} ${c.target.length > 110 ? c.target.slice(0, 110) + '…' : c.target}</code><time>${clock(c.at_ms)}</time></summary>
  <pre>${c.method} ${c.target}\n${heads(c.request_headers)}\n${c.request_body}</pre><pre>${c.status || '没有回答 no answer'}\n${heads(c.response_headers)}\n${c.response_body}</pre></details>`;
async function calls() {
  const list = await box('GET', '/calls?limit=60');
  return html`<p class="soft lead">→ 商城调微信 the shop calls WeChat · ← 微信通知商城 WeChat calls the shop · <mark>签名 signatures</mark></p>
    ${list.length ? list.map(raw) : empty(zh('还没有调用', 'No calls yet'))}`;
}

export const views = { money: payments, notices, faults, calls };

/** The line above: where the shop is, and the clock. */
export const topLine = () => html`<div class="grow"><b>${zh('渠道', 'Channel')}</b> <span class="soft">${clock(state.info.now_ms).slice(0, 11)}</span><br>
    <span class="soft">${state.info.shop_url ? html`商城 Shop: ${state.info.shop_url} · <a href="${state.info.shop_url}/docs">API</a> · <a href="${state.info.shop_url}/docs/admin">管理 Admin</a> · ` : ''}<a href="/sandbox/openapi.json">沙箱 Sandbox</a></span></div>
  ${state.info.clock_is_shared
    ? [['60000', '+1 分钟', 'min'], ['1860000', '+31 分钟', 'min'], ['86400000', '+1 天', 'day']].map(([ms, chinese, english]) =>
      html`<button class="btn small" data-act="jump" data-id="${ms}">${zh(chinese, english)}</button>`)
    : html`<span class="soft">${zh('时钟不共用', 'Clock not shared')}</span>`}`;
