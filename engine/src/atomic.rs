//! Atomic files and folders: they are written under a temporary name on the same file system, synced to disk
//! and renamed when they are complete, so a reader never sees a part of one, also after a power cut. Dropped
//! before that, they are removed; [`abandon`] removes them when a signal ends the program. What a killed program
//! left is removed by the next one that writes into the same folder: it is locked as long as its program runs.
//!
//! For results. A file that has to be readable while it grows, as those of a take, is not one.

use std::fs::{self, File, Metadata, Permissions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::error::{Error, Result};

/// Beginning of a temporary name.
const PREFIX: &str = ".sideman-unfinished-";
/// Random characters after it.
const RANDOM: usize = 8;
/// What is younger may have an owner that has not locked it yet.
const NEW: Duration = Duration::from_secs(60);

/// Files and folders that have a temporary name now.
static UNCOMMITTED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn uncommitted() -> MutexGuard<'static, Vec<PathBuf>> {
    UNCOMMITTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps all threads from committing or creating while it lives: see [`abandon`].
#[must_use = "the program has to end before it is dropped"]
#[derive(Debug)]
pub struct Abandoned(#[allow(dead_code)] MutexGuard<'static, Vec<PathBuf>>);

/// Removes what is not committed. A commit that has begun is completed first. Call it when a signal ends the
/// program, and end the program while the result lives: until then every thread that commits, creates or drops
/// an atomic file waits.
pub fn abandon() -> Abandoned {
    let paths = uncommitted();
    for path in paths.iter() {
        // Another thread may still be writing into the folder, so a file can appear while it is removed.
        for _ in 0..100 {
            if fs::remove_dir_all(path).is_ok() || fs::remove_file(path).is_ok() || fs::symlink_metadata(path).is_err() {
                break;
            }
        }
    }
    Abandoned(paths)
}

/// A file that appears under its name only when it is complete.
#[derive(Debug)]
pub struct AtomicFile {
    /// None once it is committed.
    file: Option<NamedTempFile>,
    path: PathBuf,
}

impl AtomicFile {
    /// Creates an empty file with a temporary name in the folder of `path`.
    ///
    /// # Errors
    /// [`Error::Io`] with `path`: it has no file name, its folder is missing, or no permission to write
    /// there.
    pub fn create(path: &Path) -> Result<AtomicFile> {
        let builder = named(path, 0o666)?;
        let mut paths = uncommitted();
        let file = builder.tempfile_in(parent(path)).map_err(Error::io(path))?;
        // Where files can't be locked, no program removes those of another.
        let _ = file.as_file().try_lock();
        paths.push(file.path().to_owned());
        drop(paths);
        remove_abandoned(parent(path), file.as_file().metadata());
        Ok(AtomicFile { file: Some(file), path: path.to_owned() })
    }

    /// The file, to be written.
    pub fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("not committed").as_file_mut()
    }

    /// Syncs the file to disk and gives it its final name. A file of that name is replaced.
    ///
    /// # Errors
    /// [`Error::Io`] with the path: the disk is full, or the file can't be renamed.
    pub fn commit(mut self) -> Result<()> {
        self.file().sync_all().map_err(Error::io(&self.path))?;
        let mut paths = uncommitted();
        let file = self.file.take().expect("not committed");
        paths.retain(|path| path != file.path());
        file.persist(&self.path).map_err(|e| Error::Io { path: self.path.clone(), source: e.error })?;
        sync_dir(parent(&self.path));
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        let mut paths = uncommitted();
        if let Some(file) = self.file.take() {
            paths.retain(|path| path != file.path());
        }
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

/// A folder whose files appear under their names only when all of them are complete.
#[derive(Debug)]
pub struct AtomicDir {
    /// None once it is committed.
    dir: Option<TempDir>,
    /// The folder, locked; none where folders can't be opened.
    _lock: Option<File>,
    path: PathBuf,
    /// The folder is there already: its files are moved into it, not the folder itself.
    merge: bool,
}

impl AtomicDir {
    /// A new folder `path`, with a temporary name until it is committed. If it is there and empty, its files are moved into
    /// it, because it may be a mount point or a link, which nothing can replace. Folders above it that are missing are made when it is committed.
    ///
    /// # Errors
    /// [`Error`] with `path`: it is there already and not empty, it has no name, or no permission to write
    /// there.
    pub fn create(path: &Path) -> Result<AtomicDir> {
        if path.exists() && !is_empty(path) {
            return Err(Error::file(path, "it is there already; give the name of a new folder"));
        }
        Self::create_or_merge(path)
    }

    /// As [`AtomicDir::create`]; but where the folder is there and not empty, the files are moved into it when
    /// they are committed. Files of the same names are replaced.
    ///
    /// # Errors
    /// [`Error`] with `path`: it is a file, or no permission to write there.
    pub fn create_or_merge(path: &Path) -> Result<AtomicDir> {
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => Err(Error::file(path, "is a file; it should be a folder, or a new name")),
            Ok(_) => Self::begin(path, true),
            Err(_) if path.is_symlink() => Err(Error::file(path, "is a link to a folder that is not there")),
            Err(_) => Self::begin(path, false),
        }
    }

    fn begin(path: &Path, merge: bool) -> Result<AtomicDir> {
        let builder = if merge { builder(0o777) } else { named(path, 0o777)? };
        let place = if merge { path } else { parent(path).ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new(".")) };
        let mut paths = uncommitted();
        let dir = builder.tempdir_in(place).map_err(Error::io(path))?;
        let lock = File::open(dir.path()).ok();
        let _ = lock.as_ref().map(File::try_lock);
        paths.push(dir.path().to_owned());
        drop(paths);
        remove_abandoned(place, dir.path().metadata());
        Ok(AtomicDir { dir: Some(dir), _lock: lock, path: path.to_owned(), merge })
    }

    /// The folder under its temporary name.
    pub fn temporary(&self) -> &Path {
        self.dir.as_ref().expect("not committed").path()
    }

    /// Syncs the files to disk and gives the folder its final name.
    ///
    /// # Errors
    /// [`Error::Io`] with the path: the disk is full, or something can't be renamed.
    pub fn commit(mut self) -> Result<()> {
        sync_tree(self.temporary()).map_err(Error::io(&self.path))?;
        let mut paths = uncommitted();
        let (path, dir) = (&self.path, self.dir.take().expect("not committed"));
        paths.retain(|path| path != dir.path());
        if self.merge {
            move_into(dir.path(), path)?;
            sync_dir(path);
            return Ok(());
        }
        fs::create_dir_all(parent(path)).map_err(Error::io(path))?;
        fs::rename(dir.path(), path).map_err(Error::io(path))?;
        // It has another name now: there is nothing left to remove.
        let _ = dir.keep();
        sync_dir(parent(path));
        Ok(())
    }
}

impl Drop for AtomicDir {
    fn drop(&mut self) {
        let mut paths = uncommitted();
        if let Some(dir) = self.dir.take() {
            paths.retain(|path| path != dir.path());
        }
    }
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// Moves the files of one folder into another, in folders of the same names.
fn move_into(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).map_err(Error::io(from))? {
        let source = entry.map_err(Error::io(from))?.path();
        let target = to.join(source.file_name().unwrap_or_default());
        if source.is_dir() && target.is_dir() {
            move_into(&source, &target)?;
        } else {
            fs::rename(&source, &target).map_err(Error::io(&target))?;
        }
    }
    Ok(())
}

/// Syncs a folder and all that is in it to disk.
fn sync_tree(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { sync_tree(&path)? } else { File::open(&path)?.sync_all()? }
    }
    sync_dir(dir);
    Ok(())
}

/// Syncs the names in a folder to disk, so that a rename survives a power cut. Some file systems can't, which
/// is no reason to give up the file.
fn sync_dir(dir: &Path) {
    #[cfg(unix)]
    let _ = File::open(dir).and_then(|dir| dir.sync_all());
    #[cfg(not(unix))]
    let _ = dir;
}

/// The folder that `path` is in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes from a folder what programs that were killed left there. `new` is the metadata of what has just been
/// created in it, which says the time.
fn remove_abandoned(place: &Path, new: std::io::Result<Metadata>) {
    let Ok(now) = new.and_then(|new| new.modified()) else { return };
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let ours = random.is_some_and(|r| r.len() == RANDOM && r.chars().all(|c| c.is_ascii_alphanumeric()));
        // The metadata of a link, not of what it leads to.
        let Some(meta) = ours.then(|| entry.metadata().ok()).flatten() else { continue };
        let is_old = meta.modified().is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > NEW));
        if !is_old || !(meta.is_dir() || meta.is_file()) {
            continue;
        }
        // Locked: its program runs.
        let Ok(file) = File::open(entry.path()) else { continue };
        if file.try_lock().is_ok() {
            // What can't be removed stays.
            let _ = if meta.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
        }
    }
}

/// A builder for what gets the name `path`.
fn named(path: &Path, mode: u32) -> Result<Builder<'static, 'static>> {
    match path.file_name() {
        Some(_) => Ok(builder(mode)),
        None => Err(Error::file(path, "not the name of a file or folder")),
    }
}

/// Makes what is created readable for others as the umask allows; the default is the owner alone.
fn builder(mode: u32) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).rand_bytes(RANDOM);
    #[cfg(unix)]
    builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode));
    builder
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
    fn a_folder_appears_when_it_is_committed_and_only_an_empty_one_may_be_there() {
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

    #[test]
    fn files_are_moved_into_a_folder_that_is_there_when_all_are_complete() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("songs");
        fs::create_dir_all(path.join("1")).unwrap();
        fs::write(path.join("1/bass.wav"), "old").unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        let dir = AtomicDir::create_or_merge(&path).unwrap();
        for folder in ["1", "2"] {
            fs::create_dir(dir.temporary().join(folder)).unwrap();
            fs::write(dir.temporary().join(folder).join("bass.wav"), "new").unwrap();
        }
        assert_eq!(fs::read(path.join("1/bass.wav")).unwrap(), b"old");
        dir.commit().unwrap();
        assert_eq!(names(&path), ["1", "2", "notes.txt"]);
        assert!(["1", "2"].iter().all(|n| fs::read(path.join(n).join("bass.wav")).unwrap() == b"new"));
        assert!(AtomicDir::create_or_merge(&path.join("notes.txt")).is_err());
    }

    /// As a mount point: nothing can replace it.
    #[cfg(unix)]
    #[test]
    fn an_empty_folder_behind_a_link_is_filled_and_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let (there, link) = (tmp.path().join("there"), tmp.path().join("link"));
        std::os::unix::fs::symlink(&there, &link).unwrap();
        assert!(AtomicDir::create_or_merge(&link).is_err(), "it leads nowhere");
        fs::create_dir(&there).unwrap();
        let dir = AtomicDir::create_or_merge(&link).unwrap();
        fs::write(dir.temporary().join("bass.wav"), "new").unwrap();
        dir.commit().unwrap();
        assert_eq!((names(&there), names(tmp.path())), (vec!["bass.wav".into()], vec!["link".into(), "there".into()]));
        assert!(link.is_symlink());
    }

    #[test]
    fn a_folder_that_is_not_committed_leaves_no_folder_above_it() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = AtomicDir::create_or_merge(&tmp.path().join("a/b/c")).unwrap();
        drop(dir);
        assert!(names(tmp.path()).is_empty());
        AtomicDir::create_or_merge(&tmp.path().join("a/b/c")).unwrap().commit().unwrap();
        assert!(tmp.path().join("a/b/c").is_dir());
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
    fn what_a_killed_program_left_is_removed_and_nothing_else() {
        let tmp = tempfile::tempdir().unwrap();
        let name = |rest: &str| tmp.path().join(format!("{PREFIX}{rest}"));
        let running = AtomicDir::create(&tmp.path().join("running")).unwrap();
        let mut file = AtomicFile::create(&tmp.path().join("file")).unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("mine"), "").unwrap();
        for killed in ["a1B2c3D4", "folder", "notnotours", "a1B2c3-4"] {
            fs::create_dir(name(killed)).unwrap();
            fs::write(name(killed).join("bass.wav"), "").unwrap();
        }
        fs::write(name("X1B2c3D4"), "").unwrap();
        fs::write(name("Y1B2c3D4"), "").unwrap();
        let old = fs::metadata(name("Y1B2c3D4")).unwrap().modified().unwrap() - 2 * NEW;
        let age = |path: &Path| File::open(path).unwrap().set_modified(old).unwrap();
        for path in [&name("a1B2c3D4"), &name("folder"), &name("a1B2c3-4"), &name("X1B2c3D4"), running.temporary()] {
            age(path);
        }
        file.file().set_modified(old).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(outside.path(), name("L1B2c3D4")).unwrap();
        let before = names(tmp.path()).len();
        write(&tmp.path().join("song.json"), b"{}").unwrap();
        // A folder and a file are gone, song.json is new. The file Y1B2c3D4 is too young.
        assert_eq!(names(tmp.path()).len(), before - 2 + 1, "{:?}", names(tmp.path()));
        assert!(!name("a1B2c3D4").exists() && !name("X1B2c3D4").exists());
        assert!(running.temporary().exists() && outside.path().join("mine").exists());
        file.commit().unwrap();
        running.commit().unwrap();
    }

    #[test]
    fn an_error_names_the_final_path() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("no/such/drums.wav");
        assert!(AtomicFile::create(&path).unwrap_err().to_string().contains("drums.wav"));
        assert!(AtomicFile::create(Path::new("/")).is_err());
    }
}
