//! Wishes about the two embeddings themselves: which of them are used, and with which shape. And ranges of
//! timesteps. Here the order of words matters, so phrases are not enough.

use super::axes::{Axis, CONTRIBUTION, SHAPE, TIMESTEPS};
use super::read::{Candidate, Context, Piece, concepts, split};
use super::words::{Meaning, Separator, Token};
use crate::settings::Settings;

/// The embeddings that a text speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subjects {
    None,
    Mqk,
    Mv,
    /// Both by name.
    Both,
    /// Motion embeddings, by no other name.
    Motion,
}

impl Subjects {
    pub fn of(tokens: &[Token]) -> Self {
        let said = concepts(tokens);
        match (said.contains("mqk"), said.contains("mv")) {
            (true, true) => Self::Both,
            (true, false) => Self::Mqk,
            (false, true) => Self::Mv,
            (false, false) if said.contains("motion") => Self::Motion,
            (false, false) => Self::None,
        }
    }

    fn one(self) -> Option<Subject> {
        match self {
            Self::Mqk => Some(Subject::Mqk),
            Self::Mv => Some(Subject::Mv),
            Self::None | Self::Both | Self::Motion => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Mqk,
    Mv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    OneD,
    TwoD,
    /// Rows and columns, if they are named.
    Grid(Option<(u16, u16)>),
}

/// Rows and columns of a coarse grid that is asked for without a size.
const COARSE: (u16, u16) = (2, 2);

/// Reads a wish on an axis with a grammar of its own.
pub(super) fn read(
    axis: &'static Axis,
    tokens: &[Token],
    context: &Context,
    is_top: bool,
) -> Option<Candidate> {
    let read = match axis.name {
        CONTRIBUTION => {
            // A bare name means "this one alone" only where both are spoken of.
            let both = matches!(context.part, Subjects::Both | Subjects::Motion);
            contribution(tokens, is_top && both)?
        }
        SHAPE => shape(tokens, context, is_top)?,
        TIMESTEPS => timesteps(tokens)?,
        _ => return None,
    };
    let understood: Vec<Token> = tokens
        .iter()
        .filter(|t| !is_grammar(axis, t))
        .cloned()
        .collect();
    context.reads(axis, &understood, 4).then_some(read)
}

/// What remains when the part that these words name is removed.
pub(super) fn remove(
    axis: &'static Axis,
    tokens: &[Token],
    context: &Context,
) -> Option<Candidate> {
    match axis.name {
        CONTRIBUTION => remove_embeddings(tokens, context),
        SHAPE => remove_dimensions(tokens, context),
        _ => None,
    }
}

/// Words that the grammars understand and no table lists as topics.
fn is_grammar(axis: &Axis, token: &Token) -> bool {
    let words: &[&str] = match axis.name {
        CONTRIBUTION => &["without", "neither", "keep", "include"],
        SHAPE => &["without", "full", "include", "both", "all", "motion"],
        _ => &[],
    };
    matches!(token.meaning, Meaning::Concept(concept) if words.contains(&concept))
}

/// Which embeddings are kept: query-key, value.
type Kept = (bool, bool);

fn settings_of(kept: Kept) -> Settings {
    let settings = Settings::default();
    let settings = match kept.0 {
        true => settings,
        false => settings.and("inversion.query_key", "off"),
    };
    match kept.1 {
        true => settings,
        false => settings.and("inversion.values", "off"),
    }
}

fn remove_embeddings(tokens: &[Token], context: &Context) -> Option<Candidate> {
    let said = concepts(tokens);
    let strange = [
        "without",
        "only",
        "spatial",
        "dimension",
        "difference",
        "debias",
        "normalize",
        "projection",
    ];
    if strange.iter().any(|word| said.contains(word)) {
        return None;
    }
    // "MQK alongside MV": what stands behind such a word is kept.
    let removed: Vec<Token> = tokens
        .iter()
        .take_while(|token| token.meaning != Meaning::Concept("keep"))
        .cloned()
        .collect();
    let subjects = match Subjects::of(&removed) {
        Subjects::None => return None,
        // The name may say which of several.
        Subjects::Both | Subjects::Motion
            if context.name.one().is_some() && !said.contains("both") =>
        {
            context.name
        }
        Subjects::Motion if context.individual => Subjects::Both,
        subjects => subjects,
    };
    let kept: &[Kept] = match subjects {
        Subjects::Mqk => &[(false, true)],
        Subjects::Mv => &[(true, false)],
        Subjects::Both => &[(true, false), (false, true), (false, false)],
        Subjects::Motion => &[(false, false)],
        Subjects::None => &[],
    };
    let mut candidate = Candidate::on(CONTRIBUTION);
    candidate.evidence = 1;
    for kept in kept {
        candidate.add(settings_of(*kept), "both");
    }
    Some(candidate)
}

fn contribution(tokens: &[Token], bare: bool) -> Option<Candidate> {
    let says_which = |piece: &Piece| {
        let has = |word| piece.concepts.contains(word);
        has("neither")
            || (Subjects::of(&piece.tokens) != Subjects::None && (has("only") || has("without")))
    };
    let pieces = split(tokens);
    let apart = pieces.len() > 1
        && pieces
            .iter()
            .all(|(separator, piece)| *separator != Some(Separator::And) && says_which(piece));
    let whole = [(None, Piece::of(tokens))];
    let pieces: &[(Option<Separator>, Piece)] = match apart {
        // "Without MQK, only MV" is one wish.
        true if !is_one_wish(&pieces) => &pieces,
        _ => &whole,
    };
    let mut candidate = Candidate::on(CONTRIBUTION);
    for (_, piece) in pieces {
        candidate.evidence = candidate.evidence.max(piece.concepts.len() as u32);
        candidate.add(settings_of(kept(piece, bare)?), "both");
    }
    Some(candidate)
}

/// Whether all pieces say the same in other words.
fn is_one_wish(pieces: &[(Option<Separator>, Piece)]) -> bool {
    let mut all = pieces.iter().map(|(_, piece)| kept(piece, false));
    let first = all.next().flatten();
    first.is_some() && all.all(|other| other == first)
}

fn kept(piece: &Piece, bare: bool) -> Option<Kept> {
    let has = |word: &str| piece.concepts.contains(word);
    let strange = [
        "1d",
        "2d",
        "spatial",
        "dimension",
        "partial",
        "difference",
        "debias",
        "normalize",
        "raw",
        "projection",
        "qkv",
        "multiply",
        "concat",
        "before",
        "after",
        "loss",
        "noise",
        "site",
    ];
    if strange.iter().any(|word| has(word)) || !piece.numbers().is_empty() {
        return None;
    }
    if has("neither") {
        return Some((false, false));
    }
    // What is named as wanted and as unwanted, in the order of the words.
    let (mut wanted, mut unwanted) = ([false; 2], [false; 2]);
    let mut last: Vec<usize> = Vec::new();
    let mut negative = false;
    let subject = |token: &Token| match token.meaning {
        Meaning::Concept("mqk") => Some(vec![0]),
        Meaning::Concept("mv") => Some(vec![1]),
        Meaning::Concept("motion" | "embedding") => Some(vec![0, 1]),
        _ => None,
    };
    for (index, token) in piece.tokens.iter().enumerate() {
        let follows = || {
            piece.tokens[index + 1..]
                .iter()
                .any(|token| subject(token).is_some())
        };
        match token.meaning {
            Meaning::Concept("without") if !follows() => {
                for place in &last {
                    (wanted[*place], unwanted[*place]) = (false, true);
                }
            }
            Meaning::Concept("without") => negative = true,
            Meaning::Concept("only" | "keep" | "include") => {
                negative = false;
                // "MQK only": the word stands behind what it keeps.
                if !follows() {
                    for place in &last {
                        (wanted[*place], unwanted[*place]) = (true, false);
                    }
                }
            }
            Meaning::Separator(Separator::Comma | Separator::Semicolon) => negative = false,
            _ => {
                if let Some(places) = subject(token) {
                    // The general name beside a particular one says nothing new.
                    if places.len() == 2 && (has("mqk") || has("mv")) {
                        continue;
                    }
                    for place in &places {
                        match negative {
                            true => unwanted[*place] = true,
                            false => wanted[*place] = true,
                        }
                    }
                    last = places;
                }
            }
        }
    }
    let conflict = (0..2).any(|place| wanted[place] && unwanted[place]);
    if conflict || (wanted == [false; 2] && unwanted == [false; 2]) {
        return None;
    }
    if unwanted != [false; 2] {
        return Some((!unwanted[0], !unwanted[1]));
    }
    match wanted {
        [true, true] if has("mqk") && has("mv") && bare => Some((true, true)),
        [mqk, mv] if mqk != mv && (has("only") || bare) => Some((mqk, mv)),
        _ => None,
    }
}

fn remove_dimensions(tokens: &[Token], context: &Context) -> Option<Candidate> {
    let said = concepts(tokens);
    if !said.contains("spatial") || said.contains("only") {
        return None;
    }
    let subject = Subjects::of(tokens)
        .one()
        .or(context.part.one())
        .or(context.name.one())?;
    // Without "without" there is nothing left in space.
    let shape = match said.contains("without") {
        true => Shape::TwoD,
        false => Shape::OneD,
    };
    let mut candidate = Candidate::on(SHAPE);
    candidate.evidence = 2;
    candidate.add_shapes(&[(subject, shape)])?;
    Some(candidate)
}

fn shape(tokens: &[Token], context: &Context, is_top: bool) -> Option<Candidate> {
    let pieces = split(tokens);
    let marks = marks(&pieces, is_top);
    let shapes = marks
        .iter()
        .filter(|mark| matches!(mark, Mark::Shape(_)))
        .count();
    if shapes == 0 {
        return None;
    }
    let said = concepts(tokens);
    let strange = [
        "difference",
        "debias",
        "normalize",
        "projection",
        "multiply",
        "concat",
        "only",
    ];
    if strange.iter().any(|word| said.contains(word)) {
        return None;
    }
    let mut candidate = Candidate::on(SHAPE);
    candidate.evidence = 2 + u32::from(Subjects::of(tokens) != Subjects::None);
    if let Some(wishes) = listed(&pieces) {
        for wish in wishes {
            candidate.add_shapes(&wish)?;
        }
        return Some(candidate);
    }
    let shapes: Vec<Shape> = marks.iter().filter_map(Mark::shape).collect();
    let mut subjects: Vec<Subject> = marks.iter().filter_map(Mark::subject).collect();
    subjects.dedup();
    if subjects.is_empty() && (said.contains("both") || said.contains("all")) {
        subjects = vec![Subject::Mqk, Subject::Mv];
    }
    if subjects.is_empty() {
        let Some(one) = context.part.one().or(context.name.one()) else {
            candidate.ambiguous = vec![
                "the shape of the query-key embedding".into(),
                "the shape of the value embeddings".into(),
                "the shape of both".into(),
            ];
            return Some(candidate);
        };
        subjects = vec![one];
    }
    match (subjects.as_slice(), shapes.as_slice()) {
        ([subject], shapes) => {
            for shape in shapes {
                candidate.add_shapes(&[(*subject, *shape)])?;
            }
        }
        (subjects, [shape]) => {
            let wish: Vec<_> = subjects.iter().map(|subject| (*subject, *shape)).collect();
            candidate.add_shapes(&wish)?;
        }
        (subjects, shapes) if subjects.len() == shapes.len() && subjects.len() == 2 => {
            candidate.add_shapes(&[(subjects[0], shapes[0]), (subjects[1], shapes[1])])?;
        }
        _ => return None,
    }
    Some(candidate)
}

/// Several whole wishes in a row: "MQK-1D and MV-1D; MQK-2D and MV-2D".
fn listed(pieces: &[(Option<Separator>, Piece)]) -> Option<Vec<Vec<(Subject, Shape)>>> {
    let ends = |separator: &Option<Separator>| {
        matches!(
            separator,
            Some(Separator::Or | Separator::Semicolon | Separator::Comma)
        )
    };
    if !pieces.iter().any(|(separator, _)| ends(separator)) {
        return None;
    }
    let mut wishes: Vec<Vec<(Subject, Shape)>> = Vec::new();
    let mut commas = false;
    for (separator, piece) in pieces {
        let marks = marks(&[(None, Piece::of(&piece.tokens))], false);
        let subjects: Vec<_> = marks.iter().filter_map(Mark::subject).collect();
        let shapes: Vec<_> = marks.iter().filter_map(Mark::shape).collect();
        let ([subject], [shape]) = (subjects.as_slice(), shapes.as_slice()) else {
            return None;
        };
        commas |= *separator == Some(Separator::Comma);
        match wishes.last_mut() {
            Some(wish) if !ends(separator) => wish.push((*subject, *shape)),
            _ => wishes.push(vec![(*subject, *shape)]),
        }
    }
    // "MQK 2D, MV 1D" is one wish about both.
    let about =
        |wish: &Vec<(Subject, Shape)>| wish.iter().map(|(subject, _)| *subject).collect::<Vec<_>>();
    let same = wishes
        .windows(2)
        .all(|pair| about(&pair[0]) == about(&pair[1]));
    match commas && !same {
        true => Some(vec![wishes.concat()]),
        false => Some(wishes),
    }
}

/// What matters for shapes, in the order of the words.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Subject(Subject),
    Shape(Shape),
}

impl Mark {
    fn subject(&self) -> Option<Subject> {
        match self {
            Self::Subject(subject) => Some(*subject),
            Self::Shape(_) => None,
        }
    }

    fn shape(&self) -> Option<Shape> {
        match self {
            Self::Shape(shape) => Some(*shape),
            Self::Subject(_) => None,
        }
    }
}

fn marks(pieces: &[(Option<Separator>, Piece)], is_top: bool) -> Vec<Mark> {
    let about_space = |piece: &Piece| {
        ["spatial", "dimension"]
            .iter()
            .any(|word| piece.concepts.contains(word))
    };
    let any_space = is_top || pieces.iter().any(|(_, piece)| about_space(piece));
    let mut marks = Vec::new();
    for (_, piece) in pieces {
        let has = |word: &str| piece.concepts.contains(word);
        let sized = piece.tokens.iter().find_map(|token| match token.meaning {
            Meaning::Grid(rows, columns) => Some((rows, columns)),
            _ => None,
        });
        let named = has("1d") || has("2d");
        // Said by words such as "partially", "without spatial dimensions" or "coarse grid".
        let told = if sized.is_some() || has("partial") {
            Some(Shape::Grid(sized))
        } else if named || !any_space {
            None
        } else if has("without") {
            Some(Shape::OneD)
        } else if has("spatial") || has("full") || has("include") {
            Some(Shape::TwoD)
        } else {
            None
        };
        let mut told = told;
        for token in &piece.tokens {
            match token.meaning {
                Meaning::Concept("mqk") => marks.push(Mark::Subject(Subject::Mqk)),
                Meaning::Concept("mv") => marks.push(Mark::Subject(Subject::Mv)),
                Meaning::Concept("1d") if sized.is_none() && !has("partial") => {
                    marks.push(Mark::Shape(Shape::OneD))
                }
                Meaning::Concept("2d") if sized.is_none() && !has("partial") => {
                    marks.push(Mark::Shape(Shape::TwoD))
                }
                Meaning::Concept(
                    "partial" | "spatial" | "dimension" | "without" | "full" | "include",
                )
                | Meaning::Grid(..) => {
                    marks.extend(told.take().map(Mark::Shape));
                }
                _ => {}
            }
        }
    }
    // "Motion Query-Key (MQK)" and "1D (no spatial dimensions)" say one thing twice.
    marks.dedup();
    marks
}

impl Candidate {
    /// Adds one wish about shapes, or `None` if there is no such shape.
    fn add_shapes(&mut self, wish: &[(Subject, Shape)]) -> Option<()> {
        let mut settings = Settings::default();
        for (subject, shape) in wish {
            settings = match (subject, shape) {
                (Subject::Mqk, Shape::OneD) | (Subject::Mv, Shape::TwoD) => settings,
                (Subject::Mqk, Shape::TwoD) => settings.and("inversion.query_key", "2d"),
                (Subject::Mv, Shape::OneD) => settings.and("inversion.values", "1d"),
                (Subject::Mqk, Shape::Grid(sides)) => {
                    let (rows, columns) = sides.unwrap_or(COARSE);
                    if !(1..=1024).contains(&rows) || !(1..=1024).contains(&columns) {
                        return None;
                    }
                    if sides.is_none() {
                        self.notes.push(format!(
                            "space is taken in partly with a grid of {rows} x {columns} cells; no size is named"
                        ));
                    }
                    settings.and("inversion.query_key", format!("grid-{rows}x{columns}"))
                }
                (Subject::Mv, Shape::Grid(_)) => return None,
            };
        }
        self.add(settings, "query-key 1d and values 2d");
        Some(())
    }
}

fn timesteps(tokens: &[Token]) -> Option<Candidate> {
    let mut candidate = Candidate::on(TIMESTEPS);
    for (_, piece) in split(tokens) {
        let numbers = piece.numbers();
        let [first, last] = numbers.as_slice() else {
            return None;
        };
        let whole = |n: f64| n.fract() == 0.0 && (0.0..=1000.0).contains(&n);
        if !whole(*first) || !whole(*last) || first >= last {
            return None;
        }
        let last = last.min(999.0); // "0-1000" counts the end out
        let settings = match (*first, last) {
            (0.0, 999.0) => Settings::default(),
            (first, last) => Settings::default()
                .and("inversion.timesteps.first", first as i64)
                .and("inversion.timesteps.last", last as i64),
        };
        candidate.add(settings, "all timesteps");
    }
    candidate.evidence = 3;
    Some(candidate)
}
