//! Answers of language models, read as data and nothing else.

use std::collections::HashSet;

use kinvert_study::{Action, Form, Plan};
use serde_json::{Map, Value};

use crate::clean::{clean, is_unclean};
use crate::{Existing, Mode};

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub plan: Plan,
    pub existing: Vec<Existing>,
    /// Ablations beyond those that were asked for, which are left out.
    pub surplus: usize,
}

/// Most ablations that a paper is believed to have.
const MAX_EXISTING: usize = 1000;

/// Most faults that a model is told.
const MAX_TOLD: usize = 20;

/// Reads an answer, or says everything that is wrong with it.
pub(crate) fn parse(text: &str, mode: Mode, count: usize) -> Result<Answer, Vec<String>> {
    let text = clean(after_thoughts(text));
    let mut faults = Vec::new();
    let mut take = |tag| element(&text, tag).map_err(|fault| faults.push(fault)).ok();
    let existing = match mode {
        Mode::Author => None,
        Mode::Reviewer => take("existing"),
    };
    let (discussion, predictions) = (take("discussion"), take("predictions"));
    let existing = existing.map_or(Vec::new(), |lines| read_existing(lines, &mut faults));
    if discussion.is_some_and(|discussion| discussion.is_empty()) {
        faults.push("<discussion> is empty, expected your reasoning".into());
    }
    let plan = predictions.and_then(|lines| read_plan(lines, &existing, &mut faults));
    let Some(mut plan) = plan.filter(|_| faults.is_empty()) else {
        faults.truncate(MAX_TOLD);
        return Err(faults);
    };
    let surplus = plan.ablations.len().saturating_sub(count);
    plan.ablations.truncate(count);
    plan.discussion = discussion.map(str::to_owned);
    Ok(Answer {
        plan,
        existing,
        surplus,
    })
}

/// Some models think aloud first, and may write our tags there.
pub(crate) fn after_thoughts(text: &str) -> &str {
    let begins = text.trim_start().strip_prefix("<think>");
    match begins.and_then(|thoughts| thoughts.split_once("</think>")) {
        Some((_, answer)) => answer,
        None => text,
    }
}

/// The content of an element that stands there exactly once.
fn element<'a>(text: &'a str, tag: &str) -> Result<&'a str, String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let count = |mark: &str| text.matches(mark).count();
    match (count(&open), count(&close)) {
        (1, 1) => {}
        (0, 0) => return Err(format!("there is no {open} element")),
        (1, 0) => return Err(format!("{open} is not closed: the answer may be cut off")),
        (opened, closed) => {
            return Err(format!(
                "{open} stands there {opened} times and {close} {closed} times, expected one of each"
            ));
        }
    }
    let (_, after) = text.split_once(&open).unwrap_or_default();
    match after.split_once(&close) {
        Some((content, _)) => Ok(content.trim()),
        None => Err(format!("{close} stands before {open}")),
    }
}

fn read_existing(lines: &str, faults: &mut Vec<String>) -> Vec<Existing> {
    let mut existing = Vec::new();
    for (index, line) in lines.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("```") {
            continue;
        }
        match one_existing(line) {
            Ok(found) => existing.push(found),
            Err(fault) => faults.push(format!("line {} of <existing>: {fault}", index + 1)),
        }
    }
    if existing.len() > MAX_EXISTING {
        let found = existing.len();
        faults.push(format!(
            "<existing> has {found} lines, expected at most {MAX_EXISTING}"
        ));
        existing.clear();
    }
    existing
}

/// One ablation that the paper has. Only its name must be there; a section may be a number.
fn one_existing(line: &str) -> Result<Existing, String> {
    let fields: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| format!("no JSON object: {error}"))?;
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(clean(text).trim().to_owned()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err(format!("`{name}` is no text")),
    };
    let existing = Existing {
        name: text("name")?,
        section: text("section")?,
        quote: text("quote")?,
    };
    match existing.name.is_empty() {
        true => Err("there is no `name`".into()),
        false => Ok(existing),
    }
}

fn read_plan(lines: &str, existing: &[Existing], faults: &mut Vec<String>) -> Option<Plan> {
    let plan = match Plan::parse("answer", lines, Some(Form::JsonLines)) {
        Ok(plan) => plan,
        Err(kinvert_study::Error::Faulty { faults: found, .. }) => {
            let told = found.told().iter();
            faults.extend(
                told.map(|fault| format!("{} of <predictions>: {}", fault.at, fault.reason)),
            );
            return None;
        }
        Err(error) => {
            faults.push(format!("<predictions>: {error}"));
            return None;
        }
    };
    let key = |name: &str| name.trim().to_lowercase();
    let known: HashSet<String> = existing.iter().map(|found| key(&found.name)).collect();
    for ablation in &plan.ablations {
        let (name, at) = (&ablation.name, ablation.at);
        let texts = [name, &ablation.ablated_part].into_iter();
        let mut texts = texts.chain(&ablation.replacement).chain(&ablation.metrics);
        // JSON can write characters that were not there to be taken out before.
        if texts.any(|text| is_unclean(text)) {
            faults.push(format!(
                "{at} of <predictions>: a text with control characters"
            ));
        }
        if ablation.action != Action::Remove && ablation.replacement.is_empty() {
            faults.push(format!(
                "{at} of <predictions>: `{name}` is to {} something, but has no `replacement`",
                ablation.action
            ));
        }
        // Settings may name files; what a model says must not choose any.
        if !ablation.variants.is_empty() {
            faults.push(format!(
                "{at} of <predictions>: `variant` is for people, expected words in `replacement`"
            ));
        }
        if known.contains(&key(name)) {
            faults.push(format!(
                "{at} of <predictions>: `{name}` stands in <existing> too, expected what is missing"
            ));
        }
    }
    Some(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"Here you are.
<existing>
{"name": "Shape", "section": "4.3", "quote": "we compare shapes"}
</existing>
<discussion>
Both embeddings are used.
</discussion>
<predictions>
```json
{"name": "A", "ablated_part": "the query-key embedding", "action": "REMOVE", "metrics": ["FID"]}
{"name": "B", "ablated_part": "the values", "action": "REPLACE", "replacement": ["x", "y"], "metrics": ["FID", "KID"]}
```
</predictions>"#;

    #[track_caller]
    fn refused(text: &str, mode: Mode, told: &str) {
        let faults = parse(text, mode, 5).expect_err(text);
        assert!(
            faults.iter().any(|fault| fault.contains(told)),
            "{faults:?}"
        );
    }

    #[test]
    fn an_answer_in_the_form_is_read() {
        let answer = parse(GOOD, Mode::Reviewer, 5).unwrap();
        assert_eq!(
            answer.plan.discussion.as_deref(),
            Some("Both embeddings are used.")
        );
        let names: Vec<_> = answer
            .plan
            .ablations
            .iter()
            .map(|a| a.name.as_str())
            .collect();
        assert_eq!(names, ["A", "B"]);
        assert_eq!(answer.existing.len(), 1);
        assert_eq!(answer.surplus, 0);
        let shorter = parse(GOOD, Mode::Author, 1).unwrap();
        assert_eq!((shorter.plan.ablations.len(), shorter.surplus), (1, 1));
        assert_eq!(shorter.existing, []);
    }

    #[test]
    fn thoughts_before_the_answer_are_no_part_of_it() {
        let text = format!("<think>I write <predictions> and </predictions> first</think>{GOOD}");
        assert!(parse(&text, Mode::Reviewer, 5).is_ok());
    }

    #[test]
    fn everything_that_is_missing_or_doubled_is_told() {
        refused(
            "I cannot help with that.",
            Mode::Author,
            "no <discussion> element",
        );
        refused(
            "I cannot help with that.",
            Mode::Author,
            "no <predictions> element",
        );
        refused(
            &GOOD.replace("existing>", "x>"),
            Mode::Reviewer,
            "no <existing> element",
        );
        refused(
            &GOOD.replace("</predictions>", ""),
            Mode::Reviewer,
            "cut off",
        );
        refused(&format!("{GOOD}{GOOD}"), Mode::Reviewer, "2 times");
        refused(
            &GOOD.replace("Both embeddings are used.", ""),
            Mode::Reviewer,
            "is empty",
        );
    }

    #[test]
    fn lines_that_are_no_ablations_are_told_with_their_place() {
        refused(
            &GOOD.replace("\"B\"", "\"A\""),
            Mode::Reviewer,
            "also the name of an ablation",
        );
        refused(
            &GOOD.replace("\"B\"", "\" shape\""),
            Mode::Reviewer,
            "stands in <existing> too",
        );
        refused(
            &GOOD.replace("\"REMOVE\"", "\"DELETE\""),
            Mode::Reviewer,
            "line 2 of <predictions>: action `DELETE`",
        );
        refused(
            &GOOD.replace(", \"replacement\": [\"x\", \"y\"]", ""),
            Mode::Reviewer,
            "no `replacement`",
        );
        refused(
            &GOOD.replace("\"KID\"]}", "\"KID\"]"),
            Mode::Reviewer,
            "no JSON object",
        );
        refused(
            &GOOD.replace("{\"name\": \"Shape\"", "{\"nom\": \"Shape\""),
            Mode::Reviewer,
            "line 1 of <existing>",
        );
        let settings =
            r#""variant": [{"name": "x", "model": "/etc"}], "ablated_part": "the values""#;
        refused(
            &GOOD.replace("\"ablated_part\": \"the values\"", settings),
            Mode::Reviewer,
            "`variant` is for people",
        );
        let numbered = GOOD
            .replace("\"4.3\"", "4.3")
            .replace("\"we compare shapes\"", "null");
        let answer = parse(&numbered, Mode::Reviewer, 5).unwrap();
        assert_eq!(
            (
                answer.existing[0].section.as_str(),
                answer.existing[0].quote.as_str()
            ),
            ("4.3", "")
        );
        let none = GOOD.split("{\"name\": \"A\"").next().unwrap().to_owned() + "\n</predictions>";
        refused(&none, Mode::Reviewer, "no ablations");
    }

    #[test]
    fn what_steers_a_terminal_does_not_come_through() {
        let answer = parse(&GOOD.replace("\"A\"", "\"A\u{1b}[2J\""), Mode::Reviewer, 5).unwrap();
        assert_eq!(answer.plan.ablations[0].name, "A");
        let written = GOOD.replace("\"A\"", "\"A\\u001b[2J\"");
        refused(&written, Mode::Reviewer, "control characters");
        let written = GOOD.replace("Shape", "Sh\\u001bape");
        let answer = parse(&written, Mode::Reviewer, 5).unwrap();
        assert_eq!(answer.existing[0].name, "Shape");
    }
}
