//! Atomic files and folders: they are written under a temporary name in the same parent folder and renamed when
//! they are complete, so a reader never sees a part of one. Dropped before that, they are removed.
//!
//! For results that another program may open while they are written. Nothing is synced to disk: after a power
//! cut a file can still be incomplete.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::error::{Error, Result};

/// A file that appears under its name only when it is complete.
#[derive(Debug)]
pub struct AtomicFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl AtomicFile {
    /// Creates an empty file with a temporary name in the folder of `path`.
    ///
    /// # Errors
    /// [`Error::Io`] with `path`: it has no file name, its folder is missing, or no permission to write
    /// there.
    pub fn create(path: &Path) -> Result<AtomicFile> {
        let file = builder(path, 0o666)?.tempfile_in(parent(path)).map_err(Error::io(path))?;
        Ok(AtomicFile { file, path: path.to_owned() })
    }

    /// The file, to be written.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives the file its final name. A file of that name is replaced.
    ///
    /// # Errors
    /// [`Error::Io`] with the path: the file can't be renamed.
    pub fn commit(self) -> Result<()> {
        let renamed = self.file.persist(&self.path);
        renamed.map(drop).map_err(|e| Error::Io { path: self.path, source: e.error })
    }
}

/// Writes `bytes` to the file `path`, which appears only when it is complete. A file of that name is replaced.
///
/// # Errors
/// Those of [`AtomicFile`]; or the disk is full.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.file().write_all(bytes).map_err(Error::io(path))?;
    file.commit()
}

/// A new folder that appears under its name only when it is complete.
#[derive(Debug)]
pub struct AtomicDir {
    dir: TempDir,
    path: PathBuf,
}

impl AtomicDir {
    /// Creates an empty folder with a temporary name in the parent folder of `path`, and the folders above it
    /// where they are missing.
    ///
    /// # Errors
    /// [`Error`] with `path`: it is there already and not empty, it has no name, or no permission to write
    /// there.
    pub fn create(path: &Path) -> Result<AtomicDir> {
        let empty = |dir: &Path| fs::read_dir(dir).is_ok_and(|mut d| d.next().is_none());
        if path.exists() && !empty(path) {
            return Err(Error::file(path, "it is there already; give the name of a new folder"));
        }
        fs::create_dir_all(parent(path)).map_err(Error::io(path))?;
        let dir = builder(path, 0o777)?.tempdir_in(parent(path)).map_err(Error::io(path))?;
        Ok(AtomicDir { dir, path: path.to_owned() })
    }

    /// The folder under its temporary name.
    pub fn temporary(&self) -> &Path {
        self.dir.path()
    }

    /// Gives the folder its final name. An empty folder of that name is replaced.
    ///
    /// # Errors
    /// [`Error::Io`] with the path: the folder can't be renamed.
    pub fn commit(self) -> Result<()> {
        if self.path.exists() {
            fs::remove_dir(&self.path).map_err(Error::io(&self.path))?;
        }
        fs::rename(self.dir.path(), &self.path).map_err(Error::io(&self.path))?;
        // It has another name now: there is nothing left to remove.
        let _ = self.dir.keep();
        Ok(())
    }
}

/// The folder that `path` is in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes what is created readable for others as the umask allows; the default is the owner alone.
fn builder(path: &Path, mode: u32) -> Result<Builder<'static, 'static>> {
    if path.file_name().is_none() {
        return Err(Error::file(path, "not the name of a file or folder"));
    }
    let mut builder = Builder::new();
    #[cfg(unix)]
    builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode));
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_committed() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("song.json");
        fs::write(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.file().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(tmp.path()), ["song.json"]);
    }

    #[test]
    fn a_file_or_folder_that_is_not_committed_is_removed() {
        let tmp = tempfile::tempdir().unwrap();
        drop(AtomicFile::create(&tmp.path().join("file")).unwrap());
        let dir = AtomicDir::create(&tmp.path().join("folder")).unwrap();
        fs::write(dir.temporary().join("inside"), "").unwrap();
        drop(dir);
        assert!(names(tmp.path()).is_empty());
    }

    #[test]
    fn a_folder_appears_when_it_is_committed_and_replaces_an_empty_one_only() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a/model");
        fs::create_dir_all(&path).unwrap();
        let dir = AtomicDir::create(&path).unwrap();
        fs::write(dir.temporary().join("config.json"), "{}").unwrap();
        dir.commit().unwrap();
        assert_eq!(names(&path), ["config.json"]);
        assert!(AtomicDir::create(&path).is_err());
        assert_eq!(names(&tmp.path().join("a")), ["model"]);
    }

    #[cfg(unix)]
    #[test]
    fn files_and_folders_have_the_usual_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let tmp = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let [ours, usual] = ["ours", "usual"].map(|name| tmp.path().join(name));
        write(&ours, b"").unwrap();
        fs::write(&usual, b"").unwrap();
        assert_eq!(mode(&ours), mode(&usual));
        let [ours, usual] = ["our folder", "usual folder"].map(|name| tmp.path().join(name));
        AtomicDir::create(&ours).unwrap().commit().unwrap();
        fs::create_dir(&usual).unwrap();
        assert_eq!(mode(&ours), mode(&usual));
    }

    #[test]
    fn an_error_names_the_final_path() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("no/such/drums.wav");
        assert!(AtomicFile::create(&path).unwrap_err().to_string().contains("drums.wav"));
        assert!(AtomicFile::create(Path::new("/")).is_err());
    }
}
