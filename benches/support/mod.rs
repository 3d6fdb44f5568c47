//! What all rows share: the program under test, a lean client, slices, percentiles, the report.

pub mod copies;
pub mod fixtures;
pub mod http;
pub mod machine;
pub mod report;
pub mod services;
pub mod shop;
pub mod slices;
pub mod statements;
pub mod times;
