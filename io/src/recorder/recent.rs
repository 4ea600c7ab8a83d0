//! The last ten minutes of a session, in temporary files of 20 s each. The oldest is deleted when a new one
//! begins.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use sideman_engine::audio::RATE;
use sideman_engine::{Error, Result};
use tempfile::TempDir;

use crate::slot_layout::SlotLayout;
use crate::take::row_width;

/// Length of one file in samples.
const FILE_SAMPLES: usize = 20 * RATE as usize;
/// Files kept: ten minutes, and the one that is being written.
const FILES: usize = 31;

/// The rows of the last ten minutes, on disk. The files are deleted when this is dropped.
pub(super) struct RecentRows {
    dir: TempDir,
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

    /// None yet.
    pub(super) fn new(layout: SlotLayout) -> std::io::Result<RecentRows> {
        let dir = tempfile::Builder::new().prefix("sideman-").tempdir()?;
        Ok(RecentRows { dir, width: row_width(layout), segments: VecDeque::new(), file: None })
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
