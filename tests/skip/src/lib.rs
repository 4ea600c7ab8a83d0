//! Tests that a machine can't run are reported as skipped, with the reason; none passes in silence.
//!
//! A test calls [`skip`] or [`without`] and returns. `make test` collects the reports in the file that `SIDEMAN_SKIPS` names, prints them
//! at the end, and in CI fails on every one that `.ci/expected-skips` doesn't list (`scripts/skips.sh`).

use std::io::Write;
use std::path::Path;

/// Something that a test needs and that a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A program on the `PATH`, and the Debian package that has it.
    Program(&'static str, &'static str),
    /// A plugin of alsa-lib (its file name), and the Debian package that has it.
    AlsaPlugin(&'static str, &'static str),
}

impl Need {
    /// What is missing and how to get it, or nothing if it is there.
    pub fn missing(self) -> Option<String> {
        match self {
            Need::Program(name, package) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let found = std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
                (!found).then(|| format!("{name} is not installed (Debian package {package})"))
            }
            Need::AlsaPlugin(file, package) => {
                let folders = ["/usr/lib", "/usr", "/usr/lib64"];
                let found = folders.into_iter().filter_map(|dir| Path::new(dir).read_dir().ok()).flatten();
                let found = found.filter_map(Result::ok).any(|dir| dir.path().join("alsa-lib").join(file).is_file());
                (!found).then(|| format!("alsa-lib has no {file} (Debian package {package})"))
            }
        }
    }
}

/// Reports that `test` is skipped, and why. The test returns right after it.
///
/// # Panics
/// The report can't be written: a skip that nobody sees is a failure.
pub fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(path) = std::env::var_os("SIDEMAN_SKIPS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(format!("{test}\t{reason}\n").as_bytes()));
        written.unwrap_or_else(|e| panic!("{}: {e}", Path::new(&path).display()));
    }
}

/// Whether one of `needs` is missing; `test` is then reported as skipped.
pub fn without(test: &str, needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(|need| need.missing()).collect();
    if !missing.is_empty() {
        skip(test, &missing.join("; "));
    }
    !missing.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        assert_eq!(Need::Program("sh", "dash").missing(), None);
        let reason = Need::Program("no-such-program", "no-such-package").missing().unwrap();
        assert!(reason.contains("no-such-program") && reason.contains("no-such-package"), "{reason}");
        assert!(Need::AlsaPlugin("libasound_module_pcm_nothing.so", "none").missing().is_some());
    }
}
