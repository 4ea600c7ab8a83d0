//! Recognises a file that a download left in place of the real one: a Git LFS or git-annex pointer, or a page
//! that says why there is no file. Every file that users download is checked with it before it is parsed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// Bytes at the start of a file that are looked at.
const LOOKED_AT: u64 = 512;

/// Checks that a file is not a placeholder. A file that can't be read passes: whoever reads it says why.
///
/// # Errors
/// [`Error::Placeholder`] that says what the file is, and how to get the real one.
pub fn check(path: &Path) -> Result<()> {
    let mut start = Vec::new();
    // Not a pipe: what is read of it is gone.
    let regular = std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
    if regular && let Ok(file) = File::open(path) {
        let _ = file.take(LOOKED_AT).read_to_end(&mut start);
    }
    match kind(&start) {
        Some(what) => Err(Error::Placeholder { path: path.to_owned(), what }),
        None => Ok(()),
    }
}

/// What a file is that begins so, if it is a placeholder.
fn kind(start: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(start).to_ascii_lowercase();
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let begins = |with: &[&str]| with.iter().any(|w| text.starts_with(w));
    if begins(&["version https://git-lfs", "version https://hawser"]) {
        Some("is a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned, or download the file")
    } else if begins(&["/annex/objects/", "../.git/annex", ".git/annex"]) {
        Some("is a git-annex pointer, not the file itself: run `git annex get` where it was cloned, or download the file")
    } else if begins(&["<!doctype", "<html", "<head", "<?xml"]) {
        Some(
            "is a web page, not the file itself: open its address in a browser, which says what is missing, and download it again",
        )
    } else if begins(&[
        "{\"error\"",
        "invalid username or password",
        "entry not found",
        "repository not found",
        "access to model",
    ]) {
        Some("is the error message of a download, not the file itself: open it in an editor, and download the file again")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_recognised_and_a_real_file_is_not() {
        for start in [
            "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "\n <!DOCTYPE html><html>",
            "\u{feff}<html lang=\"en\">",
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>",
            "/annex/objects/SHA256E-s1--ab.safetensors\n",
            "{\"error\":\"Repository not found\"}",
        ] {
            assert!(kind(start.as_bytes()).is_some(), "{start}");
        }
        for start in [&b"\x40\0\0\0\0\0\0\0{\"lm\":"[..], b"{\"format\": 1}", b"PK\x03\x04", b"RIFF\0\0\0\0WAVE", b"fLaC", b""] {
            assert!(kind(start).is_none(), "{start:?}");
        }
    }
}
