//! The compiled-in demo identity: one mini-program and one merchant that exist only in the sandbox.
//! Everybody can read these keys, so production mode refuses to start with any of them.

pub const APPID: &str = "wx5a9db0c5de300001";
pub const APP_SECRET: &str = "5a0db0c5demo00secret00for00sandb";
pub const MCHID: &str = "1900009191";
pub const MERCHANT_PRIVATE_KEY_PEM: &str = include_str!("keys/merchant_private_key.pem");
pub const MERCHANT_PUBLIC_KEY_PEM: &str = include_str!("keys/merchant_public_key.pem");
pub const MERCHANT_CERTIFICATE_PEM: &str = include_str!("keys/merchant_certificate.pem");
/// 40 upper-case hex digits, as in the merchant's certificate.
pub const MERCHANT_SERIAL: &str = "4D3E10DE30C0FFEE0000000000000000000000C3";
/// 32 bytes of ASCII.
pub const APIV3_KEY: &str = "sandbox0apiv3key0for0minimall032";
pub const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0119000091912026010100000000000001";
pub const PUBLIC_KEY_PEM: &str = include_str!("keys/wechatpay_public_key.pem");
/// The platform certificate that is in force until `rotate_certificate` is switched on.
pub const OLDER_PLATFORM_CERTIFICATE_PEM: &str = include_str!("keys/platform_older_certificate.pem");
/// The platform certificate that replaces it.
pub const NEWER_PLATFORM_CERTIFICATE_PEM: &str = include_str!("keys/platform_newer_certificate.pem");
/// Token of the message push.
pub const PUSH_TOKEN: &str = "sandboxpushtoken";
/// EncodingAESKey of the message push, 43 characters.
pub const PUSH_ENCODING_AES_KEY: &str = "xWnU9sJK37QPfkq9y+6emrmTNIXLOl36TtRtjo8pon8";

/// A template of subscribe messages, as the mini-program's console lists it.
pub struct SubscribeTemplate {
    pub id: &'static str,
    pub title: &'static str,
    /// Key of the value and its label. The key's prefix says what the value may be.
    pub values: &'static [(&'static str, &'static str)],
}

pub const TEMPLATE_WAIT_PAY: &str = "SbxWaitPay00000000000000000000000000000001_";
pub const TEMPLATE_CANCELLED: &str = "SbxCancelled0000000000000000000000000000002";
pub const TEMPLATE_CONFIRM: &str = "SbxConfirm00000000000000000000000000000003_";
pub const TEMPLATE_PAID: &str = "SbxPaid0000000000000000000000000000000004__";
pub const TEMPLATE_FINISHED: &str = "SbxFinished000000000000000000000000000005__";
pub const TEMPLATE_REFUND: &str = "SbxRefund00000000000000000000000000000006__";

/// The templates that the sandbox knows; a send to any other is refused with 40037.
pub const SUBSCRIBE_TEMPLATES: &[SubscribeTemplate] = &[
    SubscribeTemplate {
        id: TEMPLATE_WAIT_PAY,
        title: "待付款提醒",
        values: &[
            ("character_string1", "订单编号"),
            ("thing2", "商品名称"),
            ("amount3", "订单金额"),
            ("time4", "支付截止时间"),
            ("thing5", "温馨提示"),
        ],
    },
    SubscribeTemplate {
        id: TEMPLATE_CANCELLED,
        title: "订单取消通知",
        values: &[
            ("character_string1", "订单编号"),
            ("thing2", "商品名称"),
            ("amount3", "订单金额"),
            ("thing4", "取消原因"),
            ("time5", "取消时间"),
        ],
    },
    SubscribeTemplate {
        id: TEMPLATE_CONFIRM,
        title: "发货与取货通知",
        values: &[
            ("character_string1", "订单编号"),
            ("thing2", "商品名称"),
            ("thing3", "快递公司或门店"),
            ("character_string4", "快递单号或取货码"),
            ("thing5", "温馨提示"),
        ],
    },
    SubscribeTemplate {
        id: TEMPLATE_PAID,
        title: "支付成功通知",
        values: &[
            ("character_string1", "订单编号"),
            ("thing2", "商品名称"),
            ("amount3", "支付金额"),
            ("time4", "支付时间"),
            ("thing5", "温馨提示"),
        ],
    },
    SubscribeTemplate {
        id: TEMPLATE_FINISHED,
        title: "订单完成通知",
        values: &[
            ("character_string1", "订单编号"),
            ("thing2", "商品名称"),
            ("time3", "完成时间"),
            ("thing4", "温馨提示"),
        ],
    },
    SubscribeTemplate {
        id: TEMPLATE_REFUND,
        title: "退款通知",
        values: &[
            ("character_string1", "订单编号"),
            ("thing2", "商品名称"),
            ("amount3", "退款金额"),
            ("thing4", "退款说明"),
            ("time5", "退款时间"),
        ],
    },
];
