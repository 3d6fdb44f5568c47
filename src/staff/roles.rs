//! Who may do what: one table from operations to permissions, one from permissions to roles. The checker of
//! [`super::StaffAuth`] enforces both, and the OpenAPI document tells them. What is in no row is refused.

use super::Role;

use Permission::{
    DecideRefunds, ManageStaff, Operate, OwnAccount, Read, RunShop, RunStore, SeePhone, Serve, SettleMoney,
    StartRefunds, Watch,
};

/// What an operation asks of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// One's own account and devices.
    OwnAccount,
    /// Read what the shop is about: stores, goods, coupons, orders, refunds.
    Read,
    /// See a customer's phone number in full.
    SeePhone,
    /// Hand goods over: parcels, pickup, the exit check, notes, and switching off what is sold out.
    Serve,
    /// Run a store: its hours, prices and stock, and orders that have to be cancelled or priced anew.
    RunStore,
    /// Change what all stores share: goods, coupons, and which stores there are.
    RunShop,
    /// Start a refund for a customer; it waits unless the member may decide about refunds, too.
    StartRefunds,
    /// Decide about refunds.
    DecideRefunds,
    /// Settle money by hand: proofs, payments that are not what was asked for, a channel that can't answer.
    SettleMoney,
    /// Alerts.
    Watch,
    /// The machinery: dead letters, the outbox, caches, the audit log.
    Operate,
    /// Members, their roles and devices.
    ManageStaff,
}

impl Permission {
    /// Who has it. The owner has them all.
    pub const fn roles(self) -> &'static [Role] {
        use Role::{Clerk, Finance, Manager, Owner, Viewer};
        match self {
            Self::OwnAccount | Self::Read => &[Owner, Manager, Clerk, Finance, Viewer],
            Self::SeePhone | Self::Serve | Self::StartRefunds => &[Owner, Manager, Clerk],
            Self::RunStore | Self::RunShop => &[Owner, Manager],
            Self::DecideRefunds | Self::Watch => &[Owner, Manager, Finance],
            Self::SettleMoney => &[Owner, Finance],
            Self::Operate | Self::ManageStaff => &[Owner],
        }
    }

    /// Is it about the whole shop, so that a member whose stores are limited does not have it?
    pub const fn is_of_whole_shop(self) -> bool {
        matches!(self, Self::RunShop | Self::Watch | Self::Operate | Self::ManageStaff)
    }
}

/// Every operation that takes a staff member, by its id in the OpenAPI document.
pub const OPERATIONS: &[(&str, Permission)] = &[
    ("getStaffMe", OwnAccount),
    ("changeStaffPassword", OwnAccount),
    ("signOutStaff", OwnAccount),
    ("listMyStaffSessions", OwnAccount),
    ("endMyStaffSession", OwnAccount),
    // Members.
    ("listStaff", ManageStaff),
    ("getStaff", ManageStaff),
    ("changeStaffRole", ManageStaff),
    ("disableStaff", ManageStaff),
    ("enableStaff", ManageStaff),
    ("listStaffSessions", ManageStaff),
    ("endStaffSessions", ManageStaff),
    ("endStaffSession", ManageStaff),
    ("inviteStaff", ManageStaff),
    ("listStaffInvitations", ManageStaff),
    ("takeBackStaffInvitation", ManageStaff),
    // Stores and goods.
    ("listStores", Read),
    ("getStore", Read),
    ("getStoreQrCode", Read),
    ("createStore", RunShop),
    ("updateStore", RunStore),
    ("pauseStore", RunStore),
    ("resumeStore", RunStore),
    ("listProducts", Read),
    ("getProduct", Read),
    ("createProduct", RunShop),
    ("updateProduct", RunShop),
    ("createSku", RunShop),
    ("updateSku", RunShop),
    ("setOffer", RunStore),
    ("setSoldOut", Serve),
    ("listStock", Read),
    ("listStockMoves", Read),
    ("adjustStock", RunStore),
    ("listDiscrepancies", Read),
    // Coupons.
    ("listCouponTemplates", Read),
    ("getCouponTemplate", Read),
    ("createCouponTemplate", RunShop),
    ("updateCouponTemplate", RunShop),
    ("listUserCoupons", Read),
    ("grantCoupon", RunShop),
    ("voidCoupon", RunShop),
    // Orders.
    ("getTodo", Read),
    ("listAllOrders", Read),
    ("getOrderForStaff", Read),
    ("listCarriers", Read),
    ("listenToOrders", Read),
    ("shipOrder", Serve),
    ("correctTracking", Serve),
    ("createShippingBatch", Serve),
    ("listShippingBatches", Serve),
    ("getShippingBatch", Serve),
    ("applyShippingBatch", Serve),
    ("listFailedUploads", Read),
    ("retryUpload", Serve),
    ("retryFailedUploads", Serve),
    ("revealRecipients", SeePhone),
    ("listUsers", Read),
    ("getUser", Read),
    ("revealPhone", SeePhone),
    ("listPickups", Read),
    ("markOrderReady", Serve),
    ("verifyPickup", Serve),
    ("handOverPickup", Serve),
    ("exitCheckOrder", Serve),
    ("addOrderNote", Serve),
    ("repriceOrder", RunStore),
    ("cancelOrderByStaff", RunStore),
    ("releaseOrderHold", RunStore),
    // Refunds and money.
    ("listAllRefunds", Read),
    ("getRefund", Read),
    ("approveRefund", DecideRefunds),
    ("rejectRefund", DecideRefunds),
    ("retryRefund", DecideRefunds),
    ("getRefundPhotoForStaff", Read),
    ("startRefund", StartRefunds),
    ("requireReturn", DecideRefunds),
    ("receiveReturn", Serve),
    ("listPayments", Read),
    ("decidePayment", SettleMoney),
    ("uploadRefundProof", SettleMoney),
    ("proposeRefundProof", SettleMoney),
    ("proposeRefundGiveUp", SettleMoney),
    ("proposeOrderClose", SettleMoney),
    ("listProposals", SettleMoney),
    ("confirmProposal", SettleMoney),
    ("declineProposal", SettleMoney),
    ("lookUpRefund", SettleMoney),
    ("listRefundDiscrepancies", SettleMoney),
    ("adoptRefundDiscrepancy", SettleMoney),
    ("closeRefundDiscrepancy", SettleMoney),
    // The machinery.
    ("listAlerts", Watch),
    ("closeAlert", Watch),
    ("listParkedNotices", Operate),
    ("replayParkedNotice", Operate),
    ("listDeadLetters", Operate),
    ("replayDeadLetter", Operate),
    ("getDeadLetter", Operate),
    ("replayDeadLetters", Operate),
    ("discardDeadLetter", Operate),
    ("getOutbox", Operate),
    ("listWaitingEvents", Operate),
    ("listWaitingDeliveries", Operate),
    ("getEvent", Operate),
    ("listCaches", Operate),
    ("dropCache", Operate),
    ("traceRequest", Operate),
    ("listAudit", Operate),
];

/// What an operation asks for; none: it is in no row, and nobody may call it.
pub fn permission_of(operation: &str) -> Option<Permission> {
    OPERATIONS.iter().find(|(id, _)| *id == operation).map(|(_, permission)| *permission)
}

/// Who may call an operation, in words for its description.
pub fn in_words(permission: Permission) -> String {
    let roles: Vec<&str> = permission.roles().iter().map(|role| role.as_str()).collect();
    let who = if roles.len() == Role::ALL.len() { "every role".to_owned() } else { roles.join(", ") };
    let whole_shop = "; it is of the whole shop, so not members whose stores are limited";
    format!("May call it: {who}{}.", if permission.is_of_whole_shop() { whole_shop } else { "" })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_owner_may_do_everything_and_every_operation_has_one_row() {
        let mut seen = BTreeSet::new();
        for (operation, permission) in OPERATIONS {
            assert!(seen.insert(operation), "{operation} has two rows");
            assert!(permission.roles().contains(&Role::Owner), "{operation}");
        }
        assert_eq!(permission_of("dropEverything"), None);
    }
}
