// What the person does: one function for each `data-act`, with its `data-id`.

import { Refused, answered, ask, box, html, line, money, toast, zh } from './tools.js';
import { api, remember, shop, signIn, signedOut, state } from './shop.js';
import { goodsName, message, openThings } from './words.js';
import { open, panel, refresh, show } from './view.js';

/** Does it, or says why not. */
async function run(work) {
  try { await work() } catch (e) {
    if (!(e instanceof Refused)) throw e;
    toast(html`${e.message} <small>${[e.code, e.field].filter(Boolean).join(' · ')}</small>`, true);
    await refresh();
    await show(true);
  }
}
const go = tab => { state.tab = tab; state.stack = []; return show() };
const form = (title, fields, submit, close) =>
  ask(html`<h2>${title}</h2><form data-submit="answer">${fields}<button class="btn main wide">${submit}</button></form>`, close);
const field = (label, name, value, more = '') => html`<label>${label}<input name="${name}" value="${value}" ${more}></label>`;
const scan = (title, value) => form(title, html`<label>${zh('摄像头读到', 'What the camera reads')}<input name="code" value="${value}" required autofocus></label>`, zh('扫码', 'Scan'));

async function enter(store) {
  state.store = { id: store.id, name: store.name, kind: store.kind };
  state.category = '';
  remember();
  state.tab = 'stores';
  state.stack = [];
  await open('goods');
}

async function setQuantity(sku, by) {
  const { lines } = await shop.cart();
  const had = lines.find(l => l.sku_id === sku)?.quantity ?? 0;
  await shop.put(sku, had + by);
}
const change = by => sku => run(async () => { await setQuantity(sku, by); await show(true) });

/** One prompt of wx.requestSubscribeMessage. Nothing that is bought depends on it. */
async function subscribe(moment) {
  const templates = await shop.templates(moment).catch(() => []);
  if (!templates.length) return;
  const always = state.user.always ??= {};
  if (!(moment in always)) {
    const given = await form(zh('允许发送订阅消息？', 'Allow messages?'), html`${templates.map(t => line(message(t.kind), '一次 once', 'pair'))}
      <label class="check"><input type="checkbox" name="always">${zh('以后都允许，不再询问', 'Always, without asking')}</label>`, zh('允许', 'Allow'), zh('不允许', 'No'));
    if (!given) return;
    if (given.always) always[moment] = true;
    remember();
  }
  const template_ids = templates.map(t => t.template_id);
  await box('POST', '/subscribe-grants', { openid: state.user.openid, template_ids });
  await shop.granted(template_ids);
}

async function pay() {
  await subscribe('pay');
  const started = await api('POST', `/orders/${state.order}/payments`, { provider: 'WECHAT_PAY' });
  const prepay = started.request_payment.package.replace('prepay_id=', '');
  const choice = await ask(html`<h2 class="center">${zh('微信支付', 'WeChat Pay')}</h2><div class="amount">${money(started.amount)}</div>
    <button class="btn main wide" data-act="answer" data-id="pay">${zh('确认支付', 'Pay')}</button>
    ${state.info.clock_is_shared ? html`<button class="btn wide" data-act="answer" data-id="wait">${zh('等 31 分钟', 'Wait 31 minutes')}</button>` : ''}`, zh('放弃支付', 'Refuse'));
  if (choice === 'wait') return jump(1_860_000);
  const { result, message } = choice === 'pay' ? await payAt(prepay, started.request_payment) : await refuseAt(prepay);
  toast(message, result === 'fail');
  await api('POST', `/orders/${state.order}/payments/client-result`, { result });
  await soon();
}
async function payAt(prepay, parameters) {
  try {
    const { errMsg } = await box('POST', `/payments/${prepay}/pay`, { ...parameters, openid: state.user.openid });
    return { result: 'ok', message: errMsg };
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    return { result: 'fail', message: e.message };
  }
}
const refuseAt = async prepay => ({ result: 'cancel', message: (await box('POST', `/payments/${prepay}/refuse`)).errMsg });

async function jump(ms) {
  await box('POST', '/clock/advance', { ms });
  toast(zh('时间前进了', 'Time moved ahead'));
  await soon();
}
/** Shows it now, and again when the work behind the scenes is likely done. */
async function soon() {
  await refresh();
  await show(true);
  for (const ms of [400, 1200]) setTimeout(() => { show(true); panel() }, ms);
}

async function place() {
  const { quote } = state.data.checkout;
  await subscribe('place_order');
  let placed;
  try {
    const body = { quote_token: quote.quote_token, note: state.checkout.note || undefined };
    placed = await api('POST', '/orders', body, 'place-' + quote.quote_token.slice(-40));
  } catch (e) {
    if (e.code !== 'quote_changed') throw e;
    await show();
    return toast(zh('价格有变化，请再确认', 'The price changed; please look again'), true);
  }
  state.checkout = { coupon: null, address: null, note: '', way: state.checkout.way };
  state.order = placed.id;
  state.tab = 'orders';
  state.stack = ['order'];
  await show();
  if (placed.actions.can_pay.allowed) await pay();
}

async function refund() {
  const lines = state.data.order.lines.filter(l => l.refundable > 0);
  const given = await form(zh('申请退款', 'Ask for a refund'), html`
    ${lines.map(l => html`<label class="row"><span class="grow">${goodsName(l)}</span><select name="${l.line_id}" class="short">
      ${Array.from({ length: l.refundable + 1 }, (_, n) => l.refundable - n).map(n => html`<option value="${n}">${n} 件</option>`)}</select></label>`)}
    <label>${zh('原因', 'Reason')}<input name="reason" value="不想要了" maxlength="100" required></label>`, zh('提交', 'Submit'));
  if (!given) return;
  const wanted = lines.map(l => ({ line_id: l.line_id, quantity: Number(given[l.line_id]) }));
  const all = wanted.every((w, i) => w.quantity === lines[i].refundable);
  await subscribe('request_refund');
  await api('POST', `/orders/${state.order}/refunds`, { reason: given.reason, lines: all ? undefined : wanted.filter(w => w.quantity) });
  toast(zh('已提交', 'Submitted'));
  await soon();
}

const NEW_ADDRESS = { recipient: '林晓', province: '浙江省', city: '杭州市', district: '西湖区', detail: '龙井路 1 号 2 幢 301 室', is_default: false };
async function editAddress(id) {
  const a = id ? state.data.addresses.find(a => a.id === id) : NEW_ADDRESS;
  const given = await form(id ? zh('修改地址', 'Edit') : zh('新地址', 'New address'), html`
    ${field(zh('收货人', 'Recipient'), 'recipient', a.recipient)}
    <label>${zh('手机号', 'Phone')}<input name="phone" inputmode="tel" value="${id ? '' : '13800138000'}" placeholder="${a.phone || ''}" ${id ? '' : 'required'}></label>
    ${field(zh('省', 'Province'), 'province', a.province)}${field(zh('市', 'City'), 'city', a.city)}${field(zh('区', 'District'), 'district', a.district)}
    ${field(zh('街道门牌', 'Street, house, room'), 'detail', a.detail)}
    <label class="check"><input type="checkbox" name="is_default" ${a.is_default ? 'checked' : ''}>${zh('设为默认', 'Default')}</label>`, zh('保存', 'Save'));
  if (!given) return;
  const body = { ...given, phone: given.phone || undefined, is_default: 'is_default' in given };
  await (id ? api('PUT', '/addresses/' + id, body) : api('POST', '/addresses', body));
  await show(true);
}

async function login(name, phone) {
  const answer = await signIn(name, phone);
  toast(answer.is_new_user ? zh('欢迎新用户', 'Welcome') : zh('已登录', 'Signed in'));
  if (answer.phone_problem) toast(html`${zh('手机号没有绑定', 'The phone number was not taken')} <small>${answer.phone_problem}</small>`, true);
  await go('stores');
}
async function changeMe(work) {
  state.user.me = await work();
  remember();
  await show(true);
}

export const act = {
  // Getting around.
  tab: go,
  back: () => { state.stack.pop(); return show() },
  reload: () => show(),
  open,
  answer: answered,
  panel: to => { state.panel = to; return panel() },
  // Stores and goods.
  openOnly: () => { state.openOnly = !state.openOnly; return show(true) },
  store: id => enter(state.data.stores.find(s => s.id === id)),
  scanStore: () => run(async () => {
    const given = await scan(zh('扫店码', 'Scan the QR code of a store'), 'hz-wulin');
    if (given) await enter(await shop.storeByScene(given.code.trim()));
  }),
  category: kind => { state.category = kind; return show(true) },
  product: id => { state.product = id; return open('product') },
  scanGoods: () => run(async () => {
    const given = await scan(zh('扫码购', 'Scan to buy'), '6975612340018');
    if (!given) return;
    const sku = await shop.skuByBarcode(given.code.trim());
    state.product = sku.product_id;
    await open('product');
  }),
  add: sku => run(async () => { await setQuantity(sku, 1); toast(zh('已加入购物车', 'Added to the cart')) }),
  // Cart and check out.
  more: change(1),
  less: change(-1),
  clearCart: () => run(async () => { await api('DELETE', '/cart?store_id=' + state.store.id); await show(true) }),
  checkout: () => { state.checkout.coupon = null; return open('checkout') },
  way: to => { state.checkout.way = to; return show(true) },
  coupon: id => { state.checkout.coupon = id || null; return show(true) },
  useAddress: id => {
    state.checkout.address = id;
    if (state.stack.at(-2) !== 'checkout') return;
    state.stack.pop();
    return show();
  },
  editAddress: id => run(() => editAddress(id)),
  deleteAddress: id => run(async () => { await api('DELETE', '/addresses/' + id); await show(true) }),
  place: () => run(place),
  // Orders.
  ordersOf: status => { state.ordersOf = status; return show(true) },
  order: id => { state.order = id; return open('order') },
  pay: () => run(pay),
  cancel: () => run(async () => { await api('POST', `/orders/${state.order}/cancel`, {}); await soon() }),
  confirmReceipt: () => run(async () => { await subscribe('confirm_receipt'); await api('POST', `/orders/${state.order}/confirm-receipt`); await soon() }),
  refund: () => run(refund),
  withdraw: id => run(async () => { await api('POST', `/refunds/${id}/withdraw`); await soon() }),
  // The person.
  claim: id => run(async () => { await api('POST', `/coupon-templates/${id}/claims`); toast(zh('已领取', 'Claimed')); await show(true) }),
  read: id => run(async () => { await api('POST', `/notices/${id}/read`); await show(true) }),
  as: name => run(() => login(name)),
  signOut: () => run(async () => { try { await api('DELETE', '/sessions/current') } finally { signedOut() } await show() }),
  deleteAccount: () => run(async () => {
    const sure = await ask(html`<h2>${zh('注销账号？', 'Delete the account?')}</h2>
      <p class="soft">地址、手机号、优惠券和消息都会清除，不能恢复；订单和付款只留下没有姓名的账目。<br>
        Addresses, phone number, coupons and messages go for good; of orders and payments only the books stay, without a name.</p>
      <button class="btn main wide danger" data-act="answer" data-id="yes">${zh('注销', 'Delete')}</button>`, zh('不注销', 'Keep it'));
    if (!sure) return;
    try {
      await api('DELETE', '/me');
    } catch (e) {
      if (e.code !== 'account_in_use') throw e;
      return void await ask(html`<h2>${zh('现在还不能注销', 'Not yet')}</h2><p>还有没结束的事，售后期结束后再来：<br>Something is not over; come back when its after-sale window has ended:</p>
        ${openThings(e.body).map(([what, ids]) => line(what, ids.length))}`);
    }
    signedOut();
    toast('账号已注销 The account is deleted');
    await show();
  }),
  rename: () => run(async () => {
    const given = await form(zh('改昵称', 'Rename'), html`<label>${zh('昵称', 'Nickname')}<input name="nickname" value="${state.user.me.nickname}" maxlength="20" required autofocus></label>`, zh('保存', 'Save'));
    if (given) await changeMe(() => api('PATCH', '/me', { nickname: given.nickname.trim() }));
  }),
  bindPhone: () => run(async () => {
    const given = await form(zh('绑定手机', 'Set the phone number'), html`<label>${zh('手机号', 'Phone')}<input name="phone" value="13800138000" inputmode="numeric" pattern="[0-9]{11}" required autofocus></label>`, zh('授权', 'Allow'));
    if (!given) return;
    const { code } = await box('POST', '/phone-codes', { openid: state.user.openid, phone: given.phone });
    await changeMe(() => api('PUT', '/me/phone', { code }));
  }),
  // The channel's side.
  jump: ms => run(() => jump(Number(ms))),
  fault: kind => run(async () => {
    const on = state.faults.some(f => f.kind === kind);
    await (on ? box('DELETE', '/faults?kind=' + kind) : box('POST', '/faults', { kind, times: 1 }));
    await panel();
  }),
  clearFaults: () => run(async () => { await box('DELETE', '/faults'); await panel() }),
  resend: id => run(async () => { await box('POST', `/notifications/${id}/resend`); toast(zh('重发', 'Sent again')); await soon() }),
  finish: id => run(async () => { await box('POST', `/refunds/${encodeURIComponent(id)}/finish`, { status: 'SUCCESS' }); await soon() }),
  confirm: id => run(async () => { await box('POST', `/shipments/${encodeURIComponent(id)}/confirm`); toast(zh('微信侧已确认收货', 'Confirmed in WeChat')); await soon() }),
};

export const changed = {
  place: value => { state.place = value; return show() },
  note: value => { state.checkout.note = value },
};
export const submitted = {
  login: ({ name, phone }) => run(() => login(name.trim(), phone)),
  answer: answered,
};
