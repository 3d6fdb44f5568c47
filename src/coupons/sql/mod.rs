//! All SQL of this feature, by table; `checks` looks over all of them.

mod checks;
mod coupons;
mod templates;

pub use checks::*;
pub use coupons::*;
pub use templates::*;

/// `?, ?, …` for so many values.
fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}
