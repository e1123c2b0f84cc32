//! Papers as they come: sources, archives, Markdown, text and PDF, whole, damaged and hostile.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use kinvert_planner::Paper;
use kinvert_planner::paper::{Section, SectionKind, estimate_tokens};
use proptest::prelude::*;
use tempfile::TempDir;

const MAIN: &str = r"\documentclass{article} % the class
\newcommand{\method}{MotionInv\xspace}
\title{Motion \textbf{Inversion}}
\author{A. Uthor}
\begin{document}
\maketitle
\begin{abstract}We customize motion.\end{abstract}
\section{Introduction} Hello. % a comment
\input{sections/method}
\section{Experiments} \label{sec:x} Secret numbers: 41.2\%.
\subsection{Ablation Study} Secret ablation.
\section{Conclusion} The end.
\bibliography{refs}
\end{document}";

const METHOD: &str =
    "\\section{\\method}\n\\method{} learns embeddings.\n\\subsection{Loss} The loss is $L_2$.\n";

fn file(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn read(name: &str, bytes: impl AsRef<[u8]>) -> Result<Paper, kinvert_planner::Error> {
    let folder = TempDir::new().unwrap();
    Paper::read(&file(&folder, name, bytes))
}

/// The message and the hint of an error.
fn fails(name: &str, bytes: impl AsRef<[u8]>) -> String {
    let error = read(name, bytes).unwrap_err();
    format!("{error} | {}", error.hint().unwrap())
}

#[track_caller]
fn check(found: &str, parts: &[&str]) {
    for part in parts {
        assert!(found.contains(part), "`{part}` is not in: {found}");
    }
}

fn headings(paper: &Paper) -> Vec<(usize, &str)> {
    let sections = paper.sections.iter();
    sections
        .map(|section| (section.level, section.title.as_str()))
        .collect()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        // Written past the checks of the builder, as hostile archives are.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[track_caller]
fn is_the_paper(paper: &Paper) {
    assert_eq!(paper.title.as_deref(), Some("Motion Inversion"));
    assert_eq!(paper.abstract_text.as_deref(), Some("We customize motion."));
    let expected = [
        (1, "Introduction"),
        (1, "MotionInv"),
        (2, "Loss"),
        (1, "Experiments"),
        (2, "Ablation Study"),
        (1, "Conclusion"),
    ];
    assert_eq!(headings(paper), expected);
    assert_eq!(paper.sections[1].text, "MotionInv learns embeddings.");
    assert!(!paper.text().contains("comment") && !paper.text().contains("Uthor"));
    assert!(
        paper
            .lost
            .contains(&"the references were left out".to_string()),
        "{:?}",
        paper.lost
    );
}

#[test]
fn sources_come_in_folders_and_archives_of_all_kinds() {
    let files: [(&str, &[u8]); 3] = [
        ("main.tex", MAIN.as_bytes()),
        ("sections/method.tex", METHOD.as_bytes()),
        ("figure.png", b"\x89PNG\0\0"),
    ];
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        file(&folder, name, bytes);
    }
    is_the_paper(&Paper::read(folder.path()).unwrap());
    is_the_paper(&Paper::read(&folder.path().join("main.tex")).unwrap());
    // Names are no part of what a file is.
    is_the_paper(&read("2403.20193", gzip(&tar(&files))).unwrap());
    is_the_paper(&read("paper.tar", tar(&files)).unwrap());
    is_the_paper(&read("paper.zip", zip(&files)).unwrap());
    let whole = MAIN.replace("\\input{sections/method}", METHOD);
    is_the_paper(&read("2403.20193.gz", gzip(whole.as_bytes())).unwrap());
}

#[test]
fn the_main_file_is_the_one_that_everything_is_in() {
    let files: [(&str, &[u8]); 4] = [
        (
            "a_response.tex",
            br"\documentclass{article}\begin{document}Dear reviewers\end{document}",
        ),
        (
            "z_main.tex",
            br"\documentclass{article}\begin{document}\section{One}\input{body}\end{document}",
        ),
        (
            "body.tex",
            br"\section{Two} A long text that is in another file than the main one. \input{z_main}",
        ),
        (
            "part.tex",
            br"\documentclass[z_main]{subfiles}\begin{document}\section{Part}\end{document}",
        ),
    ];
    let paper = read("p.zip", zip(&files)).unwrap();
    assert_eq!(headings(&paper), [(1, "One"), (1, "Two")]);
    let lost = paper.lost.join("; ");
    check(
        &lost,
        &[
            "z_main.tex is included into itself",
            "2 other documents beside z_main.tex",
        ],
    );
}

#[test]
fn includes_stay_inside_of_the_paper() {
    let folder = TempDir::new().unwrap();
    file(&folder, "secret.tex", "SECRET");
    let text = r"\documentclass{article}\begin{document}\section{A} Text. \input{../secret}\input{/etc/passwd}\input{gone}
\input{link}\end{document}";
    let main = file(&folder, "paper/main.tex", text);
    #[cfg(unix)]
    std::os::unix::fs::symlink(
        folder.path().join("secret.tex"),
        folder.path().join("paper/link.tex"),
    )
    .unwrap();
    for path in [main.as_path(), main.parent().unwrap()] {
        let paper = Paper::read(path).unwrap();
        assert!(!paper.text().contains("SECRET") && !paper.text().contains("root:"));
        let lost = paper.lost.join("; ");
        check(
            &lost,
            &[
                "../secret lies outside",
                "/etc/passwd lies outside",
                "gone is not there",
                "link",
            ],
        );
    }
}

#[test]
fn archives_that_lead_out_or_grow_are_refused() {
    let found = fails("p.tar", tar(&[("../../evil.tex", b"x")]));
    check(
        &found,
        &["`../../evil.tex` that leads out", "do not unpack it"],
    );
    check(
        &fails("p.tar.gz", gzip(&tar(&[("/etc/evil.tex", b"x")]))),
        &["/etc/evil.tex"],
    );
    check(
        &fails("p.zip", zip(&[("a/..\\..\\evil.tex", b"x")])),
        &["leads out"],
    );

    // A bomb of zeros, bare and inside of an archive.
    let zeros = gzip(&vec![0; 128 << 20]);
    check(&fails("p.gz", &zeros), &["unpacks to more than", "MiB"]);
    let large = vec![b'x'; 9 << 20];
    check(
        &fails("p.tar.gz", gzip(&tar(&[("a.tex", &large)]))),
        &["`a.tex` unpacks to more than 8 MiB"],
    );
    check(
        &fails("p.zip", zip(&[("a.tex", &large)])),
        &["`a.tex` unpacks to more than 8 MiB"],
    );
    let figure = vec![0; 40 << 20];
    check(
        &fails(
            "p.tar.gz",
            gzip(&tar(&[("a.png", &figure), ("a.tex", b"x")])),
        ),
        &["unpacks to more than"],
    );

    check(
        &fails(
            "p.tar.gz",
            &gzip(&tar(&[("a.tex", MAIN.as_bytes())]))[..200],
        ),
        &["cannot be unpacked"],
    );
    check(
        &fails("p.zip", &zip(&[("a.tex", MAIN.as_bytes())])[..200]),
        &["cannot be unpacked"],
    );
    check(
        &fails("p.zip", zip(&[("a.png", b"x")])),
        &["neither LaTeX nor Markdown nor text"],
    );
    let many: Vec<String> = (0..10_001).map(|index| format!("{index}.png")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    check(&fails("p.tar", tar(&many)), &["more than 10000 files"]);
}

#[test]
fn a_zip_that_lies_about_its_sizes_is_refused() {
    let text = MAIN.repeat(3);
    let mut bytes = zip(&[("main.tex", text.as_bytes())]);
    let size = (text.len() as u32).to_le_bytes();
    let places: Vec<usize> = (0..bytes.len() - 4)
        .filter(|at| bytes[*at..at + 4] == size)
        .collect();
    assert!(
        places.len() >= 2,
        "the sizes stand before the file and in the list at the end"
    );
    for at in places {
        bytes[at..at + 4].copy_from_slice(&7_u32.to_le_bytes());
    }
    let found = fails("p.zip", bytes);
    assert!(
        found.contains("the 7 that the archive says") || found.contains("cannot be unpacked"),
        "{found}"
    );
}

#[test]
fn links_in_archives_are_skipped() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder
        .append_link(&mut header, "link.tex", "/etc/passwd")
        .unwrap();
    let mut bytes = builder.into_inner().unwrap();
    bytes.truncate(512);
    bytes.extend(tar(&[("main.tex", MAIN.as_bytes())]));
    let paper = read("p.tar", bytes).unwrap();
    check(
        &paper.lost.join("; "),
        &["link.tex is a link or a device and was skipped"],
    );
}

#[test]
fn what_is_no_paper_is_named() {
    check(
        &fails("p.bin", b"\0\x01\x02\x03\0\0\0\x04"),
        &["bytes that are no text", "expected LaTeX sources"],
    );
    check(&fails("p.txt", b""), &["an empty file"]);
    check(
        &fails(
            "p.tex",
            b"\\documentclass{a}\\begin{document}\\end{document}",
        ),
        &["no text in it"],
    );
    check(
        &fails("p.pdf", b"<html>Not found</html>"),
        &["does not begin as a PDF", "download it again"],
    );
    check(&fails("p.html", b"<!DOCTYPE html><p>x"), &["a web page"]);
    check(&fails("p.ps", b"%!PS-Adobe"), &["PostScript"]);
    check(
        &fails("p.md", b"\xff\xfe\xfa bytes in some other encoding"),
        &["no text in UTF-8"],
    );
    check(
        &fails("p.txt", vec![b'x'; 9 << 20]),
        &["a text of 9437184 bytes", "at most 8 MiB"],
    );
    let error = Paper::read(Path::new("there/is/no/paper.pdf")).unwrap_err();
    check(&error.to_string(), &["paper.pdf: reading failed"]);
}

#[test]
fn old_sources_in_latin_1_are_read() {
    let paper = read(
        "p.tex",
        b"\\documentclass{a}\\begin{document}Universit\xe4t\\end{document}",
    )
    .unwrap();
    check(&paper.text(), &["Universität"]);
    check(&paper.lost.join("; "), &["p.tex is not UTF-8"]);
}

#[test]
fn markdown_is_read_by_the_numbers_of_its_headings() {
    let text = "# <span id=\"page-0\"></span>**Motion Inversion**\n\nA. Uthor\n\n**Abstract**\n\nWe customize.\n\n\
        # **1 Introduction**\n\nHello ![](a.png)\n\n![fig (1)](b_(1).png)\n\n# 3. Method\n\n```\n# no heading\n```\n\n\
        #### 3.1. Loss\n\nL2.\n\n# **4.3 Ablation Study**\n\nSecret.\n\nReferences\n----------\n\n[1] A.\n\n# A. Proofs\n\nQED.\n";
    let paper = read("p.md", text).unwrap();
    assert_eq!(paper.title.as_deref(), Some("Motion Inversion"));
    assert_eq!(paper.abstract_text.as_deref(), Some("We customize."));
    let expected = [
        (1, ""),
        (1, "Introduction"),
        (1, "Method"),
        (2, "Loss"),
        (2, "Ablation Study"),
        (1, "References"),
        (1, "Appendix"),
        (1, "Proofs"),
    ];
    assert_eq!(headings(&paper), expected);
    check(&paper.sections[2].text, &["# no heading"]);
    assert_eq!(paper.lost, ["2 images were left out"]);
    assert_eq!(paper.sections[1].text, "Hello");
}

#[test]
fn plain_text_has_headings_where_numbers_and_names_say_so() {
    let text = "Motion Inversion for Video\nCustomization\n\nAbstract\nWe custo-\nmize motion.\n\n1 Introduction\nHello. We do\n\
        1 thing here.\n\n2 Related Work\nOthers.\n\n3 Method\n\n3.1 Motion Embeddings\nText.\n\n2 Apples\n\nIV things.\n\n\
        4 Experiments\n5 12.3 33.1 18.2\n\nReferences\n[1] A.\n";
    let paper = read("p.txt", text).unwrap();
    assert_eq!(
        paper.title.as_deref(),
        Some("Motion Inversion for Video Customization")
    );
    assert_eq!(
        paper.abstract_text.as_deref(),
        Some("We customize\nmotion.")
    );
    let expected = [
        (1, "Introduction"),
        (1, "Related Work"),
        (1, "Method"),
        (2, "Motion Embeddings"),
        (1, "Experiments"),
        (1, "References"),
    ];
    assert_eq!(headings(&paper), expected);
    check(&paper.sections[3].text, &["2 Apples"]);
}

#[test]
fn texts_hold_nothing_that_nobody_sees() {
    let paper = read(
        "p.md",
        "# T\u{1b}[31mitle\n\n## One\r\n\r\nA\u{202e}b\0c\u{e0041} e\u{301}\u{feff}",
    )
    .unwrap();
    assert_eq!(paper.title.as_deref(), Some("Title"));
    assert_eq!(paper.sections[0].text, "Abc é");
}

#[test]
fn papers_end_before_their_experiments() {
    let whole = MAIN.replace("\\input{sections/method}", METHOD);
    let paper = read("p.tex", &whole).unwrap().until_experiments();
    assert_eq!(
        headings(&paper),
        [(1, "Introduction"), (1, "MotionInv"), (2, "Loss")]
    );
    assert!(!paper.text().contains("Secret") && paper.abstract_text.is_some());

    let paper =
        Paper::parse_markdown("# T\n\n## Introduction\n\nA\n\n## Idea\n\nB\n\n## Conclusion\n\nC")
            .until_experiments();
    assert_eq!(headings(&paper), [(1, "Introduction"), (1, "Idea")]);
    check(&paper.lost.join("; "), &["no section of experiments"]);
}

#[test]
fn cutting_takes_the_least_important_first() {
    let sentence = "One sentence of this section is here. ".repeat(20);
    let titles = [
        "Introduction",
        "Related Work",
        "Method",
        "Experiments",
        "Conclusion",
        "References",
        "Appendix",
    ];
    let text: String = titles
        .iter()
        .map(|title| format!("## {title}\n\n{sentence}\n\n"))
        .collect();
    let paper = Paper::parse_markdown(&format!("# T\n\n{text}"));
    let all = paper.fit(usize::MAX);
    assert!(all.cuts.is_empty() && all.text == paper.text());

    let some = paper.fit(all.tokens * 65 / 100);
    let cuts: Vec<_> = some
        .cuts
        .iter()
        .map(|cut| (cut.section.as_str(), cut.kept > 0))
        .collect();
    assert_eq!(
        cuts,
        [
            ("Related Work", true),
            ("References", false),
            ("Appendix", false)
        ]
    );
    check(
        &some.text,
        &[
            "is here.\n\n[the rest of this section was left out]",
            "[sections were left out here]",
        ],
    );

    let little = paper.fit(200);
    assert_eq!(little.cuts.len(), 7);
    check(&little.text, &["# T", "## Method"]);
    assert!(little.cuts[2].kept > 0 && little.tokens <= 200);
}

fn any_paper() -> impl Strategy<Value = Paper> {
    let titles = proptest::sample::select(vec![
        "",
        "Introduction",
        "Related Work",
        "Method",
        "MotionInv",
        "Experiments",
        "Ablation Study",
        "Conclusion",
        "References",
        "Appendix",
        "Results",
        "Datasets",
        "Acknowledgements",
    ]);
    let text = proptest::collection::vec("[a-zé0-9$\\\\{}]{1,12}[.]?[ \n]{1,2}", 0..60)
        .prop_map(|words| words.concat());
    let section = (1_usize..4, titles, text).prop_map(|(level, title, text)| Section {
        level,
        title: title.into(),
        text: text.trim().into(),
    });
    (
        proptest::option::of("[A-Za-z 動]{1,400}"),
        proptest::option::of("[a-z. ]{1,800}"),
        proptest::collection::vec(section, 0..12),
    )
        .prop_map(|(title, abstract_text, sections)| Paper {
            title,
            abstract_text,
            sections,
            lost: Vec::new(),
        })
}

proptest! {
    #[test]
    fn whatever_is_asked_fits(paper in any_paper(), max_tokens in 64_usize..3000) {
        let fitted = paper.fit(max_tokens);
        prop_assert!(fitted.tokens <= max_tokens, "{} > {max_tokens}", fitted.tokens);
        prop_assert_eq!(fitted.tokens, estimate_tokens(&fitted.text));
        let whole = paper.text();
        prop_assert_eq!(fitted.cuts.is_empty(), fitted.text == whole);
        prop_assert_eq!(fitted.cuts.is_empty(), estimate_tokens(&whole) <= max_tokens);
        prop_assert!(fitted.cuts.iter().all(|cut| cut.kept <= cut.tokens));
        // What is left stands in the paper's order.
        let mut rest = whole.as_str();
        for line in fitted.text.lines().filter(|line| line.starts_with("##")) {
            let at = rest.find(line);
            prop_assert!(at.is_some(), "{line}");
            rest = &rest[at.unwrap() + line.len()..];
        }
    }

    #[test]
    fn nothing_of_the_experiments_is_left(paper in any_paper()) {
        let mut paper = paper;
        for (index, section) in paper.sections.iter_mut().enumerate() {
            section.text = format!("mark-{index}-");
        }
        let before = paper.until_experiments();
        let text = before.text();
        for (index, kind) in paper.kinds().into_iter().enumerate() {
            if matches!(kind, SectionKind::Ablation | SectionKind::Experiments) {
                prop_assert!(!text.contains(&format!("mark-{index}-")), "{text}");
            }
        }
        prop_assert!(before.sections.iter().all(|section| section.title != "Ablation Study"));
    }

    #[test]
    fn any_text_is_read(text in "(?s).{0,300}", tex in "([\\\\{}\\[\\]%$~ a\n]|\\\\section|\\\\begin\\{|\\\\input|\\\\def|\\\\verb|\\\\iffalse|\\\\fi|figure\\}|\\\\newcommand){0,60}") {
        let markdown = Paper::parse_markdown(&text);
        prop_assert!(markdown.text().chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        let _ = read("p.txt", &text);
        let _ = read("p.tex", format!("\\documentclass{{a}}\\begin{{document}}{tex}\\end{{document}}"));
    }
}

/// A PDF that is written by hand.
#[derive(Default)]
struct Pdf {
    pages: Vec<String>,
    images: bool,
}

impl Pdf {
    /// Lines of a page: font (1 regular, 2 bold), size, place and text.
    fn page(mut self, lines: &[(u8, f64, f64, f64, &str)]) -> Self {
        let line = |(font, size, x, y, text): &(u8, f64, f64, f64, &str)| {
            let text = text.replace('(', "\\(").replace(')', "\\)");
            format!("BT /F{font} {size} Tf 1 0 0 1 {x} {y} Tm ({text}) Tj ET\n")
        };
        self.pages.push(lines.iter().map(line).collect());
        self
    }

    fn image(mut self) -> Self {
        self.images = true;
        self.pages.push("q 600 0 0 700 0 0 cm /Im Do Q".into());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let count = self.pages.len();
        let kids: String = (0..count)
            .map(|index| format!("{} 0 R ", 6 + 2 * index))
            .collect();
        let font = |name: &str| {
            format!(
                "<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>"
            )
        };
        let mut objects = vec![
            b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
            format!("<< /Type /Pages /Kids [{kids}] /Count {count} >>").into_bytes(),
            font("Times-Roman").into_bytes(),
            font("Times-Bold").into_bytes(),
            stream(
                "/Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray",
                b"x",
            ),
        ];
        for (index, content) in self.pages.iter().enumerate() {
            let resources =
                "/Resources << /Font << /F1 3 0 R /F2 4 0 R >> /XObject << /Im 5 0 R >> >>";
            let content_at = 7 + 2 * index;
            let page = format!("/MediaBox [0 0 612 792] {resources} /Contents {content_at} 0 R");
            objects.push(format!("<< /Type /Page /Parent 2 0 R {page} >>").into_bytes());
            objects.push(deflated(content.as_bytes()));
        }
        assemble(&objects, "")
    }
}

fn stream(dict: &str, bytes: &[u8]) -> Vec<u8> {
    let mut object = format!("<< {dict} /Length {} >>\nstream\n", bytes.len()).into_bytes();
    object.extend(bytes);
    object.extend(b"\nendstream");
    object
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    stream("/Filter /FlateDecode", &encoder.finish().unwrap())
}

/// Objects from 1 on, with their table and a trailer.
fn assemble(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut bytes = b"%PDF-1.5\n".to_vec();
    let mut table = String::new();
    for (index, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n \n", bytes.len()));
        bytes.extend(format!("{} 0 obj\n", index + 1).bytes());
        bytes.extend(object);
        bytes.extend(b"\nendobj\n");
    }
    let (start, size) = (bytes.len(), objects.len() + 1);
    let end = format!(
        "xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF"
    );
    bytes.extend(end.bytes());
    bytes
}

fn small_pdf() -> Pdf {
    let page = |number: &'static str| {
        move |mut lines: Vec<(u8, f64, f64, f64, &'static str)>| {
            lines.push((1, 9.0, 72.0, 760.0, "Motion Inversion, preprint"));
            lines.push((1, 9.0, 300.0, 30.0, number));
            lines
        }
    };
    let first = page("1")(vec![
        (1, 18.0, 150.0, 700.0, "Motion Inversion for"),
        (1, 18.0, 180.0, 678.0, "Video Customization"),
        (2, 12.0, 280.0, 640.0, "Abstract"),
        (1, 10.0, 72.0, 620.0, "We customize the mo-"),
        (1, 10.0, 72.0, 608.0, "tion of videos."),
        (2, 12.0, 72.0, 580.0, "1 Introduction"),
        (
            1,
            10.0,
            72.0,
            560.0,
            "Hello there, this is a line of a paragraph that goes",
        ),
        (1, 10.0, 72.0, 548.0, "on here. It ends."),
        (1, 10.0, 72.0, 530.0, "A new paragraph."),
    ]);
    let second = page("2")(vec![
        (2, 12.0, 72.0, 700.0, "2 Method"),
        (2, 10.0, 72.0, 680.0, "2.1 Embeddings"),
        (1, 10.0, 72.0, 660.0, "We learn them."),
        (1, 10.0, 72.0, 648.0, "2 Apples are no section."),
    ]);
    let third = page("3")(vec![
        (2, 12.0, 72.0, 700.0, "3 Experiments"),
        (1, 10.0, 72.0, 680.0, "Secret."),
    ]);
    Pdf::default().page(&first).page(&second).page(&third)
}

#[test]
fn a_pdf_is_read_with_its_headings() {
    let paper = read("p.pdf", small_pdf().bytes()).unwrap();
    assert_eq!(
        paper.title.as_deref(),
        Some("Motion Inversion for Video Customization")
    );
    assert_eq!(
        paper.abstract_text.as_deref(),
        Some("We customize the motion of videos.")
    );
    let expected = [
        (1, "Introduction"),
        (1, "Method"),
        (2, "Embeddings"),
        (1, "Experiments"),
    ];
    assert_eq!(headings(&paper), expected);
    let introduction = "Hello there, this is a line of a paragraph that goes on here. It ends.\n\nA new paragraph.";
    assert_eq!(paper.sections[0].text, introduction);
    assert!(!paper.text().contains("preprint"), "{}", paper.text());
    assert_eq!(
        paper.lost,
        ["formulas and tables of the PDF are garbled, and figures are missing"]
    );
}

#[test]
fn columns_are_read_one_after_the_other() {
    let texts: Vec<(String, String)> = (0..12)
        .map(|row| {
            (
                format!("left column, row {row} of text that is long"),
                format!("right column, row {row} of text is long"),
            )
        })
        .collect();
    let mut lines = vec![(
        1,
        16.0,
        100.0,
        740.0,
        "A Title over both of the Columns of the Page",
    )];
    for (row, (left, right)) in texts.iter().enumerate() {
        let y = 600.0 - 12.0 * row as f64;
        lines.push((1, 10.0, 54.0, y, left.as_str()));
        lines.push((1, 10.0, 320.0, y, right.as_str()));
    }
    let paper = read("p.pdf", Pdf::default().page(&lines).bytes()).unwrap();
    let text = paper.text();
    assert_eq!(
        paper.title.as_deref(),
        Some("A Title over both of the Columns of the Page")
    );
    let last_left = text.find("left column, row 11").unwrap();
    let first_right = text.find("right column, row 0").unwrap();
    assert!(last_left < first_right, "{text}");
    check(&text, &["row 0 of text that is long left column, row 1"]);
}

#[test]
fn pages_of_images_are_told() {
    check(
        &fails("p.pdf", Pdf::default().image().image().bytes()),
        &["2 pages that hold images only", "OCR"],
    );
    check(
        &fails("p.pdf", Pdf::default().page(&[]).bytes()),
        &["1 pages that hold images only"],
    );
    let paper = read("p.pdf", small_pdf().image().bytes()).unwrap();
    check(&paper.lost.join("; "), &["1 of 4 pages hold no text"]);
}

#[test]
fn damaged_and_encrypted_pdfs_are_refused() {
    check(
        &fails("p.pdf", b"%PDF-1.5\nnothing"),
        &["a damaged PDF", "download it again"],
    );
    let bytes = small_pdf().bytes();
    let encrypted =
        String::from_utf8_lossy(&bytes).replace("/Root 1 0 R", "/Root 1 0 R /Encrypt 99 0 R");
    check(
        &fails("p.pdf", encrypted),
        &["an encrypted PDF", "without encryption"],
    );
    // Its table is at the end, but readers can do without.
    let cut = read("p.pdf", &bytes[..bytes.len() * 9 / 10]).unwrap();
    check(&cut.text(), &["We learn them."]);
    let mut garbage = bytes.clone();
    let middle = garbage.len() / 2;
    garbage.splice(
        middle..middle,
        b"\0\xff garbage endobj obj << stream".iter().copied(),
    );
    let _ = read("p.pdf", garbage);
}

#[test]
fn pdfs_that_grow_are_refused() {
    let page = |contents: &str| {
        vec![
            b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
            format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {contents} /Resources << /XObject << /F 5 0 R >> /Font << /F1 6 0 R >> >> >>").into_bytes(),
        ]
    };
    let mut objects = page("4 0 R");
    objects.push(deflated(&vec![b' '; 300 << 20]));
    check(
        &fails("p.pdf", assemble(&objects, "")),
        &["unpack to more than 256 MiB"],
    );

    // Packed twice.
    let inner = deflated(&vec![b' '; 1 << 20]);
    let start = inner.windows(7).position(|w| w == b"stream\n").unwrap() + 7;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&inner[start..inner.len() - 10]).unwrap();
    let mut objects = page("4 0 R");
    objects.push(stream(
        "/Filter [/FlateDecode /FlateDecode]",
        &encoder.finish().unwrap(),
    ));
    check(&fails("p.pdf", assemble(&objects, "")), &["packed twice"]);

    // A form that shows itself, and one that is shown often.
    let mut objects = page("4 0 R");
    objects.push(deflated("/F Do ".repeat(200).as_bytes()));
    let form = "/F Do ".repeat(5) + &" ".repeat(4 << 20);
    objects.push(stream(
        "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /F 5 0 R >> >>",
        form.as_bytes(),
    ));
    check(
        &fails("p.pdf", assemble(&objects, "")),
        &["unpack to more than 512 MiB"],
    );

    // Widths from a character that no font has.
    let mut objects = page("4 0 R");
    objects.push(deflated(b"BT /F1 9 Tf (x) Tj ET"));
    objects.push(stream("", b""));
    objects.push(b"<< /Type /Font /Subtype /TrueType /BaseFont /X /FirstChar 2000000000 /LastChar 2000000001 /Widths [1] >>".to_vec());
    check(
        &fails("p.pdf", assemble(&objects, "")),
        &["more characters than there can be"],
    );
}

#[test]
fn too_many_pages_are_refused() {
    let mut pdf = Pdf::default();
    for _ in 0..2001 {
        pdf = pdf.page(&[(1, 9.0, 72.0, 700.0, "x")]);
    }
    check(
        &fails("p.pdf", pdf.bytes()),
        &["2001 pages", "at most 2000"],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_damage_makes_reading_panic(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), cut in any::<prop::sample::Index>()) {
        let mut bytes = small_pdf().bytes();
        for (index, byte) in &damage {
            let at = index.index(bytes.len());
            bytes[at] = *byte;
        }
        let _ = read("p.pdf", &bytes);
        bytes.truncate(cut.index(bytes.len()).max(8));
        let _ = read("p.pdf", bytes);
    }
}
