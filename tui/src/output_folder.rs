//! The folder that a command writes into, and the checks before it does: no file that the command reads is
//! replaced, and a file that is there already only with `--force`.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use anyhow::Result;
use sideman_engine::atomic::AtomicDir;

use crate::song_info::SongInfo;
use crate::usage;

/// The folder of `--out` or `--to`.
pub struct OutputFolder<'a> {
    flag: &'static str,
    dir: &'a Path,
    force: bool,
    /// What the command reads: the flag or argument that names it, and the file.
    inputs: Vec<(String, PathBuf)>,
}

impl<'a> OutputFolder<'a> {
    /// The folder of `flag`. `force`: files of the same names are replaced.
    pub fn new(flag: &'static str, dir: &'a Path, force: bool) -> Self {
        OutputFolder { flag, dir, force, inputs: Vec::new() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir
    }

    /// Protects the recording of `flag`, and the JSON file beside it.
    pub fn reads(mut self, flag: &str, recording: &Path) -> Self {
        self.inputs.push((flag.to_owned(), recording.to_owned()));
        self.inputs.extend(SongInfo::file_of(recording).map(|file| (flag.to_owned(), file)));
        self
    }

    /// Protects all files of the folder that `argument` names.
    pub fn reads_folder(mut self, argument: &str, folder: &Path) -> Self {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        self.inputs.extend(files.map(|entry| (argument.to_owned(), entry.path())));
        self
    }

    /// Checks the files that the command will write: `names`, in `folders` folders 1, 2, … where these are
    /// several. Call it before the work.
    ///
    /// # Errors
    /// A usage error: a file is one that the command reads, or it is there already and `--force` is not given.
    pub fn check(&self, names: &[String], folders: u16) -> Result<()> {
        let (flag, dir) = (self.flag, self.dir.display());
        let folders: Vec<PathBuf> = match folders {
            0 | 1 => vec![self.dir.to_owned()],
            n => (1..=n).map(|n| self.dir.join(n.to_string())).collect(),
        };
        for target in folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))) {
            let Ok(found) = fs::symlink_metadata(&target) else { continue };
            if let Some((reader, input)) = self.inputs.iter().find(|(_, input)| same_file(input, &target)) {
                return Err(usage(format!(
                    "{flag} {dir}: {} would replace {}, which {reader} reads; give another folder",
                    target.display(),
                    input.display(),
                )));
            }
            if found.is_dir() {
                return Err(usage(format!("{flag} {dir}: {} is a folder; give another folder", target.display())));
            }
            if !self.force {
                return Err(usage(format!(
                    "{flag} {dir}: {} is there already; give another folder, or --force to replace the files in this one",
                    target.display()
                )));
            }
        }
        Ok(())
    }

    /// Begins to write: the files go to the result's temporary folder, and appear in this one when they are
    /// committed. Call it before the work, so that a folder that can't be written fails at once.
    ///
    /// # Errors
    /// The folder can't be created; the error names the flag.
    pub fn begin(&self) -> Result<AtomicDir> {
        AtomicDir::create_or_merge(self.dir).map_err(|e| anyhow::anyhow!("{} {e}", self.flag))
    }

    /// Removes files of these names, so that new ones can grow under the same names. A link is removed, not
    /// what it points to.
    ///
    /// # Errors
    /// A file can't be removed; the error names the flag.
    pub fn clear(&self, names: &[String]) -> Result<()> {
        for path in names.iter().map(|name| self.dir.join(name)) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(anyhow::anyhow!("{} {}: can't replace {}: {e}", self.flag, self.dir.display(), path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether two paths lead to the same file, also through links.
fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(x), Ok(y)) => same_inode(&x, &y) || fs::canonicalize(a).ok().is_some_and(|a| fs::canonicalize(b).ok() == Some(a)),
        _ => false,
    }
}

#[cfg(unix)]
fn same_inode(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_inode(_: &Metadata, _: &Metadata) -> bool {
    false
}
