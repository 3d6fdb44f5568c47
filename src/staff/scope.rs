//! Which stores a member is there for.

use std::collections::BTreeSet;

use crate::kernel::StoreId;

/// The stores whose orders, refunds, stock and pickups a member sees and handles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoreScope {
    /// Every store, also those that open later.
    #[default]
    All,
    /// These only.
    Only(BTreeSet<StoreId>),
}

impl StoreScope {
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    pub fn has(&self, store: &StoreId) -> bool {
        self.stores().is_none_or(|stores| stores.contains(store))
    }

    /// This store of them only, where one is named; nothing, where it is none of them.
    pub fn within(&self, store: Option<&StoreId>) -> Self {
        match store {
            None => self.clone(),
            Some(store) if self.has(store) => Self::Only(BTreeSet::from([store.clone()])),
            Some(_) => Self::Only(BTreeSet::new()),
        }
    }

    /// The stores, where they are limited.
    pub const fn stores(&self) -> Option<&BTreeSet<StoreId>> {
        match self {
            Self::All => None,
            Self::Only(stores) => Some(stores),
        }
    }

    /// A condition that narrows a query to these stores, with a place for each of [`StoreScope::bound`]; empty
    /// for all stores.
    pub fn condition(&self, column: &str) -> String {
        match self {
            Self::All => String::new(),
            Self::Only(stores) if stores.is_empty() => " AND 1 = 0".to_owned(),
            Self::Only(stores) => format!(" AND {column} IN ({})", vec!["?"; stores.len()].join(", ")),
        }
    }

    /// What [`StoreScope::condition`] is bound to, in its order.
    pub fn bound(&self) -> impl Iterator<Item = &StoreId> {
        self.stores().into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Id;

    #[test]
    fn a_scope_has_its_stores_and_no_other() {
        let store = |n: char| StoreId::from_tail(&n.to_string().repeat(26));
        let only = StoreScope::Only([store('1'), store('2')].into());
        assert_eq!(only.condition("store_id"), " AND store_id IN (?, ?)");
        assert_eq!(only.bound().count(), 2);
        assert!(only.has(&store('2')) && !only.has(&store('3')));
        assert!(StoreScope::All.has(&store('3')) && StoreScope::All.condition("store_id").is_empty());
        let nothing = StoreScope::Only(BTreeSet::new());
        assert!(!nothing.has(&store('1')) && nothing.condition("store_id").contains("1 = 0"));
    }
}
