//! The glyphs of a page and where they stand: the part of PDF's page language that shows text (ISO 32000-2, 9).

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hayro_font::hayro_cmap::BfString;
use hayro_font::kurbo::{Affine, Point};
use hayro_font::{CMapResolverFn, Font, FontCache, FontGlyph, FontQuery, FontResolverFn};
use hayro_syntax::content::TypedIter;
use hayro_syntax::content::ops::TypedInstruction;
use hayro_syntax::object::{Array, Dict, Name, Number, Object, Stream};
use hayro_syntax::page::{Page, Resources};

use super::Fault;
use super::budget::Budget;

/// Deepest form inside of a form.
const MAX_FORM_DEPTH: usize = 12;

/// Most graphics states that are saved at once.
const MAX_SAVED: usize = 512;

/// Most glyphs of a page.
const MAX_GLYPHS: usize = 400_000;

/// Most glyphs of a document: a book of 2000 pages has a tenth.
const MAX_ALL_GLYPHS: usize = 20_000_000;

/// How many instructions pass between two looks at the clock.
const BETWEEN_CLOCKS: usize = 4096;

/// Largest code of a font with wide codes.
const MAX_CODE: u32 = 0xff_ffff;

/// A letter, or a few, in points from the lower left corner of the page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Glyph {
    pub(super) text: String,
    /// Left end on the baseline.
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    /// Of the font.
    pub(super) size: f64,
    pub(super) bold: bool,
}

/// A page with its glyphs in the order in which it shows them.
#[derive(Clone, Debug, Default)]
pub(super) struct PageText {
    pub(super) glyphs: Vec<Glyph>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Reads pages that share fonts.
#[derive(Default)]
pub(super) struct Reader<'a> {
    fonts: FontCache<'a>,
    /// Fonts by where their dictionaries stand.
    faces: HashMap<(*const u8, usize), Option<Rc<Face<'a>>>>,
    /// Glyphs without a letter.
    pub(super) unknown: usize,
    count: usize,
}

/// What text depends on.
#[derive(Clone)]
struct State<'a> {
    /// To the page.
    transform: Affine,
    font: Option<Rc<Face<'a>>>,
    size: f64,
    character_space: f64,
    word_space: f64,
    /// 1 where PDF says 100.
    scale: f64,
    leading: f64,
    rise: f64,
}

/// A font, and what its name says.
struct Face<'a> {
    font: Font<'a>,
    bold: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn page(
        &mut self,
        page: &'a Page<'a>,
        budget: &mut Budget,
    ) -> Result<PageText, Fault> {
        let (width, height) = page.render_dimensions();
        for stream in contents(page.raw()) {
            budget.spend(&stream)?;
        }
        let mut text = PageText {
            glyphs: Vec::new(),
            width: f64::from(width),
            height: f64::from(height),
        };
        let Some(content) = page.page_stream() else {
            return Ok(text);
        };
        let [a, b, c, d, e, f] = page.initial_transform(false).as_coeffs();
        let state = State {
            transform: Affine::new([a, b, c, d, e, f]),
            font: None,
            size: 1.0,
            character_space: 0.0,
            word_space: 0.0,
            scale: 1.0,
            leading: 0.0,
            rise: 0.0,
        };
        let mut run = Run {
            reader: self,
            budget,
            page: &mut text,
            instructions: 0,
        };
        run.interpret(content, page.resources(), state, 0)?;
        Ok(text)
    }

    /// The font of this name. Nothing of it is unpacked before it is counted.
    fn font(
        &mut self,
        resources: &Resources<'a>,
        name: &Name<'_>,
        budget: &mut Budget,
    ) -> Result<Option<Rc<Face<'a>>>, Fault> {
        let Some(dict) = resources.get_font(name) else {
            return Ok(None);
        };
        let key = (dict.data().as_ptr(), dict.data().len());
        if let Some(face) = self.faces.get(&key) {
            return Ok(face.clone());
        }
        check_font(&dict, budget)?;
        let font_resolver: FontResolverFn = Arc::new(|query| match query {
            FontQuery::Standard(font) => Some(font.get_font_data()),
            FontQuery::Fallback(query) => Some(query.pick_standard_font().get_font_data()),
        });
        let cmap_resolver: CMapResolverFn = Arc::new(|_| None);
        let font = self.fonts.font(&dict, &font_resolver, &cmap_resolver);
        let name = dict.get::<Name<'_>>("BaseFont");
        let name = name.map_or(String::new(), |name| name.as_str().to_lowercase());
        // Computer Modern's bold is cmbx, NimbusRomNo9L's is Medi.
        let bold = ["bold", "black", "heavy", "cmbx", "sfbx", "medi", "-semi"]
            .iter()
            .any(|part| name.contains(part));
        let face = font.map(|font| Rc::new(Face { font, bold }));
        self.faces.insert(key, face.clone());
        Ok(face)
    }
}

/// The streams of a page.
fn contents<'a>(page: &Dict<'a>) -> Vec<Stream<'a>> {
    match page.get::<Object<'a>>("Contents") {
        Some(Object::Stream(stream)) => vec![stream],
        Some(Object::Array(array)) => array.iter::<Stream<'a>>().collect(),
        _ => Vec::new(),
    }
}

/// Checks what loading a font unpacks and allocates.
fn check_font(dict: &Dict<'_>, budget: &mut Budget) -> Result<(), Fault> {
    let senseless = || Fault::TooLarge("a font with more characters than there can be".into());
    let mut dicts = vec![dict.clone()];
    if let Some(descendants) = dict.get::<Array<'_>>("DescendantFonts") {
        dicts.extend(descendants.iter::<Dict<'_>>().take(1));
    }
    for dict in &dicts {
        let descriptor = dict.get::<Dict<'_>>("FontDescriptor").unwrap_or_default();
        for (dict, key) in [
            (dict, "ToUnicode"),
            (dict, "Encoding"),
            (dict, "CIDToGIDMap"),
            (&descriptor, "FontFile"),
            (&descriptor, "FontFile2"),
            (&descriptor, "FontFile3"),
            (&descriptor, "CIDSet"),
        ] {
            if let Some(Object::Stream(stream)) = dict.get::<Object<'_>>(key) {
                budget.spend(&stream)?;
            }
        }
        let first = dict.get::<i32>("FirstChar").unwrap_or(0);
        if !(-1..=0xffff).contains(&first) {
            return Err(senseless());
        }
        // Ranges such as `1 65535 500` are written out.
        for key in ["W", "W2"] {
            let Some(widths) = dict.get::<Array<'_>>(key) else {
                continue;
            };
            let mut numbers = Vec::new();
            for object in widths.iter::<Object<'_>>() {
                match object {
                    Object::Number(number) => numbers.push(number.as_f64()),
                    _ => numbers.clear(),
                }
                let range = numbers.as_slice();
                if range.len() >= 2 && range.iter().any(|n| *n > f64::from(0x1_ffff_u32)) {
                    return Err(senseless());
                }
                if range.len() == if key == "W" { 3 } else { 5 } {
                    numbers.clear();
                }
            }
        }
    }
    Ok(())
}

/// A page that is being read.
struct Run<'r, 'a> {
    reader: &'r mut Reader<'a>,
    budget: &'r mut Budget,
    page: &'r mut PageText,
    instructions: usize,
}

impl<'a> Run<'_, 'a> {
    fn interpret(
        &mut self,
        content: &[u8],
        resources: &Resources<'a>,
        state: State<'a>,
        depth: usize,
    ) -> Result<(), Fault> {
        let mut state = state;
        let mut saved: Vec<State<'a>> = Vec::new();
        let mut line = Affine::IDENTITY;
        let mut at = Affine::IDENTITY;
        let mut instructions = TypedIter::new(content);
        while let Some(instruction) = instructions.next() {
            self.instructions += 1;
            if self.instructions.is_multiple_of(BETWEEN_CLOCKS) {
                self.budget.check_time()?;
            }
            let mut next_line = |at: &mut Affine, x: f64, y: f64| {
                line *= Affine::translate((x, y));
                *at = line;
            };
            match instruction {
                TypedInstruction::SaveState(_) if saved.len() < MAX_SAVED => {
                    saved.push(state.clone())
                }
                TypedInstruction::RestoreState(_) => {
                    if let Some(before) = saved.pop() {
                        state = before;
                    }
                }
                TypedInstruction::Transform(t) => {
                    state.transform *= affine([t.0, t.1, t.2, t.3, t.4, t.5]);
                }
                TypedInstruction::BeginText(_) => {
                    line = Affine::IDENTITY;
                    at = line;
                }
                TypedInstruction::CharacterSpacing(space) => {
                    state.character_space = space.0.as_f64()
                }
                TypedInstruction::WordSpacing(space) => state.word_space = space.0.as_f64(),
                TypedInstruction::HorizontalScaling(scale) => {
                    state.scale = scale.0.as_f64() / 100.0
                }
                TypedInstruction::TextLeading(leading) => state.leading = leading.0.as_f64(),
                TypedInstruction::TextRise(rise) => state.rise = rise.0.as_f64(),
                TypedInstruction::TextFont(font) => {
                    state.size = font.1.as_f64();
                    state.font = self.reader.font(resources, font.0, self.budget)?;
                }
                TypedInstruction::NextLine(by) => next_line(&mut at, by.0.as_f64(), by.1.as_f64()),
                TypedInstruction::NextLineAndSetLeading(by) => {
                    state.leading = -by.1.as_f64();
                    next_line(&mut at, by.0.as_f64(), by.1.as_f64());
                }
                TypedInstruction::NextLineUsingLeading(_) => {
                    next_line(&mut at, 0.0, -state.leading)
                }
                TypedInstruction::SetTextMatrix(t) => {
                    line = affine([t.0, t.1, t.2, t.3, t.4, t.5]);
                    at = line;
                }
                TypedInstruction::ShowText(text) => {
                    self.show(text.0.as_bytes(), &state, &mut at)?
                }
                TypedInstruction::NextLineAndShowText(text) => {
                    next_line(&mut at, 0.0, -state.leading);
                    self.show(text.0.as_bytes(), &state, &mut at)?;
                }
                TypedInstruction::ShowTextWithParameters(text) => {
                    state.word_space = text.0.as_f64();
                    state.character_space = text.1.as_f64();
                    next_line(&mut at, 0.0, -state.leading);
                    self.show(text.2.as_bytes(), &state, &mut at)?;
                }
                TypedInstruction::ShowTexts(texts) => {
                    for object in texts.0.iter::<Object<'_>>() {
                        match object {
                            Object::String(text) => self.show(text.as_bytes(), &state, &mut at)?,
                            Object::Number(by) => {
                                let by = -by.as_f64() / 1000.0 * state.size * state.scale;
                                at *= Affine::translate((by, 0.0));
                            }
                            _ => {}
                        }
                    }
                }
                TypedInstruction::XObject(form) => {
                    if let Some(form) = resources
                        .get_x_object(form.0)
                        .filter(|_| depth < MAX_FORM_DEPTH)
                    {
                        self.form(&form, resources, &state, depth)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Drawings that stand for themselves, with text in them.
    fn form(
        &mut self,
        form: &Stream<'a>,
        around: &Resources<'a>,
        state: &State<'a>,
        depth: usize,
    ) -> Result<(), Fault> {
        let dict = form.dict();
        if dict
            .get::<Name<'_>>("Subtype")
            .is_none_or(|name| name.as_ref() != b"Form")
        {
            return Ok(());
        }
        self.budget.spend(form)?;
        let Ok(content) = form.decoded_data() else {
            return Ok(());
        };
        let mut state = state.clone();
        if let Some(matrix) = dict.get::<[f32; 6]>("Matrix") {
            state.transform *= Affine::new(matrix.map(f64::from));
        }
        let own = dict.get::<Dict<'a>>("Resources").map(Resources::new);
        self.interpret(&content, own.as_ref().unwrap_or(around), state, depth + 1)
    }

    fn show(&mut self, bytes: &[u8], state: &State<'a>, at: &mut Affine) -> Result<(), Fault> {
        let Some(face) = &state.font else {
            return Ok(());
        };
        let font = &face.font;
        let mut index = 0;
        while index < bytes.len() {
            let (code, length) = font.read_code(bytes, index);
            index += length.max(1);
            if code > MAX_CODE {
                continue;
            }
            let advance = if font.is_horizontal() {
                font.code_advance(code).x
            } else {
                1000.0
            };
            let word_space = if code == 32 && length == 1 {
                state.word_space
            } else {
                0.0
            };
            let width = advance / 1000.0 * state.size * state.scale;
            let step = width + (state.character_space + word_space) * state.scale;
            let place = state.transform * *at;
            *at *= Affine::translate((step, 0.0));
            let text = match font.glyph(font.map_code(code), code) {
                FontGlyph::Outline(glyph) => glyph.as_unicode(),
                FontGlyph::Type3(glyph) => glyph.as_unicode(),
            };
            let text = match text {
                Some(BfString::Char(c)) => c.to_string(),
                Some(BfString::String(text)) => text,
                None => {
                    self.reader.unknown += 1;
                    continue;
                }
            };
            let [a, b, ..] = place.as_coeffs();
            let upright = a > 0.0 && b.abs() < 0.2 * a;
            let end = place * Point::new(width, state.rise);
            let start = place * Point::new(0.0, state.rise);
            let up = place * Point::new(0.0, state.rise + state.size);
            let size = (up.y - start.y).abs();
            let fine = [start.x, start.y, end.x, size]
                .iter()
                .all(|n| n.is_finite() && n.abs() < 1e6);
            // Text that stands upright or upside down is a stamp, or belongs to a figure.
            if !upright || !fine || size < 0.5 {
                continue;
            }
            self.reader.count += 1;
            if self.page.glyphs.len() >= MAX_GLYPHS || self.reader.count > MAX_ALL_GLYPHS {
                return Err(Fault::TooLarge(
                    "a PDF with more letters than a book".into(),
                ));
            }
            self.page.glyphs.push(Glyph {
                text: letters(&text),
                x: start.x,
                y: start.y,
                width: (end.x - start.x).max(0.0),
                size,
                bold: face.bold,
            });
        }
        Ok(())
    }
}

/// Letters that were set as one, apart again.
fn letters(text: &str) -> String {
    let mut letters = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'ﬀ' => letters.push_str("ff"),
            'ﬁ' => letters.push_str("fi"),
            'ﬂ' => letters.push_str("fl"),
            'ﬃ' => letters.push_str("ffi"),
            'ﬄ' => letters.push_str("ffl"),
            'ﬅ' | 'ﬆ' => letters.push_str("st"),
            '\u{ad}' | '\u{2010}' | '\u{2011}' => letters.push('-'),
            c if c.is_control() => {}
            c => letters.push(c),
        }
    }
    letters
}

fn affine(numbers: [Number; 6]) -> Affine {
    Affine::new(numbers.map(|number| number.as_f64()))
}
