//! The invariants of ARCHITECTURE.md that the compiler and clippy don't check: which crate may depend on which, and which files may have
//! unsafe code. The functions that the engine must not call are in engine/clippy.toml.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace crates that each workspace crate may depend on.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("sideman-kernels", &[]),
    ("sideman-engine", &["sideman-kernels"]),
    ("sideman-io", &["sideman-kernels", "sideman-engine"]),
    ("sideman", &["sideman-kernels", "sideman-engine", "sideman-io"]),
    ("sideman-tests", &["sideman-kernels", "sideman-engine", "sideman-io", "sideman-skip"]),
    ("sideman-fakecuda", &[]),
    ("sideman-skip", &[]),
    ("sideman-bench", &["sideman-kernels", "sideman-engine", "sideman-io"]),
];

/// External crates, and the workspace crates that may depend on them. Tests and benchmarks may depend on any.
const USERS: [(&str, &[&str]); 15] = [
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

/// Crates that may have unsafe code. All others use the workspace's lints, which deny it.
const UNSAFE_CRATES: [&str; 2] = ["sideman-kernels", "sideman-fakecuda"];

/// Files of other crates that allow unsafe code.
const UNSAFE_FILES: [&str; 1] = ["engine/src/model/tensors.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The path from the root, and the text, of each Rust file below a folder, without build output.
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

/// The workspace's packages, from `cargo metadata`.
fn packages() -> Vec<serde_json::Value> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let mut metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

#[test]
fn crates_depend_only_on_the_crates_that_are_allowed() {
    let packages = packages();
    let mut seen = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let may_use = MAY_USE.iter().find(|(n, _)| *n == name).map(|(_, to)| *to);
        let may_use = may_use.unwrap_or_else(|| panic!("{name} is not in MAY_USE: add it there and to ARCHITECTURE.md"));
        seen.push(name);
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            if to.starts_with("sideman") {
                // Test helpers depend on the crates that they help to test.
                let testing = dependency["kind"] == "dev" && ["sideman-fakecuda", "sideman-skip", "sideman-tests"].contains(&to);
                assert!(testing || may_use.contains(&to), "{name} may not depend on {to}");
            }
            let testing = dependency["kind"] == "dev" || ["sideman-tests", "sideman-fakecuda", "sideman-bench"].contains(&name);
            if let Some((_, users)) = USERS.iter().find(|(n, _)| *n == to)
                && !testing
            {
                assert!(users.contains(&name), "{name} depends on {to}; only {users:?} may");
            }
        }
    }
    for (name, _) in MAY_USE {
        assert!(seen.contains(&name), "{name} does not exist: remove it from MAY_USE");
    }
}

#[test]
fn only_the_listed_files_allow_unsafe_code() {
    // Split, so that the search doesn't find this file.
    let attribute = concat!("allow(", "unsafe_code");
    let found =
        ["engine", "io", "tui", "tests", "bench"].into_iter().flat_map(sources).filter(|(_, source)| source.contains(attribute));
    let found: Vec<String> = found.map(|(name, _)| name).collect();
    assert_eq!(found, UNSAFE_FILES, "files that allow unsafe code");
}

#[test]
fn every_crate_without_unsafe_code_uses_the_lints_of_the_workspace() {
    for package in packages() {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        let name = package["name"].as_str().unwrap();
        assert_eq!(manifest.contains("[lints]\nworkspace = true"), !UNSAFE_CRATES.contains(&name), "{name}");
    }
}
