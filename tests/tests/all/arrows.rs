//! The crate arrows and the absences of ARCHITECTURE.md, held by a test: `tui → io → engine → kernels`, nothing points back; `unsafe` only
//! in the kernels and where it is listed; the engine makes no thread, reads no clock, opens no device and prints nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What each of our crates may depend on, of our crates.
const ARROWS: [(&str, &[&str]); 7] = [
    ("sideman-kernels", &[]),
    ("sideman-engine", &["sideman-kernels"]),
    ("sideman-io", &["sideman-kernels", "sideman-engine"]),
    ("sideman", &["sideman-kernels", "sideman-engine", "sideman-io"]),
    ("sideman-tests", &["sideman-kernels", "sideman-engine", "sideman-io"]),
    ("sideman-fakecuda", &[]),
    ("sideman-bench", &["sideman-kernels", "sideman-engine", "sideman-io"]),
];

/// Crates that only these of ours may use, tests and benches aside.
const HOMES: [(&str, &[&str]); 15] = [
    ("cudarc", &["sideman-kernels"]),
    ("half", &["sideman-kernels", "sideman-engine"]),
    ("memmap2", &["sideman-engine"]),
    ("safetensors", &["sideman-engine"]),
    ("tokenizers", &["sideman-engine"]),
    ("symphonia", &["sideman-engine"]),
    ("cpal", &["sideman-io"]),
    ("jack", &["sideman-io"]),
    ("mdns-sd", &["sideman-io"]),
    ("midir", &["sideman-io"]),
    ("rosc", &["sideman-io"]),
    ("ringbuf", &["sideman-io"]),
    ("rusty_link", &["sideman-io"]),
    ("crossterm", &["sideman"]),
    ("ratatui", &["sideman"]),
];

/// Files outside of `kernels` that may say `unsafe`.
const UNSAFE: [&str; 1] = ["engine/src/model/tensors.rs"];

/// Folders outside of `kernels` that may.
const UNSAFE_FOLDERS: [&str; 1] = ["tests/fakecuda/"];

/// What the engine must not name, and why.
const ENGINE: [(&str, &str); 16] = [
    ("std::thread", "makes no thread"),
    ("thread::spawn", "makes no thread"),
    ("thread::scope", "makes no thread"),
    ("rayon", "makes no thread"),
    ("std::time", "reads no clock"),
    ("Instant", "reads no clock"),
    ("SystemTime", "reads no clock"),
    ("std::net", "opens no socket"),
    ("std::env", "takes no hidden input"),
    ("println!", "prints nothing"),
    ("print!", "prints nothing"),
    ("eprintln!", "prints nothing"),
    ("eprint!", "prints nothing"),
    ("dbg!", "prints nothing"),
    ("stdout", "prints nothing"),
    ("stderr", "prints nothing"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// All Rust files below a folder, by their path from the root; build outputs aside.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {folder}");
    found
}

/// The code of a source: comments, strings and character literals blanked out.
fn code(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let len = comment(rest).or_else(|| string(rest)).or_else(|| character(rest));
        match len {
            Some(len) => out.extend(rest[..len].chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            None => out.push(first),
        }
        rest = &rest[len.unwrap_or(first.len_utf8())..];
    }
    out
}

/// Length of the comment that `text` begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| text.find("*/").map_or(text.len(), |n| n + 2))
}

/// Length of the string literal that `text` begins with: "…", r"…", r#"…"#.
fn string(text: &str) -> Option<usize> {
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let body = raw[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        let open = text.len() - body.len();
        return Some(open + body.find(&close).map_or(body.len(), |n| n + close.len()));
    }
    let body = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = body.find(|c: char| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    Some(1 + end.map_or(body.len(), |n| n + 1))
}

/// Length of the character literal that `text` begins with; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    if body.starts_with('\\') {
        return body[2..].find('\'').map(|n| n + 4);
    }
    let first = body.chars().next()?.len_utf8();
    body[first..].starts_with('\'').then_some(first + 2)
}

/// Whether `code` holds `word` with no letter, digit or _ on either side.
fn says(code: &str, word: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word)
        .any(|(at, _)| !joins(code[..at].chars().next_back()) && !joins(code[at + word.len()..].chars().next()))
}

/// A source without its test module, which stands at its end.
fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]").map_or(code, |at| &code[..at])
}

#[test]
fn crates_point_one_way() {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let mut seen = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let arrows = ARROWS.iter().find(|(n, _)| *n == name).map(|(_, to)| *to);
        let arrows = arrows.unwrap_or_else(|| panic!("{name} has no place in ARROWS: give it one, and one in ARCHITECTURE.md"));
        seen.push(name);
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            if to.starts_with("sideman") {
                // What tests stand on points at what they test, and is never shipped.
                let testing = dependency["kind"] == "dev" && ["sideman-fakecuda", "sideman-tests"].contains(&to);
                assert!(testing || arrows.contains(&to), "{name} depends on {to}, against the arrows");
            }
            let testing = dependency["kind"] == "dev" || ["sideman-tests", "sideman-fakecuda", "sideman-bench"].contains(&name);
            if let Some((_, homes)) = HOMES.iter().find(|(n, _)| *n == to)
                && !testing
            {
                assert!(homes.contains(&name), "{name} depends on {to}, which belongs to {homes:?}");
            }
        }
    }
    for (name, _) in ARROWS {
        assert!(seen.contains(&name), "{name} is gone: take it out of ARROWS");
    }
}

#[test]
fn unsafe_is_where_it_is_listed() {
    let mut used = Vec::new();
    for folder in ["engine", "io", "tui", "tests", "bench"] {
        for (name, source) in sources(folder) {
            if UNSAFE_FOLDERS.iter().any(|f| name.starts_with(f)) || !says(&code(&source), "unsafe") {
                continue;
            }
            assert!(UNSAFE.contains(&name.as_str()), "{name} says unsafe: that belongs in kernels");
            assert!(source.contains("// SAFETY:"), "{name} doesn't say why its unsafe code is sound");
            used.push(name);
        }
    }
    assert_eq!(used, UNSAFE, "a file listed as unsafe no longer is");
}

#[test]
fn the_engine_only_computes() {
    for (name, source) in sources("engine/src") {
        let code = code(&source);
        for (word, why) in ENGINE {
            assert!(!says(without_tests(&code), word), "{name} says {word}: the engine {why}");
        }
    }
}

#[test]
fn only_kernels_lifts_the_ban_on_unsafe() {
    for (name, source) in ["engine", "io", "tui", "tests", "bench"].into_iter().flat_map(sources) {
        let lifts = says(&code(&source), "allow(unsafe_code)");
        let listed = UNSAFE.contains(&name.as_str()) || UNSAFE_FOLDERS.iter().any(|f| name.starts_with(f));
        assert!(!lifts || listed, "{name} allows unsafe code");
    }
}

#[test]
fn the_reader_of_code_reads_code() {
    let source = r##"let a = "unsafe"; // unsafe
        let b = r#"unsafe " unsafe"#; let c = '"'; /* unsafe */ let d = '\''; fn e<'a>(x: &'a str) {} f("\\", unsafely);"##;
    assert!(!says(&code(source), "unsafe"), "{}", code(source));
    for (source, word) in
        [("unsafe { x }", "unsafe"), ("let x = 'a'; std::thread::spawn(f)", "std::thread"), ("println!(\"x\")", "println!")]
    {
        assert!(says(&code(source), word), "{source}");
    }
    assert!(!says("eprintln!(x)", "println!"));
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests"), "a\n");
}
