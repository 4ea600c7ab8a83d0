//! Folders of takes: a name that a musician or a packet gives is made one safe folder name, and a new take
//! never gets a folder that is there already.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sideman_engine::{Error, Result};

/// Most bytes of a name. File systems take 255; the rest is for the number of a name that is taken.
const MAX_NAME: usize = 200;
/// Most takes of one name in a folder.
const MAX_SAME: u32 = 10_000;

/// Where a take goes.
#[derive(Debug, Clone, PartialEq)]
pub enum TakePlace {
    /// This folder, which is created if it is missing.
    Folder(PathBuf),
    /// A new folder of this name, or of the name with a number, in a folder that is created if it is missing.
    New {
        /// The folder of the takes.
        parent: PathBuf,
        /// The name, as [`safe_name`] or [`dated_name`] give it.
        name: String,
    },
}

impl TakePlace {
    /// A new take in the folder `parent` with a name that a musician or a packet gave; without a usable one,
    /// with the date.
    pub fn named(parent: &Path, name: &str) -> TakePlace {
        TakePlace::New { parent: parent.to_owned(), name: safe_name(name).unwrap_or_else(dated_name) }
    }

    /// Creates the folder.
    ///
    /// # Errors
    /// It can't be created; the error names it.
    pub fn create(&self) -> Result<PathBuf> {
        match self {
            TakePlace::Folder(dir) => fs::create_dir_all(dir).map_err(Error::io(dir)).map(|()| dir.clone()),
            TakePlace::New { parent, name } => create_new(parent, name),
        }
    }
}

/// Name of a take that starts now: `take-YYYYMMDD-HHMMSS` in local time.
pub fn dated_name() -> String {
    jiff::Zoned::now().strftime("take-%Y%m%d-%H%M%S").to_string()
}

/// One folder name from any text: what no file system or terminal likes is replaced by `-`. None where nothing
/// is left.
fn safe_name(text: &str) -> Option<String> {
    let mut name: String = text.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    // A dot first hides a folder and two lead out of it; a hyphen first looks like a flag; Windows drops dots
    // and spaces at the end.
    let name = name.trim_matches(|c: char| c.is_whitespace() || c == '.' || c == '-');
    let device = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |of: &str| device.strip_prefix(of).is_some_and(|n| n.len() == 1 && n.chars().all(|c| c.is_ascii_digit()));
    let reserved = ["CON", "PRN", "AUX", "NUL"].contains(&&*device) || numbered("COM") || numbered("LPT");
    match (name.is_empty(), reserved) {
        (true, _) => None,
        (_, true) => Some(format!("take {name}")),
        _ => Some(name.to_owned()),
    }
}

/// Whether a character may be in a name: none that separates folders, means something to a shell on Windows,
/// moves a terminal's cursor, or turns the direction of the text.
fn is_plain(c: char) -> bool {
    let invisible = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !invisible && !"/\\:*?\"<>|".contains(c)
}

/// Creates a folder that was not there before.
fn create_new(parent: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    for n in 1..=MAX_SAME {
        let dir = parent.join(if n == 1 { name.to_owned() } else { format!("{name}-{n}") });
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::Io { path: dir, source: e }),
        }
    }
    Err(Error::file(&parent.join(name), format!("{MAX_SAME} takes have this name; give another one")))
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_take_is_named_by_date_and_time() {
        let shape: String = dated_name().chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "take-00000000-000000");
    }

    #[test]
    fn a_usual_name_stays_and_one_that_leads_elsewhere_does_not() {
        for (text, name) in [
            ("good one", Some("good one")),
            ("  Strophe 2 (schnell) ", Some("Strophe 2 (schnell)")),
            ("été", Some("été")),
            ("..", None),
            ("/", None),
            ("", None),
            ("\u{1b}[2J", Some("[2J")),
            ("../../etc/passwd", Some("etc-passwd")),
            ("a/b\\c:d", Some("a-b-c-d")),
            ("-rf", Some("rf")),
            (".hidden.", Some("hidden")),
            ("nul", Some("take nul")),
            ("Com1.wav", Some("take Com1.wav")),
            ("a\u{202e}gpj", Some("a-gpj")),
        ] {
            assert_eq!(safe_name(text).as_deref(), name, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_one_folder_name(text in any::<String>()) {
            if let Some(name) = safe_name(&text) {
                let parts: Vec<_> = Path::new(&name).components().collect();
                prop_assert!(matches!(&parts[..], [Component::Normal(_)]), "{name:?}");
                prop_assert!(!name.chars().any(char::is_control) && name.len() <= 255);
                prop_assert_eq!(safe_name(&name), Some(name.clone()), "it is safe already");
            }
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let place = TakePlace::named(&dir.path().join("takes"), "one");
        let names: Vec<_> = (0..3).map(|_| place.create().unwrap().file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["one", "one-2", "one-3"]);
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(TakePlace::named(&dir.path().join("file"), "x").create().is_err());
    }
}
