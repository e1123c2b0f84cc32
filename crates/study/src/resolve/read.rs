//! What the words of one wish ask for, given what its ablation is about.

use std::collections::BTreeSet;

use super::axes::{AXES, Axis, COMMON, Number, Setting, Value};
use super::parts::{self, Subjects};
use super::words::{Meaning, Separator, Token, fold, lex};
use super::{Unresolved, Variant};
use crate::plan::Ablation;
use crate::settings::Settings;

/// What an ablation is about.
pub(super) struct Context {
    /// How clearly it speaks of each axis.
    scores: [u32; AXES.len()],
    anchors: BTreeSet<&'static str>,
    /// Words of the part and the name: an unknown one that a wish repeats is harmless.
    words: BTreeSet<String>,
    /// The embeddings that the part speaks of, and those that the name speaks of.
    pub part: Subjects,
    pub name: Subjects,
    /// Whether it asks for the embeddings one by one.
    pub individual: bool,
}

/// What was found for a wish or a part of it.
pub(super) enum Found {
    Settings {
        axis: &'static str,
        variants: Vec<Variant>,
        own: Vec<String>,
        notes: Vec<String>,
    },
    /// Settings that it could mean.
    Ambiguous(Vec<String>),
    /// A part of a wish that was not understood beside others that were.
    Stub(String),
}

/// A reading on one axis, and how much of the wish it takes in.
pub(super) struct Candidate {
    pub axis: &'static str,
    pub variants: Vec<Variant>,
    pub own: Vec<String>,
    pub stubs: Vec<String>,
    pub notes: Vec<String>,
    pub ambiguous: Vec<String>,
    pub evidence: u32,
}

impl Context {
    pub fn of(ablation: &Ablation) -> Self {
        let part = lex(&fold(&ablation.ablated_part));
        let name = lex(&fold(&ablation.name));
        let items: Vec<Token> = ablation
            .replacement
            .iter()
            .flat_map(|item| lex(&fold(item)))
            .collect();
        let sets = [(&part, 2), (&name, 2), (&items, 1)].map(|(t, w)| (concepts(t), w));
        let score = |axis: &Axis| {
            let topics = axis.topics.iter();
            topics
                .map(|(topic, clarity)| {
                    let places = sets.iter().filter(|(set, _)| set.contains(topic));
                    clarity * places.map(|(_, weight)| weight).sum::<u32>()
                })
                .sum()
        };
        let said = concepts(&part)
            .union(&concepts(&name))
            .copied()
            .collect::<BTreeSet<_>>();
        Self {
            scores: std::array::from_fn(|index| score(&AXES[index])),
            anchors: sets
                .iter()
                .flat_map(|(set, _)| set.iter().copied())
                .collect(),
            words: part
                .iter()
                .chain(&name)
                .filter(|token| token.meaning == Meaning::Unknown)
                .map(|token| token.words.clone())
                .collect(),
            part: Subjects::of(&part),
            name: Subjects::of(&name),
            individual: said.contains("individual") || said.contains("both"),
        }
    }

    /// What a replacement or addition asks for.
    pub fn wish(&self, text: &str) -> Vec<Found> {
        let mut ambiguous = Vec::new();
        let views = Views::of(text, true);
        for (tokens, left_out) in views.all() {
            if is_own(tokens)
                && let Some(top) = self.top()
            {
                return vec![Found::Settings {
                    axis: top.name,
                    variants: Vec::new(),
                    own: vec!["the method's own".into()],
                    notes: Vec::new(),
                }];
            }
            let candidates = AXES.iter().enumerate().filter_map(|(index, axis)| {
                if !self.allows(index) {
                    return None;
                }
                let speaks = concepts(tokens)
                    .iter()
                    .any(|concept| axis.topics.iter().any(|(topic, _)| topic == concept));
                let is_top = self.top().is_some_and(|top| top.name == axis.name);
                if !speaks && !is_top {
                    return None;
                }
                if !may_set_aside(axis, tokens, left_out) {
                    return None;
                }
                let candidate = parts::read(axis, tokens, self, is_top)
                    .or_else(|| self.read(axis, tokens, is_top))?;
                Some((self.scores[index] + 3 * candidate.evidence, candidate))
            });
            match best(candidates.collect()) {
                Ok(Some(mut candidate)) if candidate.ambiguous.is_empty() => {
                    candidate.notes.extend(set_aside(left_out));
                    return candidate.found();
                }
                Ok(Some(candidate)) => ambiguous = candidate.ambiguous,
                Ok(None) => {}
                Err(names) => ambiguous = names,
            }
        }
        match ambiguous.is_empty() {
            true => Vec::new(),
            false => vec![Found::Ambiguous(ambiguous)],
        }
    }

    /// What remains when a part is removed.
    pub fn removal(&self, text: &str) -> Vec<Found> {
        let views = Views::of(text, false);
        for (tokens, left_out) in views.all() {
            let said = concepts(tokens);
            let candidates = AXES.iter().enumerate().filter_map(|(index, axis)| {
                if !self.allows(index)
                    || !self.reads(axis, tokens, 2)
                    || !may_set_aside(axis, tokens, left_out)
                {
                    return None;
                }
                let candidate = parts::remove(axis, tokens, self).or_else(|| {
                    // "Remove no debias" says nothing that can be run.
                    if said.contains("without") || said.contains("only") {
                        return None;
                    }
                    remove(axis, &said)
                })?;
                Some((self.scores[index] + 3 * candidate.evidence, candidate))
            });
            match best(candidates.collect()) {
                Ok(Some(mut candidate)) => {
                    candidate.notes.extend(set_aside(left_out));
                    return candidate.found();
                }
                Ok(None) => {}
                Err(names) => return vec![Found::Ambiguous(names)],
            }
        }
        Vec::new()
    }

    /// Why a wish could not be read.
    pub fn unresolved(&self, text: &str) -> Unresolved {
        let tokens = lex(&fold(text));
        let said = concepts(&tokens);
        let nearness = |(index, axis): &(usize, &Axis)| {
            let topics = axis.topics.iter().filter(|(topic, _)| said.contains(topic));
            let own: u32 = topics.map(|(_, clarity)| clarity).sum();
            self.scores[*index] + 3 * own
        };
        let nearest = AXES
            .iter()
            .enumerate()
            .rev() // of equals the first
            .max_by_key(nearness)
            .filter(|candidate| nearness(candidate) > 0)
            .map(|(_, axis)| axis);
        let mut unresolved = Unresolved {
            words: text.to_owned(),
            nearest_axis: nearest.map(|axis| axis.name.to_owned()),
            ..Unresolved::default()
        };
        for token in tokens {
            let list = match token.meaning {
                Meaning::Concept(concept)
                    if nearest.is_some_and(|axis| axis.knows(concept))
                        || COMMON.contains(&concept) =>
                {
                    &mut unresolved.understood
                }
                Meaning::Concept(_)
                | Meaning::Number(_)
                | Meaning::Grid(..)
                | Meaning::Unknown
                | Meaning::Foreign => &mut unresolved.not_understood,
                Meaning::Separator(_) | Meaning::Neutral => continue,
            };
            if !list.contains(&token.words) {
                list.push(token.words);
            }
        }
        unresolved
    }

    /// The axis that the ablation speaks of most clearly, if it is one.
    fn top(&self) -> Option<&'static Axis> {
        let most = *self.scores.iter().max()?;
        let mut tops = (0..AXES.len()).filter(|index| self.scores[*index] == most);
        let top = tops.next().filter(|_| most > 0)?;
        (tops.next().is_none() && self.allows(top)).then(|| &AXES[top])
    }

    fn allows(&self, index: usize) -> bool {
        let axis = &AXES[index];
        let anchored = axis.anchors.is_empty()
            || axis
                .anchors
                .iter()
                .any(|anchor| self.anchors.contains(anchor));
        anchored && self.scores[index] > 0
    }

    /// Whether enough of the words is understood to trust a reading: no word that changes the meaning, and at
    /// most one unknown word for every `known_per_unknown` known ones.
    pub fn reads(&self, axis: &Axis, tokens: &[Token], known_per_unknown: usize) -> bool {
        let (mut known, mut unknown) = (0, 0);
        for token in tokens {
            match token.meaning {
                Meaning::Foreign => return false,
                Meaning::Concept(concept) if axis.knows(concept) || COMMON.contains(&concept) => {
                    known += 1;
                }
                Meaning::Unknown if self.words.contains(&token.words) => {}
                Meaning::Concept(_) | Meaning::Unknown => unknown += 1,
                Meaning::Number(_) | Meaning::Grid(..) => known += 1,
                Meaning::Separator(_) | Meaning::Neutral => {}
            }
        }
        unknown * known_per_unknown <= known
    }

    /// Reads a wish by the phrases and numbers of an axis.
    fn read(&self, axis: &'static Axis, tokens: &[Token], is_top: bool) -> Option<Candidate> {
        let whole = self.piece(axis, &Piece::of(tokens), is_top);
        let alternatives = self.alternatives(axis, tokens, is_top);
        let is_or = |token: &Token| {
            use Separator::{Or, Semicolon};
            matches!(token.meaning, Meaning::Separator(Or | Semicolon))
        };
        let apart = tokens.iter().any(is_or)
            && alternatives
                .as_ref()
                .is_some_and(|read| read.stubs.is_empty());
        match apart {
            true => alternatives,
            false => whole.or(alternatives),
        }
    }

    /// Reads the parts of a wish between separators, each for itself.
    fn alternatives(
        &self,
        axis: &'static Axis,
        tokens: &[Token],
        is_top: bool,
    ) -> Option<Candidate> {
        let pieces = pieces(axis, tokens);
        if pieces.len() < 2 {
            return None;
        }
        let mut whole = Candidate::on(axis.name);
        let mut subjects = BTreeSet::new();
        for piece in &pieces {
            match self.piece(axis, piece, is_top) {
                Some(mut read) => {
                    whole.variants.append(&mut read.variants);
                    whole.own.append(&mut read.own);
                    whole.notes.append(&mut read.notes);
                    whole.ambiguous.append(&mut read.ambiguous);
                    whole.evidence = whole.evidence.max(read.evidence);
                    subjects.insert(Subjects::of(&piece.tokens));
                }
                None => whole.stubs.push(piece.words()),
            }
        }
        // "Multiply MQK and add MV" is one wish, not two.
        let one_each = subjects.contains(&Subjects::Mqk) && subjects.contains(&Subjects::Mv);
        (whole.evidence > 0 && !one_each).then_some(whole)
    }

    fn piece(&self, axis: &'static Axis, piece: &Piece, is_top: bool) -> Option<Candidate> {
        if !self.reads(axis, &piece.tokens, 4) {
            return None;
        }
        let mut candidate = Candidate::on(axis.name);
        let numbers = piece.numbers();
        if numbers.is_empty() {
            let mut settings = axis.settings.iter().filter_map(|setting| {
                let phrases = setting.phrases.iter();
                let size = phrases
                    .filter_map(|phrase| asks(axis, phrase, &piece.concepts))
                    .max()?;
                Some((size, setting))
            });
            let first = settings.next()?;
            let all: Vec<_> = std::iter::once(first).chain(settings).collect();
            let most = all.iter().map(|(size, _)| *size).max()?;
            let nearest: Vec<_> = all.iter().filter(|(size, _)| *size == most).collect();
            candidate.evidence = most;
            if nearest.len() > 1 {
                candidate.ambiguous = nearest.iter().map(|(_, s)| s.name.to_owned()).collect();
                return Some(candidate);
            }
            candidate.take(nearest.first()?.1);
            return Some(candidate);
        }
        let number = axis.number.as_ref()?;
        let beside = |concept: &&str| number.beside.contains(concept);
        let said = piece.concepts.iter().filter(|c| beside(c)).count() as u32;
        let strange = piece
            .concepts
            .iter()
            .any(|c| !beside(c) && axis.knows(c) && !COMMON.contains(c));
        if strange || (said == 0 && !is_top) {
            return None;
        }
        candidate.evidence = 2 + said;
        for value in numbers {
            candidate.take_number(number, value)?;
        }
        Some(candidate)
    }
}

impl Candidate {
    pub fn on(axis: &'static str) -> Self {
        Self {
            axis,
            variants: Vec::new(),
            own: Vec::new(),
            stubs: Vec::new(),
            notes: Vec::new(),
            ambiguous: Vec::new(),
            evidence: 0,
        }
    }

    /// Adds settings, or the baseline if nothing differs.
    pub fn add(&mut self, settings: Settings, own: impl Into<String>) {
        match settings.is_empty() {
            true => self.own.push(own.into()),
            false => self.variants.push(Variant {
                name: settings.name(),
                settings,
            }),
        }
    }

    fn take(&mut self, setting: &Setting) {
        let settings = setting.values.iter().fold(
            Settings::default(),
            |settings, (field, value)| match value {
                Value::Word(word) => settings.and(field, *word),
                Value::Number(number) => settings.and(field, *number),
            },
        );
        self.add(settings, setting.name);
    }

    fn take_number(&mut self, number: &Number, value: f64) -> Option<()> {
        let fits = (number.least..=number.most).contains(&value);
        if !fits || (number.whole && value.fract() != 0.0) {
            return None;
        }
        let settings = match number.own {
            Some(own) if own == value => Settings::default(),
            _ if number.whole => Settings::default().and(number.field, value as i64),
            _ => Settings::default().and(number.field, value),
        };
        self.add(settings, format!("{} {value}", number.field));
        Some(())
    }

    fn found(self) -> Vec<Found> {
        let mut found = vec![Found::Settings {
            axis: self.axis,
            variants: self.variants,
            own: self.own,
            notes: self.notes,
        }];
        found.extend(self.stubs.into_iter().map(Found::Stub));
        found
    }
}

/// Whether a phrase asks for its setting with these words, and if so with how many of them.
fn asks(axis: &Axis, phrase: &str, said: &BTreeSet<&'static str>) -> Option<u32> {
    let is_said = |word: &&str| said.contains(word);
    let needed = || {
        phrase
            .split_whitespace()
            .filter(|word| !word.starts_with('?'))
    };
    if !needed().all(|word| is_said(&word)) {
        return None;
    }
    let words = || {
        phrase
            .split_whitespace()
            .map(|word| word.trim_start_matches('?'))
    };
    if axis
        .vocabulary()
        .any(|other| is_said(&other) && !words().any(|word| word == other))
    {
        return None;
    }
    Some(words().filter(is_said).count() as u32)
}

/// What an axis becomes when the part that these words name is removed.
fn remove(axis: &'static Axis, said: &BTreeSet<&'static str>) -> Option<Candidate> {
    let phrases = axis.removed.iter().filter_map(|(phrase, remains)| {
        let all = phrase.split_whitespace().all(|word| said.contains(word));
        all.then(|| (phrase.split_whitespace().count() as u32, *remains))
    });
    let (size, remains) = phrases.max_by_key(|(size, _)| *size)?;
    let setting = axis
        .settings
        .iter()
        .find(|setting| setting.name == remains)?;
    let mut candidate = Candidate::on(axis.name);
    candidate.evidence = size;
    candidate.take(setting);
    Some(candidate)
}

/// The one that ranks highest, or the names of all that do.
fn best(candidates: Vec<(u32, Candidate)>) -> Result<Option<Candidate>, Vec<String>> {
    let Some(most) = candidates.iter().map(|(rank, _)| *rank).max() else {
        return Ok(None);
    };
    let mut nearest: Vec<_> = candidates
        .into_iter()
        .filter(|(rank, _)| *rank == most)
        .map(|(_, candidate)| candidate)
        .collect();
    if nearest.len() > 1 {
        let told = |candidate: &Candidate| {
            let variants = candidate
                .variants
                .iter()
                .map(|variant| variant.name.clone());
            let names: Vec<_> = variants.chain(candidate.own.iter().cloned()).collect();
            format!("{}: {}", candidate.axis, names.join(", "))
        };
        return Err(nearest.iter().map(told).collect());
    }
    Ok(nearest.pop())
}

/// A part of a wish that may stand for itself.
pub(super) struct Piece {
    pub tokens: Vec<Token>,
    pub concepts: BTreeSet<&'static str>,
}

impl Piece {
    pub fn of(tokens: &[Token]) -> Self {
        Self {
            tokens: tokens.to_vec(),
            concepts: concepts(tokens),
        }
    }

    pub fn numbers(&self) -> Vec<f64> {
        let number = |token: &Token| match token.meaning {
            Meaning::Number(value) => Some(value),
            _ => None,
        };
        self.tokens.iter().filter_map(number).collect()
    }

    pub fn words(&self) -> String {
        let words: Vec<_> = self
            .tokens
            .iter()
            .map(|token| token.words.as_str())
            .collect();
        words.join(" ")
    }

    pub fn says_something(&self) -> bool {
        self.tokens
            .iter()
            .any(|token| !matches!(token.meaning, Meaning::Neutral | Meaning::Separator(_)))
    }
}

/// Parts between separators, each with the separator before it.
pub(super) fn split(tokens: &[Token]) -> Vec<(Option<Separator>, Piece)> {
    let mut pieces = Vec::new();
    let mut before = None;
    let mut current = Vec::new();
    for token in tokens {
        match token.meaning {
            Meaning::Separator(separator) => {
                pieces.push((before, Piece::of(&std::mem::take(&mut current))));
                before = Some(separator);
            }
            _ => current.push(token.clone()),
        }
    }
    pieces.push((before, Piece::of(&current)));
    pieces.retain(|(_, piece)| piece.says_something());
    pieces
}

/// The alternatives of a wish, each with the words that it shares with those beside it: "multiply before or
/// after projection", "add or multiply after projection".
fn pieces(axis: &Axis, tokens: &[Token]) -> Vec<Piece> {
    let parts = split(tokens);
    let mut pieces: Vec<Piece> = Vec::new();
    let has = |piece: &Piece| {
        let mut carried = axis.carried.iter();
        carried.find(|word| piece.concepts.contains(*word)).copied()
    };
    for (index, (_, part)) in parts.iter().enumerate() {
        let mut piece = Piece::of(&part.tokens);
        if has(&piece).is_none()
            && let Some(word) = pieces.iter().rev().find_map(has)
        {
            piece.concepts.insert(word);
        }
        let joined = |separator| matches!(separator, Some(Separator::Or | Separator::And));
        if let Some((separator, next)) = parts.get(index + 1)
            && joined(*separator)
            && piece.concepts.len() == 1
            && has(&piece).is_some()
            && has(next).is_some()
        {
            let shared = next
                .concepts
                .iter()
                .filter(|word| !axis.carried.contains(word));
            piece.concepts.extend(shared);
        }
        pieces.push(piece);
    }
    pieces
}

pub(super) fn concepts(tokens: &[Token]) -> BTreeSet<&'static str> {
    let concept = |token: &Token| match token.meaning {
        Meaning::Concept(concept) => Some(concept),
        _ => None,
    };
    tokens.iter().filter_map(concept).collect()
}

/// Whether a wish names what the method does anyway, and nothing else.
fn is_own(tokens: &[Token]) -> bool {
    let said = concepts(tokens);
    let strange = |t: &Token| {
        matches!(
            t.meaning,
            Meaning::Unknown | Meaning::Foreign | Meaning::Number(_) | Meaning::Grid(..)
        )
    };
    said.contains("original") && said.len() == 1 && !tokens.iter().any(strange)
}

/// Whether a replacement says that there is none: "None", "N/A".
pub(super) fn says_nothing(item: &str) -> bool {
    let letters: String = item.chars().filter(|c| c.is_alphanumeric()).collect();
    matches!(
        letters.to_lowercase().as_str(),
        "" | "none" | "na" | "null" | "nothing"
    )
}

/// A wish as written, and what stands outside and inside of its brackets; all without explanations, which speak
/// of other things.
struct Views {
    whole: Vec<Token>,
    /// Outside and inside of brackets, if there are any.
    parts: Option<[Vec<Token>; 2]>,
}

impl Views {
    fn of(text: &str, is_wish: bool) -> Self {
        let mut folded = fold(text);
        if is_wish {
            folded = replaced_by(without_label(&folded)).to_owned();
        }
        let (mut outside, mut inside) = (String::new(), String::new());
        let mut depth = 0_usize;
        for c in folded.chars() {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth = depth.saturating_sub(1),
                _ if depth > 0 => inside.push(c),
                _ => outside.push(c),
            }
            if matches!(c, '(' | ')' | '[' | ']') {
                inside.push(' ');
                outside.push(' ');
            }
        }
        let tokens = |text: &str| lex(&without_explanations(text));
        let parts = [tokens(&outside), tokens(&inside)];
        Self {
            whole: tokens(&folded),
            parts: (!inside.trim().is_empty()).then_some(parts),
        }
    }

    /// The most telling first, each with what it leaves out.
    fn all(&self) -> Vec<(&[Token], &[Token])> {
        let mut views: Vec<(&[Token], &[Token])> = vec![(&self.whole, &[])];
        if let Some([outside, inside]) = &self.parts {
            views.extend([(&outside[..], &inside[..]), (inside, outside)]);
        }
        views
    }
}

/// Whether what is left out says nothing more about an axis.
fn may_set_aside(axis: &Axis, view: &[Token], left_out: &[Token]) -> bool {
    let said = concepts(view);
    let tells = |concept: &&str| {
        let limits = ["only", "without", "partial"].contains(concept);
        let more = axis.knows(concept) && !COMMON.contains(concept);
        !said.contains(concept) && (limits || more)
    };
    let is_foreign = |token: &Token| token.meaning == Meaning::Foreign;
    !left_out.iter().any(is_foreign) && !concepts(left_out).iter().any(tells)
}

fn set_aside(left_out: &[Token]) -> Option<String> {
    let left_out = Piece::of(left_out);
    left_out
        .says_something()
        .then(|| format!("set aside: {}", left_out.words()))
}

/// Drops `Variant A:`, `option 1.`, `(b)` and keys of flattened tables such as `method:`.
fn without_label(text: &str) -> &str {
    let text = text.trim();
    if let Some((label, rest)) = text.split_once(": ")
        && !label.contains([',', ';'])
        && label.split_whitespace().count() <= 3
    {
        let tokens = lex(&label.replace('.', " "));
        let first = label.split([' ', '.', '-']).next().unwrap_or_default();
        let counts = matches!(
            first,
            "variant"
                | "option"
                | "setting"
                | "config"
                | "configuration"
                | "version"
                | "alternative"
                | "case"
        );
        let only_neutral = tokens.iter().all(|token| token.meaning == Meaning::Neutral);
        if counts || only_neutral {
            return rest;
        }
    }
    let unbracketed = text.strip_prefix('(').unwrap_or(text);
    let mark: String = unbracketed
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric())
        .collect();
    let rest = &unbracketed[mark.len()..];
    if mark.len() == 1
        && let Some(rest) = rest.strip_prefix([')', '.'])
        && rest.starts_with(' ')
    {
        return rest;
    }
    text
}

/// Of "replace X with Y" or "X -> Y", Y.
fn replaced_by(text: &str) -> &str {
    if let Some((_, after)) = text.rsplit_once("->") {
        return after;
    }
    for (verb, joints) in [
        ("replac", [" with ", " by "]),
        ("substitut", [" with ", " by "]),
        ("switch", [" to ", " into "]),
        ("chang", [" to ", " into "]),
    ] {
        if let Some(start) = text.find(verb)
            && (start == 0 || text[..start].ends_with(' '))
        {
            let rest = &text[start..];
            let joint = joints
                .iter()
                .filter_map(|joint| rest.find(joint).map(|at| at + joint.len()))
                .min();
            if let Some(end) = joint {
                return &rest[end..];
            }
        }
    }
    text
}

/// What begins an explanation, which goes on to the next comma or the end of the sentence.
const EXPLANATIONS: [&str; 39] = [
    "instead of",
    "rather than",
    "in place of",
    "as opposed to",
    "compared to",
    "compared with",
    "in contrast to",
    "unlike",
    "in order to",
    "so that",
    "such that",
    "to test",
    "to see",
    "to verify",
    "to assess",
    "to evaluate",
    "to isolate",
    "to check",
    "to examine",
    "to investigate",
    "to determine",
    "to study",
    "to understand",
    "which",
    "whereas",
    "while",
    "thereby",
    "thus",
    "because",
    "since",
    "as in the original",
    "to capture",
    "to model",
    "designed to",
    "used to",
    "for capturing",
    "responsible for",
    "that capture",
    "that captures",
];

fn without_explanations(text: &str) -> String {
    let mut kept = text.to_owned();
    for marker in EXPLANATIONS {
        while let Some(start) = find_words(&kept, marker) {
            let rest = &kept[start..];
            let end = rest
                .find([',', ';', ')'])
                .into_iter()
                .chain(rest.find(". "))
                .min()
                .unwrap_or(rest.len());
            kept.replace_range(start..start + end, " ");
        }
    }
    // References are no numbers.
    for reference in [
        "eq.", "eq", "equation", "section", "sec.", "table", "fig.", "figure",
    ] {
        while let Some(start) = find_words(&kept, reference) {
            let rest = &kept[start + reference.len()..];
            let digits = rest.len()
                - rest
                    .trim_start_matches([
                        ' ', '(', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
                    ])
                    .len();
            kept.replace_range(start..start + reference.len() + digits, " ");
        }
    }
    kept
}

/// Where whole words begin in a text.
fn find_words(text: &str, words: &str) -> Option<usize> {
    text.match_indices(words).map(|(at, _)| at).find(|at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + words.len()..].chars().next();
        let outside = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        outside(before) && (outside(after) || words.ends_with('.'))
    })
}
