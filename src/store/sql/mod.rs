//! The common part of the SQL stores: column values, filters as conditions, and the choice of a list's index.

mod arms;
mod bounds;
pub(super) mod columns;
mod condition;
pub(super) mod list;
pub(super) mod params;
mod ranges;
