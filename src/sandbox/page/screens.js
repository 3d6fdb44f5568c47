// The phone's screens: what each loads, and how it looks. What a press does is in actions.js.

import { box, clock, day, distance, empty, hour, html, line, minutes, money, zh } from './tools.js';
import { now, shop, state, way, ways } from './shop.js';
import { benefit, goodsName, reason, shares, tag, threshold, WAYS } from './words.js';
import { order } from './order.js';

const PLACES = [
  ['30.2592,120.1655', '杭州 西湖断桥 West Lake'], ['30.2718,120.1634', '杭州 武林广场 Wulin Square'],
  ['30.2084,120.2123', '杭州 滨江 Binjiang'], ['31.2304,121.4737', '上海 人民广场 Shanghai'],
];
const HUES = [145, 28, 205, 265, 340, 60, 178];
/** A picture, or a coloured tile with the first character. */
export function thumb(name, image, kind = name) {
  const hue = HUES[[...String(kind)].reduce((sum, c) => sum + c.codePointAt(0), 0) % HUES.length];
  const tile = html`<span class="thumb" style="--hue:${hue}" aria-hidden="true">${[...(name || '?')][0]}</span>`;
  // The demo's pictures are only names.
  return image && !image.startsWith('https://example.com/') ? html`<img class="thumb" src="${image}" alt="">` : tile;
}

const openHours = s => s.paused ? html`<span class="tag bad">暂停营业 <small>Paused</small></span>`
  : s.open_now ? html`<span class="tag good">营业中 <small>${s.closes_at ? 'until ' + hour(s.closes_at, s.time_zone) : 'Open'}</small></span>`
  : html`<span class="tag">休息 <small>${s.opens_at ? 'opens ' + hour(s.opens_at, s.time_zone) : 'Closed'}</small></span>`;

const stores = {
  title: '门店 Stores', login: true, load: shop.stores,
  draw: list => html`
    <label>${zh('我的位置', 'Where I am')}<select data-change="place">${PLACES.map(([at, name]) =>
      html`<option value="${at}" ${at === state.place ? 'selected' : ''}>${name}</option>`)}</select></label>
    <div class="chips">
      <button class="btn small ${state.openOnly ? 'on' : ''}" aria-pressed="${state.openOnly}" data-act="openOnly">${zh('只看营业中', 'Open now')}</button>
      <button class="btn small" data-act="scanStore">${zh('扫店码', 'Scan a store')}</button>
    </div>
    ${list.map(s => html`<button class="card" data-act="store" data-id="${s.id}">
      <span class="row"><span class="name">${s.name}</span><span class="soft">${s.kind === 'ONLINE' ? zh('线上', 'Online') : distance(s.distance_m)}</span></span>
      <span class="row"><span class="soft grow">${s.kind === 'ONLINE' ? zh('快递到家', 'Delivered to you') : s.district + s.address}</span>${openHours(s)}</span></button>`)}
    ${list.length ? '' : empty(zh('没有门店', 'No stores'))}`,
};

const prices = p => p.price_from.amount === p.price_to.amount ? money(p.price_from) : html`${money(p.price_from)} ${zh('起', 'from')}`;
const soldOut = item => item.stock === 'OUT_OF_STOCK';
const goods = {
  title: () => state.store.name, login: true, load: shop.products,
  draw: list => {
    const kinds = [...new Set(list.map(p => p.category))];
    const shown = list.filter(p => !state.category || p.category === state.category);
    return html`<div class="chips">${['', ...kinds].map(k => html`<button class="btn small ${state.category === k ? 'on' : ''}"
        data-act="category" data-id="${k}">${k || zh('全部', 'All')}</button>`)}
      <button class="btn small" data-act="scanGoods">${zh('扫码购', 'Scan')}</button></div>
    ${shown.map(p => html`<button class="card row" data-act="product" data-id="${p.id}">${thumb(p.name, p.image, p.category)}
      <span class="grow"><span class="name">${p.name}</span><br><span class="soft">${p.summary}</span><br>
      <span class="price">${prices(p)}</span> ${soldOut(p) ? html`<span class="tag">${zh('售罄', 'Sold out')}</span>` : ''}</span></button>`)}
    ${list.length ? '' : empty(zh('这家店还没有商品', 'No goods here'))}`;
  },
};

/** Beside the shelf one can hold what the stock does not know of. */
const inHand = () => ways().includes('IN_STORE');
const product = {
  title: '商品 Product', login: true, load: () => shop.product(state.product),
  draw: p => html`<div class="card row">${thumb(p.name, p.image, p.category)}<div class="grow">
      <div class="name">${p.name}</div><div class="soft">${p.summary}</div></div></div>
    <div class="card">${p.skus.map(k => html`<div class="row sku"><div class="grow"><div>${k.name}</div>
      <span class="price">${money(k.price)}</span> ${k.left ? html`<span class="soft">${zh(`仅剩 ${k.left}`, 'left')}</span>` : ''}</div>
      <button class="btn small main" data-act="add" data-id="${k.id}" ${soldOut(k) && !inHand() ? 'disabled' : ''}>${soldOut(k) ? inHand() ? zh('售罄，已拿在手里', 'Sold out, in my hand') : zh('售罄', 'Sold out') : zh('加入购物车', 'Add')}</button></div>`)}</div>
    <div class="card soft">${p.description}</div>
    <button class="btn wide" data-act="tab" data-id="cart">${zh('看购物车', 'To the cart')}</button>`,
};

/** Lines that can be ordered as they are, in this way. */
const orderable = (list, as) => list.filter(l => !l.flags.some(f => f !== 'price' && (as !== 'IN_STORE' || f === 'not_sold')));
const cart = {
  title: '购物车 Cart', login: true, load: () => state.store && shop.cart(),
  draw: c => !state.store ? html`<div class="empty">${zh('先选一家门店', 'Choose a store first')}<br><br>
      <button class="btn main" data-act="tab" data-id="stores">${zh('看门店', 'Stores')}</button></div>`
    : html`<h2>${state.store.name}</h2>
    ${c.lines.map(l => html`<div class="card row">${thumb(l.offer?.product_name, l.offer?.image)}<div class="grow">
        <div class="name">${l.offer ? goodsName(l.offer) : l.sku_id}</div>
        <span class="price">${money(l.offer?.price ?? l.seen_price)}</span>
        ${l.flags.map(f => html` <span class="tag ${f === 'price' ? 'wait' : 'bad'}">${reason(f)}</span>`)}</div>
      <div class="count"><button data-act="less" data-id="${l.sku_id}" aria-label="减少 Less">−</button><span>${l.quantity}</span>
        <button data-act="more" data-id="${l.sku_id}" aria-label="增加 More">+</button></div></div>`)}
    ${c.lines.length ? html`<div class="card">${line(zh('商品合计', 'Goods'), money(c.goods_total), 'sum first')}</div>
      <button class="btn main wide" data-act="checkout" ${ways().some(as => orderable(c.lines, as).length) ? '' : 'disabled'}>${zh('去结算', 'Check out')}</button>
      <button class="btn wide plain" data-act="clearCart">${zh('清空', 'Empty it')}</button>`
      : html`<div class="empty">${zh('购物车是空的', 'The cart is empty')}<br><br>
        <button class="btn" data-act="open" data-id="goods">${zh('去选商品', 'To the goods')}</button></div>`}`,
};

const address = a => html`${a.recipient} ${a.phone}<br><span class="soft">${a.province}${a.city}${a.district} ${a.detail}</span>`;
const inCart = async () => orderable((await shop.cart()).lines, way()).map(l => ({ sku_id: l.sku_id, quantity: l.quantity }));
const checkout = {
  title: '确认订单 Check out', login: true,
  load: async () => {
    const picked = state.checkout, [addresses, lines] = await Promise.all([shop.addresses(), inCart()]);
    const to = addresses.find(a => a.id === picked.address) || addresses.find(a => a.is_default) || addresses[0];
    const coupons = lines.length ? await shop.usable(lines) : { usable: [], unusable: [] };
    if (picked.coupon && !coupons.usable.some(u => u.coupon.id === picked.coupon)) picked.coupon = null;
    const ready = lines.length && (way() !== 'DELIVERY' || to);
    return { to, coupons, quote: ready && await shop.quote(lines, to?.id, picked.coupon) };
  },
  draw: ({ to, coupons, quote }) => html`
    ${ways().length > 1 ? html`<div class="chips">${ways().map(as => html`<button class="btn small ${way() === as ? 'on' : ''}" aria-pressed="${way() === as}"
      data-act="way" data-id="${as}">${zh(...WAYS[as])}</button>`)}</div>` : ''}
    ${way() === 'DELIVERY' ? html`<button class="card row" data-act="open" data-id="addresses"><span>${to ? address(to) : zh('添加收货地址', 'Add an address')}</span><span class="soft">›</span></button>`
      : html`<div class="card">${state.store.name}</div>`}
    <h2>${zh('优惠券', 'Coupon')}</h2>
    <div class="card options"><button class="option ${state.checkout.coupon ? '' : 'on'}" data-act="coupon" data-id=""><span>${zh('不用', 'None')}</span></button>
      ${coupons.usable.map(({ coupon: c, discount }) => html`<button class="option ${state.checkout.coupon === c.id ? 'on' : ''}" data-act="coupon" data-id="${c.id}">
        <span>${c.name}<br><small>${threshold(c)} · 至 ${day(c.valid_until)}</small></span><span class="price">−${money(discount)}</span></button>`)}
      ${coupons.unusable.map(u => html`<div class="option off"><span>${u.coupon.name}<br><small>${reason(u.reason)}${u.missing ? html`，还差 ${money(u.missing)} more` : ''}</small></span></div>`)}</div>
    ${quote ? html`<div class="card">${quote.lines.map(l => html`${line(html`${goodsName(l)} ×${l.quantity}`, money(l.gross))}${shares(l)}`)}
      ${way() === 'DELIVERY' ? line(zh('运费', 'Freight'), quote.freight.amount ? money(quote.freight) : zh('免运费', 'free')) : ''}
      ${line(zh('应付', 'To pay'), html`<span class="price">${money(quote.payable)}</span>`, 'sum')}</div>
    <label>${zh('给商家的话', 'Note')}<input data-change="note" maxlength="200" value="${state.checkout.note}" placeholder="可不填 optional"></label>
    <button class="btn main wide" data-act="place">${zh('提交订单', 'Place the order')}</button>` : ''}`,
};

const addresses = {
  title: '收货地址 Addresses', login: true, load: shop.addresses,
  draw: list => html`${list.map(a => html`<div class="card"><button class="plain-row" data-act="useAddress" data-id="${a.id}">${address(a)}
      ${a.is_default ? html` <span class="tag good">${zh('默认', 'Default')}</span>` : ''}</button>
      <div class="chips end"><button class="btn small" data-act="editAddress" data-id="${a.id}">${zh('修改', 'Edit')}</button>
      <button class="btn small danger" data-act="deleteAddress" data-id="${a.id}">${zh('删除', 'Delete')}</button></div></div>`)}
    ${list.length ? '' : empty(zh('还没有地址', 'No addresses yet'))}
    <button class="btn main wide" data-act="editAddress" data-id="">${zh('新地址', 'New address')}</button>`,
};

const leftToPay = o => {
  const left = Date.parse(o.pay_before) - now();
  return left > 0 ? html`${zh('请付款', 'pay within')} <b>${minutes(left)}</b>` : zh('正在取消', 'being cancelled');
};
const orders = {
  title: '我的订单 Orders', login: true, fresh: true,
  load: async () => { const [list, counts] = await Promise.all([shop.orders(), shop.counts()]); return { list, counts } },
  draw: ({ list, counts }) => html`<div class="chips"><button class="btn small ${state.ordersOf ? '' : 'on'}" data-act="ordersOf" data-id="">${zh('全部', 'All')}</button>
      ${counts.map(c => html`<button class="btn small ${state.ordersOf === c.status ? 'on' : ''}" data-act="ordersOf" data-id="${c.status}">${tag(c.status)} ${c.count}</button>`)}</div>
    ${list.map(o => html`<button class="card" data-act="order" data-id="${o.id}"><span class="row"><span class="soft">${clock(o.placed_at)}</span>${tag(o.status)}</span>
      <span class="row"><span class="grow"><span class="name">${o.lines.map(l => l.product_name).join('、')}</span>
      <span class="soft block">${o.status === 'PENDING_PAYMENT' ? leftToPay(o) : o.refunded.amount ? html`${zh('已退', 'refunded')} ${money(o.refunded)}` : ''}</span></span>
      <span class="price">${money(o.payable)}</span></span></button>`)}
    ${list.length ? '' : empty(zh('还没有订单', 'No orders yet'))}`,
};

const inbox = {
  title: '消息 Messages', login: true, fresh: true,
  load: async () => { const [notices, messages] = await Promise.all([shop.notices(), shop.messages()]); return { notices, messages } },
  draw: ({ notices, messages }) => html`<h2>${zh('微信订阅消息', 'Subscribe messages from WeChat')}</h2>
    ${messages.map(m => html`<div class="card wechat"><div class="row"><span class="name">${m.title}</span><span class="soft">${clock(m.sent_ms)}</span></div>
      ${m.values.map(v => line(v.label, v.value, 'pair'))}</div>`)}
    ${messages.length ? '' : html`<div class="card soft">还没有。下单、付款、退款时允许订阅就会收到。<br>None yet: allow them when you order, pay or ask for a refund.</div>`}
    <h2>${zh('站内通知', 'In the app')}</h2>
    ${notices.map(n => html`<button class="card" data-act="read" data-id="${n.id}"><span class="row"><span class="name">${n.title}</span>
      ${n.read_at ? html`<span class="soft">${clock(n.created_at)}</span>` : html`<span class="tag bad">${zh('新', 'New')}</span>`}</span>
      <span class="soft block">${n.body}</span></button>`)}
    ${notices.length ? '' : html`<div class="card soft">${zh('还没有通知', 'Nothing yet')}</div>`}`,
};

const validity = v => v.days ? zh(`领取后 ${v.days} 天有效`, `${v.days} days`) : `${v.first_day} – ${v.last_day}`;
const coupons = {
  title: '优惠券 Coupons', login: true, fresh: true,
  load: async () => { const [mine, offers] = await Promise.all([shop.coupons(), shop.claimable()]); return { mine, offers } },
  draw: ({ mine, offers }) => html`<h2>${zh('我的', 'Mine')}</h2>
    ${mine.map(c => html`<div class="card coupon ${c.status === 'UNUSED' ? '' : 'over'}"><div class="row"><span class="name">${c.name}</span>${tag(c.status)}</div>
      <div class="row"><span class="soft">${threshold(c)} · 至 ${day(c.valid_until)}</span><span class="price">${benefit(c)}</span></div>
      ${c.void_when_back ? html`<div class="soft">${zh('退回后作废', 'void when it comes back')}</div>` : ''}</div>`)}
    ${mine.length ? '' : html`<div class="card soft">还没有。新用户券会自己到。<br>None yet; the coupon for new users comes by itself.</div>`}
    <h2>${zh('可领取', 'To claim')}</h2>
    ${offers.map(c => html`<div class="card coupon row"><div class="grow"><div class="name">${c.name} <span class="price">${benefit(c)}</span></div>
      <div class="soft">${threshold(c)}</div><div class="soft">${validity(c.validity)}</div><div class="soft">${zh(`余 ${c.remaining}`, 'left')} · ${zh(`已领 ${c.claimed}/${c.limit_per_user}`, 'claimed')}</div></div>
      <button class="btn small main" data-act="claim" data-id="${c.template_id}" title="${c.can_claim ? '' : reason(c.reason)}" ${c.can_claim ? '' : 'disabled'}>${zh('领取', 'Claim')}</button></div>`)}
    ${offers.length ? '' : html`<div class="card soft">${zh('现在没有', 'Nothing now')}</div>`}`,
};

const login = users => html`<div class="card"><form data-submit="login">
    <label>${zh('用户名', 'Name')}<input name="name" value="alice" maxlength="32" required></label>
    <label>${zh('手机号，可不填', 'Phone, optional')}<input name="phone" inputmode="numeric" pattern="[0-9]{11}" placeholder="13800138000" title="11 位数字 11 digits"></label>
    <button class="btn main wide">${zh('微信登录', 'Sign in with WeChat')}</button></form></div>
  <p class="soft center">名字就是另一个人：换个名字就是新用户。<br>Every name is a person; a new name is a new user.</p>
  ${users.length ? html`<h2>${zh('来过的用户', 'Seen here before')}</h2><div class="chips">${users.map(u =>
    html`<button class="btn small" data-act="as" data-id="${u.name}">${u.name}</button>`)}</div>` : ''}`;
const link = (to, text) => html`<button class="card row" data-act="open" data-id="${to}"><span>${text}</span><span class="soft">›</span></button>`;
const me = {
  title: '我的 Me',
  load: async () => state.user ? null : (await box('GET', '/users')).filter(u => u.name !== u.openid).slice(0, 12),
  draw: users => {
    if (!state.user) return login(users);
    const { me: user, name, openid } = state.user;
    return html`<div class="card"><div class="row">${thumb(name, user.avatar)}<div class="grow"><div class="name">${user.nickname}</div>
        <div class="soft">${user.phone || zh('未绑定手机', 'No phone yet')}</div></div></div>
        ${line(zh('沙箱用户名', 'sandbox name'), name, 'pair')}${line('openid', html`<code>${openid}</code>`, 'pair')}${line('user id', html`<code>${user.id}</code>`, 'pair')}
        <div class="chips end"><button class="btn small" data-act="rename">${zh('改昵称', 'Rename')}</button>
        <button class="btn small" data-act="bindPhone">${zh('绑定手机', 'Set phone')}</button></div></div>
      ${link('coupons', zh('优惠券', 'Coupons'))}${link('addresses', zh('收货地址', 'Addresses'))}
      <button class="btn wide" data-act="signOut">${zh('退出登录', 'Sign out')}</button>
      <button class="btn wide plain danger" data-act="deleteAccount">${zh('注销账号', 'Delete account')}</button>`;
  },
};

export const screens = { stores, goods, product, cart, checkout, addresses, orders, order, inbox, coupons, me };
export const TABS = [['stores', '门店', 'Stores'], ['cart', '购物车', 'Cart'], ['orders', '订单', 'Orders'], ['inbox', '消息', 'Inbox'], ['me', '我的', 'Me']];
