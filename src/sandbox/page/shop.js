// The shop's API as the mini-program calls it, and what the phone remembers.

import { Refused, box, freshKey, http } from './tools.js';

export const state = {
  /** GET /sandbox/info, and when it was asked. */
  info: null, infoAt: 0,
  /** {name, openid, token, refresh, me} */
  user: null,
  /** The store that the person is in. */
  store: null,
  tab: 'stores', stack: [], panel: 'money', data: {}, unread: 0,
  place: '30.2592,120.1655', openOnly: false, category: '', product: null, order: null, ordersOf: '',
  checkout: { coupon: null, address: null, note: '', way: 'DELIVERY' },
};

const kept = name => { try { return JSON.parse(sessionStorage.getItem(name)) } catch { return null } };
state.user = kept('user');
state.store = kept('store');
export function remember() {
  for (const name of ['user', 'store']) sessionStorage.setItem(name, JSON.stringify(state[name]));
}

/** What time it is for the shop. */
export const now = () => state.info.now_ms + (Date.now() - state.infoAt);

let refreshing = null;
/** A refresh token works once, so that requests that expire together share one refresh. */
function refresh(user) {
  refreshing ??= http(base(), 'POST', '/sessions/refresh', { refresh_token: user.refresh }, { 'Idempotency-Key': freshKey() })
    .then(fresh => { Object.assign(user, { token: fresh.token, refresh: fresh.refresh_token }); remember() })
    .finally(() => { refreshing = null });
  return refreshing;
}

const base = () => (state.info?.shop_url || '').replace(/\/$/, '') + '/api/v1';

export async function api(method, path, body, key) {
  if (!state.info?.shop_url) throw new Refused(0, { code: 'no_shop', detail: '沙箱不知道商城的地址 The sandbox knows no shop' });
  const headers = method === 'GET' ? {} : { 'Idempotency-Key': key || freshKey() };
  const user = state.user;
  const send = () => http(base(), method, path, body, user ? { ...headers, Authorization: 'Bearer ' + user.token } : headers);
  try {
    return await send();
  } catch (e) {
    if (e.status !== 401 || !user || !path.startsWith('/')) throw e;
    try { await refresh(user) } catch { signedOut(); throw e }
    return send();
  }
}

export function signedOut() {
  state.user = null;
  state.unread = 0;
  remember();
}

export async function signIn(name, phone) {
  const { code, openid } = await box('POST', '/login-codes', { name });
  const phone_code = phone ? (await box('POST', '/phone-codes', { openid, phone })).code : undefined;
  state.user = null;
  const answer = await api('POST', '/sessions', { code, phone_code });
  state.user = { name, openid, token: answer.token, refresh: answer.refresh_token, me: answer.user };
  remember();
  return answer;
}

const items = list => list.items;
const query = given => new URLSearchParams(Object.entries(given).filter(([, v]) => v !== '' && v != null)).toString();
const inStore = () => 'store_id=' + state.store.id;

/** How the store that the person is in hands goods over. */
export const ways = () => state.store?.kind === 'PHYSICAL' ? ['DELIVERY', 'PICKUP', 'IN_STORE'] : ['DELIVERY'];
export const way = () => ways().includes(state.checkout.way) ? state.checkout.way : 'DELIVERY';

const codes = {};
/** The picture of an order's pickup code; the phone keeps it as long as the page is open. */
async function pickupCode(id, code) {
  const got = await fetch(`${base()}/orders/${id}/pickup-qr`, { headers: { Authorization: 'Bearer ' + state.user.token } });
  return got.ok ? codes[code] ??= URL.createObjectURL(await got.blob()) : null;
}

export const shop = {
  stores: async () => {
    const [lat, lng] = state.place.split(',');
    return items(await api('GET', '/stores?' + query({ lat, lng, open_now: state.openOnly || '', limit: 50 })));
  },
  storeByScene: scene => api('GET', '/stores/by-scene/' + encodeURIComponent(scene)),
  products: async () => items(await api('GET', `/products?${inStore()}&limit=100`)),
  product: id => api('GET', `/products/${id}?${inStore()}`),
  skuByBarcode: barcode => api('GET', `/skus/by-barcode/${encodeURIComponent(barcode)}?${inStore()}`),
  cart: () => api('GET', '/cart?' + inStore()),
  put: (sku, quantity) => quantity > 0
    ? api('PUT', '/cart/lines/' + sku, { store_id: state.store.id, quantity })
    : api('DELETE', `/cart/lines/${sku}?${inStore()}`),
  addresses: async () => items(await api('GET', '/addresses')),
  coupons: async () => items(await api('GET', '/coupons?limit=50')),
  claimable: async () => items(await api('GET', '/coupon-templates?limit=50')),
  usable: lines => api('POST', '/coupons/usable', { store_id: state.store.id, lines }),
  quote: (lines, address, coupon) => api('POST', '/quotes', {
    store_id: state.store.id, fulfilment: way(), lines, address_id: way() === 'DELIVERY' ? address : undefined,
    coupon_ids: coupon ? [coupon] : [],
  }),
  orders: async () => items(await api('GET', '/orders?' + query({ status: state.ordersOf, limit: 30 }))),
  counts: async () => items(await api('GET', '/orders/counts')),
  order: async id => {
    const order = await api('GET', '/orders/' + id), open = order.pickup?.code_is_open && order.pickup.code;
    return { ...order, qr: open ? codes[open] ?? await pickupCode(id, open) : null };
  },
  notices: async () => items(await api('GET', '/notices?limit=50')),
  templates: async moment => items(await api('GET', '/subscribe-templates?moment=' + moment)),
  granted: template_ids => api('POST', '/subscribe-grants', { template_ids }),
  messages: () => box('GET', '/messages?openid=' + encodeURIComponent(state.user.openid)),
};
