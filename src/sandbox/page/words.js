// The API's words in both languages of the page, with the colour of their tag.

import { html, line, money, zh } from './tools.js';

const WORDS = {
  PENDING_PAYMENT: ['待付款', 'To pay', 'wait'], CLOSING: ['取消中', 'Closing', 'wait'], PAID: ['待发货', 'Paid', 'good'],
  PARTIALLY_SHIPPED: ['部分发货', 'Partly shipped', 'good'], SHIPPED: ['已发货', 'Shipped', 'good'],
  READY_FOR_PICKUP: ['待取货', 'Ready', 'good'], COMPLETED: ['已完成', 'Completed', 'good'],
  FINISHED: ['已结束', 'Finished', ''], CLOSED: ['已关闭', 'Closed', ''],
  // Payments and notifications at the channel.
  NOTPAY: ['未支付', 'NOTPAY', 'wait'], SUCCESS: ['成功', 'SUCCESS', 'good'], REFUND: ['有退款', 'REFUND', 'wait'],
  PROCESSING: ['处理中', 'PROCESSING', 'wait'], ABNORMAL: ['异常', 'ABNORMAL', 'bad'],
  PENDING: ['待发送', 'PENDING', 'wait'], DELIVERED: ['已送达', 'DELIVERED', 'good'],
  GIVEN_UP: ['已放弃', 'GIVEN_UP', 'bad'], DROPPED: ['已丢弃', 'DROPPED', 'bad'],
  // Payment attempts.
  CREATED: ['已创建', 'Created', 'wait'], PREPAID: ['待支付', 'Prepaid', 'wait'], FAILED: ['失败', 'Failed', 'bad'],
  'payment SUCCEEDED': ['已支付', 'Paid', 'good'], ORPHAN: ['待退回', 'Goes back', 'bad'],
  // Coupons.
  UNUSED: ['可用', 'Unused', 'good'], LOCKED: ['占用中', 'Locked', 'wait'], USED: ['已使用', 'Used', ''],
  EXPIRED: ['已过期', 'Expired', ''], VOID: ['已作废', 'Void', ''],
  // Refunds.
  REQUESTED: ['待审核', 'Requested', 'wait'], AWAITING_RETURN: ['待退货', 'Return it', 'wait'],
  APPROVED: ['已同意', 'Approved', 'wait'], SUBMITTED: ['已提交', 'Submitted', 'wait'],
  SUCCEEDED: ['已退款', 'Refunded', 'good'], REJECTED: ['已拒绝', 'Rejected', 'bad'],
  WITHDRAWN: ['已撤回', 'Withdrawn', ''], MANUAL: ['人工处理', 'By hand', 'wait'],
};
/** `of`: whose word it is, where two things use one for different ends. */
export const tag = (word, of) => {
  const [chinese, english, kind] = WORDS[`${of} ${word}`] || WORDS[word] || [word, '', ''];
  return html`<span class="tag ${kind}">${chinese} <small>${english}</small></span>`;
};

const REASONS = {
  not_sold: '不再售卖 Not sold any more', sold_out: '已售罄 Sold out', out_of_stock: '库存不足 Too few left', price: '价格有变 The price changed',
  used: '已使用 Used', locked: '被订单占用 An order holds it', expired: '已过期 Expired', not_yet_valid: '未到使用时间 Not yet valid',
  void: '已作废 Void', threshold_not_met: '未达门槛 Below its minimum', other_goods: '不适用这些商品 For other goods',
  other_store: '不适用本店 For other stores', other_currency: '币种不同 Another currency', cannot_combine: "不能同用 Can't be combined",
  coupon_limit_reached: '已领完限额 You have as many as one can', coupon_sold_out: '已抢光 All taken', coupon_template_ended: '已结束 Ended',
  payment_window_closing: '离截止不足 90 秒，不能再发起支付 Too close to the deadline',
  payment_under_review: '有一笔付款待人工核对 A payment is under review',
};
export const reason = code => REASONS[code] || code;

const OPEN_THINGS = {
  orders: ['订单', 'Orders'], payments: ['付款', 'Payments'], refunds: ['退款', 'Refunds'], shipments: ['发货信息上传', 'Shipments to report'],
};
/** What keeps an account from being deleted: the words of each kind, and its ids. */
export const openThings = problem => Object.entries(OPEN_THINGS).filter(([kind]) => problem[kind]).map(([kind, words]) => [zh(...words), problem[kind]]);

/** How goods reach the customer. */
export const WAYS = { DELIVERY: ['送到家', 'Delivery'], PICKUP: ['到店自取', 'Pickup'], IN_STORE: ['店内扫码购', 'In the store'] };

const CLOSED = { user: '你取消了 You cancelled it', staff: '商家取消 The store cancelled it', timeout: '超时未付款 Not paid in time', refunded: '已全部退款 All refunded' };
const PAID = {
  DELIVERY: '等商家发货（管理接口 ship） The store ships it', PICKUP: '等门店备货（管理接口 ready） The store gets it ready',
  IN_STORE: '在出口出示取货码（管理接口 exit-check） Show the code at the exit',
};
/** What happens next, in a sentence. */
export function hint(order) {
  switch (order.status) {
    case 'CLOSING': return '正在请微信支付关单 WeChat Pay is asked to close it';
    case 'CLOSED': return CLOSED[order.close_reason] || '';
    case 'PAID': return PAID[order.fulfilment];
    case 'READY_FOR_PICKUP': return '凭取货码到店取货（管理接口 pickups） Show the code in the store';
    case 'PARTIALLY_SHIPPED': return '还有商品未发货 More is to come';
    case 'SHIPPED': return '收到后请确认收货 Confirm when it arrives';
    case 'COMPLETED': return '售后期内仍可退款 Refunds are still possible';
    default: return '';
  }
}

/** The discount of a coupon in two words. */
export function benefit({ benefit: b }) {
  if (b.kind === 'AMOUNT') return `减 ${money(b.amount)}`;
  const off = b.off_basis_points / 100;
  return `减 ${off}%${b.cap ? `，最多 ${money(b.cap)}` : ''}`;
}
export const threshold = c => c.threshold.amount ? `满 ${money(c.threshold)} 可用` : '无门槛 No minimum';

const MESSAGES = {
  wait_pay: '待付款提醒 To pay', cancel: '订单取消通知 Cancelled', confirm: '发货与取货通知 Shipped', pay: '支付成功通知 Paid',
  finished: '订单完成通知 Finished', refund: '退款通知 Refunded',
};
export const message = kind => MESSAGES[kind] || kind;

/** Product and SKU of a line. */
export const goodsName = l => l.sku_name && l.sku_name !== l.product_name ? html`${l.product_name} · ${l.sku_name}` : l.product_name;
/** What rules took off a line. */
export const shares = l => l.shares.map(s => line(s.name, '−' + money(s.amount), 'off'));
