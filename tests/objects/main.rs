//! Objects in S3, against a double that others wrote (`moto`), with faults in between. With the feature `cloud` only:
//! `tests/run --features cloud` installs the double, and says so where it cannot.

mod double;
mod faults;
mod served;
#[path = "../site/mod.rs"]
mod site;
mod uploads;
