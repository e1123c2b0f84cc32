//! Plans of several forms and wordings, studies, and bad input.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod bad_plans;
mod forms;
mod real_settings;
mod report;
mod sample;
mod studies;
mod wordings;

use kinvert_study::Plan;

/// A plan of `tests/fixtures`, its form found from its content.
fn fixture(name: &str) -> Plan {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    Plan::read(&path, None).unwrap()
}
