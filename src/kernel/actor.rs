//! Who does something: it goes into timelines and audit rows.

use std::fmt;

use super::{StaffId, UserId};

/// The one who acts. A verb takes it and writes it beside what it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    User(UserId),
    Staff(StaffId),
    /// The system itself, with the part of it that acts: `timeout`, `wechat_pay`, `sweep`.
    System(&'static str),
}

impl Actor {
    /// `user`, `staff` or `system`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Staff(_) => "staff",
            Self::System(_) => "system",
        }
    }

    /// The id of the person, or the name of the part of the system.
    pub fn id(&self) -> &str {
        match self {
            Self::User(id) => id.as_str(),
            Self::Staff(id) => id.as_str(),
            Self::System(part) => part,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.id())
    }
}
