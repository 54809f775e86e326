//! What the stores that speak SQL share: column values, filters as conditions, how lists find their index.

mod bounds;
pub(super) mod columns;
mod condition;
pub(super) mod list;
pub(super) mod params;
