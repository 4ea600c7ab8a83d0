//! Pages cite each other and code cites pages: each page that is named exists, and so does each section.
//!
//! A citation is a path that ends in `.md`: from the repository's root, from the folder of the file that names it, or the end of a page's path. The words after it may
//! name a section: `#anchor`, `section 5`, or a number such as `3.7a`, which is a heading that begins with it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Pages that a command of ours writes where the user asks for it.
const WRITTEN_BY_A_PROGRAM: [&str; 1] = ["eval.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The text files that the repository tracks, by their path from the root.
fn sources() -> Vec<String> {
    let git = Command::new("git").arg("-C").arg(root()).args(["ls-files"]).output().expect("git runs");
    assert!(git.status.success(), "{}", String::from_utf8_lossy(&git.stderr));
    let endings = ["rs", "md", "py", "cu", "cuh", "toml", "sh", "yml", "scd", "json"];
    let files = String::from_utf8(git.stdout).unwrap();
    let named = files.lines().filter(|f| Path::new(f).extension().is_some_and(|e| endings.iter().any(|x| e == *x)));
    named.filter(|f| root().join(f).is_file()).map(str::to_owned).collect()
}

/// The paths in `line` that end in `.md`, each with what follows it.
fn citations(line: &str) -> Vec<(&str, &str)> {
    let in_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    line.match_indices(".md")
        .filter(|(at, _)| !line[at + 3..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
        .filter_map(|(at, _)| {
            let begin = line[..at].rfind(|c| !in_path(c)).map_or(0, |n| n + line[n..].chars().next().map_or(1, char::len_utf8));
            // A bare ".md" names no page, and an address is somebody else's.
            (begin < at && !line[..begin].ends_with("://") && !line[begin..at].starts_with("//"))
                .then_some((&line[begin..at + 3], &line[at + 3..]))
        })
        .collect()
}

/// The page that `path` names in `file`, if it exists: from the root, from the file's folder, or by the end of its path.
fn page(file: &str, path: &str, sources: &[String]) -> Option<PathBuf> {
    let beside = root().join(file).parent().map(|dir| dir.join(path));
    let end = path.trim_start_matches("../").trim_start_matches("./");
    let ends = |source: &&String| source.strip_suffix(end).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'));
    let by_end = sources.iter().find(ends).map(|source| root().join(source));
    [Some(root().join(path)), beside, by_end].into_iter().flatten().find(|p| p.is_file())
}

/// The headings of a page, without their marks.
fn headings(page: &str) -> Vec<&str> {
    let mut fenced = false;
    let lines = page.lines().filter(move |line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    lines.map(|line| line.trim_start_matches('#').trim()).collect()
}

/// The anchor that a heading gets on a page that shows Markdown.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

/// The section number that `text` begins with: digits, further digits after dots, and perhaps a letter ("5", "3.7a").
fn number(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let end = end + usize::from(text[end..].starts_with(|c: char| c.is_ascii_lowercase()));
    let number = text[..end].trim_end_matches('.');
    // "4th" and "3x" are words.
    let ends = !text[number.len()..].starts_with(|c: char| c.is_alphanumeric());
    (ends && number.starts_with(|c: char| c.is_ascii_digit())).then_some(number)
}

/// What is wrong with the section that `rest`, the text after a citation, names, if it names one.
fn missing_section(rest: &str, headings: &[&str]) -> Option<String> {
    if let Some(named) = rest.strip_prefix('#') {
        let named: String = named.chars().take_while(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
        return (!headings.iter().any(|h| anchor(h) == named)).then(|| format!("no heading gives the anchor #{named}"));
    }
    let rest = rest.trim_start_matches(['`', ')', ',']).strip_prefix(' ')?;
    let named = match ["section ", "sections "].iter().find_map(|word| rest.strip_prefix(word)) {
        Some(rest) => number(rest)?,
        // Without the word only a number with a dot is a section: "3.7", not "2 pages".
        None => number(rest).filter(|n| n.contains('.'))?,
    };
    (!headings.iter().any(|h| number(h) == Some(named))).then(|| format!("no heading begins with {named}"))
}

#[test]
fn every_page_and_section_that_is_cited_exists() {
    let (mut wrong, sources) = (Vec::new(), sources());
    // This file cites pages that don't exist, to test the test.
    for file in sources.iter().filter(|file| !file.ends_with("citations.rs")) {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        for (n, line) in text.lines().enumerate() {
            for (path, rest) in citations(line) {
                if WRITTEN_BY_A_PROGRAM.contains(&path) {
                    continue;
                }
                let found = match page(file, path, &sources) {
                    None => Some("no such page".to_owned()),
                    Some(page) => missing_section(rest, &headings(&std::fs::read_to_string(page).unwrap())),
                };
                wrong.extend(found.map(|what| format!("{file}:{}: {path}: {what}", n + 1)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} citations lead nowhere:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_wrong_citation_is_found() {
    let headings = headings("# Title\n## 3. The codec\n### 3.7a Books\n```\n# not a heading\n```\n");
    assert_eq!(headings, ["Title", "3. The codec", "3.7a Books"]);
    for right in [" section 3", " 3.7a).", "#37a-books", "", " has 12 tables", ": 4.5 GB"] {
        assert_eq!(missing_section(right, &headings), None, "{right}");
    }
    for wrong in [" section 4", " 3.8", "#nowhere", "` section 9.1"] {
        assert!(missing_section(wrong, &headings).is_some(), "{wrong}");
    }
    let page = "see (docs/x.md section 2), y.md";
    assert_eq!(citations(page), [("docs/x.md", " section 2), y.md"), ("y.md", "")].map(|(a, b)| (a, b)));
}
