//! Tables for papers.

use std::fmt::Write;

use kinvert_metrics::statistics::Interval;
use unicode_normalization::UnicodeNormalization;

#[cfg(doc)]
use crate::analysis::Compared;
use crate::analysis::{Analysis, Better, Estimate, LEVEL, MeasureInfo, Table};

/// One table for each ablation. They need `\usepackage{booktabs}` and nothing else.
///
/// Measures without any value are left out. A cell has the mean and its 95 % interval; the best of a column is bold, an arrow tells the better direction, and a
/// dagger a difference that is shown ([`Compared::is_shown`]). All text is escaped; characters beyond the reach of plain LaTeX are written
/// by their number, such as `[U+4E2D]`.
pub fn latex(analysis: &Analysis) -> String {
    let mut text = String::from("% Needs \\usepackage{booktabs}.\n");
    let has_value = |column: usize| {
        let rows = analysis.tables.iter().flat_map(|table| &table.rows);
        let mut estimates = rows.filter_map(|row| row.estimates.get(column));
        estimates.any(|estimate| estimate.summary.is_some())
    };
    let measures = analysis.measures.iter().enumerate();
    let shown: Vec<(usize, &MeasureInfo)> =
        measures.filter(|(column, _)| has_value(*column)).collect();
    for (index, of_ablation) in analysis.tables.iter().enumerate() {
        text.push('\n');
        table(&mut text, index, of_ablation, &shown);
    }
    text
}

fn table(text: &mut String, index: usize, table: &Table, measures: &[(usize, &MeasureInfo)]) {
    let columns = "c".repeat(measures.len());
    let headings = measures.iter().map(|(_, measure)| {
        let arrow = match measure.better {
            Better::Neither => "",
            Better::More => " $\\uparrow$",
            Better::Less => " $\\downarrow$",
        };
        format!(" & {}{arrow}", escaped(&measure.label))
    });
    let headings: String = headings.collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\\begin{{table}}[tbp]\n\\centering\n\\footnotesize\n\\setlength{{\\tabcolsep}}{{4pt}}\n\
         \\caption{{{}. Means with 95\\,\\% bootstrap intervals. $^{{\\dagger}}$~A difference from the \
         method: its interval leaves out zero, and Holm-corrected $p < {LEVEL}$.}}\n\\label{{tab:ablation-{}}}\n\\begin{{tabular}}{{l{columns}}}\n\\toprule\n\
         Variant{headings} \\\\\n\\midrule",
        escaped(&table.title),
        index + 1
    );
    for row in &table.rows {
        let estimates = measures
            .iter()
            .filter_map(|(column, measure)| Some((measure, row.estimates.get(*column)?)));
        let cells: String = estimates
            .map(|(measure, estimate)| format!(" & {}", cell(measure, estimate)))
            .collect();
        let _ = writeln!(text, "{}{cells} \\\\", escaped(&row.name));
    }
    text.push_str("\\bottomrule\n\\end{tabular}\n\\end{table}\n");
}

fn cell(measure: &MeasureInfo, estimate: &Estimate) -> String {
    let Some(summary) = &estimate.summary else {
        return "--".into();
    };
    let shown = |value: f64| measure.shown(value).replace('−', "$-$");
    let mut cell = shown(summary.mean);
    if estimate.is_best {
        cell = format!("\\textbf{{{cell}}}");
    }
    if let Some(Interval { low, high }) = summary.interval {
        let _ = write!(cell, " {{\\scriptsize [{}, {}]}}", shown(low), shown(high));
    }
    if estimate
        .comparison
        .is_some_and(|compared| compared.is_shown())
    {
        cell.push_str("$^{\\dagger}$");
    }
    cell
}

/// Text that LaTeX prints as it is, whatever it holds.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.nfc() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            // Pairs of some of these are ligatures (-- ?` ''), and others would be an argument of `\\` ([ *).
            '-' | '[' | ']' | '*' | '?' | '!' | ',' | '\'' => {
                escaped.push('{');
                escaped.push(letter);
                escaped.push('}');
            }
            letter if letter.is_ascii_alphanumeric() || " ().:;+=/@".contains(letter) => {
                escaped.push(letter);
            }
            letter if letter.is_whitespace() || letter.is_control() => escaped.push(' '),
            letter => match named(letter) {
                Some(command) => {
                    escaped.push('{');
                    escaped.push_str(command);
                    escaped.push('}');
                }
                None => escaped.push_str(&accented(letter)),
            },
        }
    }
    escaped
}

/// The command for a character.
fn named(letter: char) -> Option<&'static str> {
    Some(match letter {
        '\\' => "\\textbackslash",
        '~' => "\\textasciitilde",
        '^' => "\\textasciicircum",
        '<' => "\\textless",
        '>' => "\\textgreater",
        '|' => "\\textbar",
        '`' | '‘' => "`",
        '’' => "'",
        '"' | '”' => "''",
        '“' => "``",
        '–' => "--",
        '—' => "---",
        '…' => "\\ldots",
        '−' => "$-$",
        '×' => "$\\times$",
        '·' => "$\\cdot$",
        '±' => "$\\pm$",
        '⊙' => "$\\odot$",
        '→' => "$\\to$",
        '≤' => "$\\le$",
        '≥' => "$\\ge$",
        '∞' => "$\\infty$",
        'α' => "$\\alpha$",
        'β' => "$\\beta$",
        'γ' => "$\\gamma$",
        'δ' => "$\\delta$",
        'ε' => "$\\varepsilon$",
        'η' => "$\\eta$",
        'θ' => "$\\theta$",
        'λ' => "$\\lambda$",
        'μ' | 'µ' => "$\\mu$",
        'π' => "$\\pi$",
        'σ' => "$\\sigma$",
        'τ' => "$\\tau$",
        'φ' => "$\\varphi$",
        'ω' => "$\\omega$",
        'Δ' => "$\\Delta$",
        'Σ' => "$\\Sigma$",
        'Ω' => "$\\Omega$",
        'ß' => "\\ss",
        'æ' => "\\ae",
        'Æ' => "\\AE",
        'œ' => "\\oe",
        'Œ' => "\\OE",
        'ø' => "\\o",
        'Ø' => "\\O",
        'ł' => "\\l",
        'Ł' => "\\L",
        'ı' => "\\i",
        _ => return None,
    })
}

/// A letter with its accent, or the number of the character.
fn accented(letter: char) -> String {
    let parts: Vec<char> = std::iter::once(letter).nfd().collect();
    let command = match parts[..] {
        [base, accent] if base.is_ascii_alphabetic() => match accent {
            '\u{300}' => Some('`'),
            '\u{301}' => Some('\''),
            '\u{302}' => Some('^'),
            '\u{303}' => Some('~'),
            '\u{304}' => Some('='),
            '\u{306}' => Some('u'),
            '\u{307}' => Some('.'),
            '\u{308}' => Some('"'),
            '\u{30a}' => Some('r'),
            '\u{30b}' => Some('H'),
            '\u{30c}' => Some('v'),
            '\u{327}' => Some('c'),
            _ => None,
        },
        _ => None,
    };
    match command {
        Some(command) => format!("{{\\{command}{{{}}}}}", parts[0]),
        None => format!("{{[}}U+{:04X}{{]}}", u32::from(letter)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_has_a_meaning_to_latex_is_escaped() {
        for (text, expected) in [
            ("a & b", r"a \& b"),
            ("100 %", r"100 \%"),
            ("$x_1^2$", r"\$x\_1{\textasciicircum}2\$"),
            ("#{~}", r"\#\{{\textasciitilde}\}"),
            (r"\input{x}", r"{\textbackslash}input\{x\}"),
            ("“query-key”", "{``}query{-}key{''}"),
            ("it’s", "it{'}s"),
            ("[*]", "{[}{*}{]}"),
            ("a < b", r"a {\textless} b"),
            ("Fréchet", r"Fr{\'{e}}chet"),
            ("Fre\u{301}chet", r"Fr{\'{e}}chet"),
            ("F ⊙ M", r"F {$\odot$} M"),
            ("中\n\u{7}", "{[}U+4E2D{]}  "),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_gets_out_of_its_cell(text in any::<String>()) {
            let escaped = escaped(&text);
            prop_assert!(escaped.is_ascii());
            let mut depth = 0_i32;
            let mut letters = escaped.chars().peekable();
            let mut in_math = false;
            while let Some(letter) = letters.next() {
                match letter {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    '\\' => {
                        // Only commands that are written above, and none that ends a row.
                        let next = *letters.peek().unwrap();
                        prop_assert!(next != '\\' && next != ' ', "{}", escaped);
                        if !next.is_ascii_alphabetic() {
                            letters.next();
                        }
                    }
                    '$' => in_math = !in_math,
                    '^' | '_' | '&' | '%' | '#' | '~' | '\n' => prop_assert!(false, "{}", escaped),
                    _ => {}
                }
                prop_assert!(depth >= 0, "{}", escaped);
            }
            prop_assert!(depth == 0 && !in_math, "{}", escaped);
        }

        #[test]
        fn plain_words_stay_as_they_are(text in "[a-zA-Z0-9 .:;+=/]{0,40}") {
            prop_assert_eq!(escaped(&text), text);
        }
    }
}
