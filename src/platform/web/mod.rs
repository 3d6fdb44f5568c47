//! What every HTTP operation shares: bodies that name the wrong field, problem documents, pages, replies,
//! and the scope of a request (its id, its log line, its metrics).

mod body;
mod csv;
mod picture;
mod problem;
mod reply;
mod schema;
mod scope;
mod tags;

pub use body::{Body, raw_body};
pub use csv::{Csv, CsvExample};
pub use picture::{CODES, Picture, PictureBody};
pub use problem::{Problem, ProblemDocument};
pub use reply::{Answer, CachedJson, Created, List, NoContent};
pub use scope::RequestScope;
pub use tags::Tag;

use crate::kernel::Result;

/// What an operation answers: its reply, or a problem document.
pub type Reply<T> = Result<T, Problem>;
