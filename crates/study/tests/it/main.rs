//! Plans of several forms and wordings, studies, and bad input.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod analysis;
mod bad_plans;
mod exports;
mod forms;
mod real_settings;
mod report;
mod running;
mod sample;
mod studies;
mod subset;
mod voting;
mod wordings;

use kinvert_study::Plan;

/// A plan of `tests/fixtures`, its form found from its content.
fn fixture(name: &str) -> Plan {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    Plan::read(&path, None).unwrap()
}
