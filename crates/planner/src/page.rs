//! A proposal as a page that people read, and a plan that can be run.

use std::fmt::Write;

use kinvert_study::plan::{markdown_block, markdown_line};

use crate::{Mode, Proposal};

/// A page of Markdown: the reasoning, the plan, the ablations that the paper has, and how the plan came about.
/// [`kinvert_study::Plan::read`] reads it as the plan.
pub fn page(proposal: &Proposal, planner: &str, mode: Mode) -> String {
    let mut page = proposal.plan.to_markdown();
    // Writing to a string cannot fail.
    if mode == Mode::Reviewer {
        page.push_str("\n## Ablations that the paper has\n\n");
        if proposal.existing.is_empty() {
            page.push_str("None were found.\n");
        }
        for existing in &proposal.existing {
            let section = match existing.section.trim() {
                "" => String::new(),
                section => format!(" ({section})"),
            };
            let name = &existing.name;
            let _ = writeln!(page, "{}", item(&format!("1. {name}{section}")));
            if !existing.quote.trim().is_empty() {
                let _ = writeln!(page, "   > {}", markdown_line(&existing.quote));
            }
        }
    }
    page.push_str("\n## How this plan was made\n\n");
    let seen = match mode {
        Mode::Author => "the paper up to its experiments",
        Mode::Reviewer => "the whole paper",
    };
    let planner = markdown_line(planner);
    let _ = writeln!(
        page,
        "Planned by {planner} with Kinvert {}, from {seen}.",
        env!("CARGO_PKG_VERSION")
    );
    let usage = &proposal.usage;
    if usage.answers + usage.from_cache > 0 {
        let _ = writeln!(page, "It took {usage}.");
    }
    if !proposal.notes.is_empty() {
        page.push('\n');
        for note in &proposal.notes {
            let _ = writeln!(page, "{}", item(&format!("* {note}")));
        }
    }
    page
}

/// One item of a list on one line. What looks like a field of an ablation is no item, lest it be read as one.
fn item(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    markdown_block(&line)
}
