//! The last ten minutes of a session, in temporary files of 20 s each. The oldest is deleted when a new one
//! begins.
//!
//! The files lie in a folder that only the user can open. A session that was killed leaves it behind; the next
//! one in the same place removes it: a folder belongs to a session that runs as long as its file `lock` is
//! locked.

use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sideman_engine::audio::RATE;
use sideman_engine::{Error, Result};
use tempfile::TempDir;

use crate::slot_layout::SlotLayout;
use crate::take::row_width;

/// Length of one file in samples.
const FILE_SAMPLES: usize = 20 * RATE as usize;
/// Files kept: ten minutes, and the one that is being written.
const FILES: usize = 31;
/// Beginning of the folder's name.
const PREFIX: &str = "sideman-last-minutes-";
/// The file that a session locks.
const LOCK: &str = "lock";

/// The rows of the last ten minutes, on disk. The files are deleted when this is dropped.
pub(super) struct RecentRows {
    dir: TempDir,
    /// Locked until the folder is removed.
    _lock: File,
    width: usize,
    segments: VecDeque<Segment>,
    /// The file of the last segment.
    file: Option<File>,
}

/// Rows of one file. All of them have the same input stem.
#[derive(Clone, Copy)]
struct Segment {
    number: u64,
    samples: usize,
    input_stem: Option<u8>,
}

impl RecentRows {
    /// Most samples kept.
    pub(super) const SAMPLES: usize = FILES * FILE_SAMPLES;

    /// None yet, in a new folder below `place`, which is created if it is missing.
    pub(super) fn new(layout: SlotLayout, place: &Path) -> std::io::Result<RecentRows> {
        std::fs::create_dir_all(place)?;
        remove_abandoned(place);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).rand_bytes(12);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let dir = builder.tempdir_in(place)?;
        let lock = File::create(dir.path().join(LOCK))?;
        // Where files can't be locked, no session removes the folder of another.
        let _ = lock.try_lock();
        Ok(RecentRows { dir, _lock: lock, width: row_width(layout), segments: VecDeque::new(), file: None })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.path().join(format!("{number:06}.f32"))
    }

    /// Samples kept.
    pub(super) fn samples(&self) -> usize {
        self.segments.iter().map(|s| s.samples).sum()
    }

    /// Adds rows, and deletes those that are too old.
    pub(super) fn add(&mut self, rows: &[f32], input_stem: Option<u8>) -> std::io::Result<()> {
        let last = self.segments.back().copied();
        if last.is_none_or(|s| s.samples >= FILE_SAMPLES || s.input_stem != input_stem) {
            let number = last.map_or(0, |s| s.number + 1);
            self.file = Some(File::create(self.path(number))?);
            self.segments.push_back(Segment { number, samples: 0, input_stem });
            while self.segments.len() > FILES {
                if let Some(oldest) = self.segments.pop_front() {
                    std::fs::remove_file(self.path(oldest.number))?;
                }
            }
        }
        let bytes: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
        if let (Some(file), Some(segment)) = (&mut self.file, self.segments.back_mut()) {
            file.write_all(&bytes)?;
            segment.samples += rows.len() / self.width;
        }
        Ok(())
    }

    /// Calls `each` with the rows of one file after another, and the input stem of their rows.
    pub(super) fn read(&self, mut each: impl FnMut(&[f32], Option<u8>) -> Result<()>) -> Result<()> {
        for segment in &self.segments {
            let path = self.path(segment.number);
            let mut bytes = Vec::new();
            File::open(&path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(Error::io(&path))?;
            let rows: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            each(&rows, segment.input_stem)?;
        }
        Ok(())
    }
}

/// Removes the folders of sessions that were killed.
fn remove_abandoned(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Not through a link.
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // Without the file the session has just begun, or the folder is another user's.
        let Ok(lock) = File::options().write(true).open(entry.path().join(LOCK)) else { continue };
        match lock.try_lock() {
            // What can't be removed now is left to the next session.
            Ok(()) => drop(std::fs::remove_dir_all(entry.path())),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(place: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn only_the_user_can_open_the_last_minutes() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let mut rows = RecentRows::new(SlotLayout::new(2), &place.path().join("cache")).unwrap();
        rows.add(&[0.0; 70], None).unwrap();
        let [folder] = &folders(&place.path().join("cache"))[..] else { panic!("one folder") };
        assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
        drop(rows);
        assert!(folders(&place.path().join("cache")).is_empty());
    }

    #[test]
    fn a_session_removes_what_a_killed_one_left_and_not_what_is_in_use() {
        let place = tempfile::tempdir().unwrap();
        let running = RecentRows::new(SlotLayout::new(2), place.path()).unwrap();
        let killed = place.path().join(format!("{PREFIX}killed"));
        let outside = place.path().join("mine");
        for dir in [&killed, &outside] {
            std::fs::create_dir(dir).unwrap();
            std::fs::write(dir.join(LOCK), "").unwrap();
            std::fs::write(dir.join("000000.f32"), "").unwrap();
        }
        std::os::unix::fs::symlink(&outside, place.path().join(format!("{PREFIX}link"))).unwrap();
        let next = RecentRows::new(SlotLayout::new(2), place.path()).unwrap();
        assert!(!killed.exists() && running.dir.path().exists() && next.dir.path().exists());
        assert!(outside.join("000000.f32").exists(), "a link leads to somebody else's files");
    }
}
