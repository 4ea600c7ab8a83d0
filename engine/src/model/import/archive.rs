//! The zip that `torch.save` writes: records stored as they are, never deflated. The directory is `rawzip`'s to read; that every
//! record lies inside of the file is checked here.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use super::source::read_at;
use crate::error::{Error, Result};

/// The most records that are listed: the largest published checkpoint has 600.
const MAX_RECORDS: usize = 100_000;

/// Records of a zip by name: first byte and length.
pub struct Archive {
    records: BTreeMap<String, (u64, u64)>,
}

impl Archive {
    /// Lists the records of the file at `path`, open as `file`.
    ///
    /// # Errors
    /// No zip, a compressed or encrypted record, or one that is out of the file or there twice.
    pub fn open(path: &Path, file: &File) -> Result<Archive> {
        let wrong = |what: String| Error::file(path, what);
        let no_zip = |e: rawzip::Error| wrong(format!("not a checkpoint as torch.save writes it (a zip): {e}"));
        let len = file.metadata().map_err(Error::io(path))?.len();
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let zip = ZipArchive::from_file(file.try_clone().map_err(Error::io(path))?, &mut buffer).map_err(no_zip)?;
        let mut found = Vec::new();
        let mut entries = zip.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(no_zip)? {
            let Ok(name) = std::str::from_utf8(entry.file_path().as_bytes()).map(str::to_owned) else {
                return Err(wrong("a record's name is no text".into()));
            };
            let method = entry.compression_method();
            if method != CompressionMethod::STORE || entry.flags().is_encrypted() {
                return Err(wrong(format!(
                    "record `{name}` is compressed or encrypted ({method}); torch.save stores it as it is"
                )));
            }
            if found.len() == MAX_RECORDS {
                return Err(wrong(format!("more than {MAX_RECORDS} records")));
            }
            found.push((name, entry.wayfinder()));
        }
        let mut records = BTreeMap::new();
        for (name, way) in found {
            let (from, to) = zip.get_entry(way).map_err(no_zip)?.compressed_data_range();
            if from > to || to > len || to - from != way.uncompressed_size_hint() {
                return Err(wrong(format!("record `{name}` does not lie inside of the file: it is truncated or damaged")));
            }
            if records.insert(name.clone(), (from, to - from)).is_some() {
                return Err(wrong(format!("record `{name}` is there twice")));
            }
        }
        Ok(Archive { records })
    }

    /// Where a record's bytes lie: first byte and length.
    pub fn range(&self, name: &str) -> Option<(u64, u64)> {
        self.records.get(name).copied()
    }

    /// The folder of the one `data.pkl`, with its slash: every record of a checkpoint is in it.
    pub fn prefix(&self) -> Option<&str> {
        let mut found = self.records.keys().filter_map(|n| n.strip_suffix("data.pkl")).filter(|p| p.ends_with('/'));
        found.next().filter(|_| found.next().is_none())
    }

    /// A small record's bytes.
    ///
    /// # Errors
    /// No such record, or one of more than `most` bytes.
    pub fn read(&self, path: &Path, file: &mut File, name: &str, most: u64) -> Result<Vec<u8>> {
        match self.range(name) {
            Some((from, len)) if len <= most => read_at(path, file, from, len as usize),
            Some((_, len)) => Err(Error::file(path, format!("record `{name}` has {len} bytes; at most {most} are read"))),
            None => Err(Error::file(path, format!("no record `{name}`"))),
        }
    }
}
