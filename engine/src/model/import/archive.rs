//! The zip file that `torch.save` writes. Its records are stored uncompressed. The crate `rawzip` reads the
//! directory; that every record is inside the file is checked here.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use super::source::read_at;
use crate::error::{Error, Result};

/// Most records of a file: the largest published checkpoint has 600.
const MAX_RECORDS: usize = 100_000;

/// The records of a zip file by name: position and length.
pub struct Archive {
    records: BTreeMap<String, (u64, u64)>,
}

impl Archive {
    /// Lists the records of the file at `path`, open as `file`.
    ///
    /// # Errors
    /// Not a zip file; or a record is compressed, encrypted, outside the file, or occurs twice.
    pub fn open(path: &Path, file: &File) -> Result<Archive> {
        let wrong = |what: String| Error::file(path, what);
        let no_zip = |e: rawzip::Error| wrong(format!("not a checkpoint of torch.save, which is a zip file: {e}"));
        let len = file.metadata().map_err(Error::io(path))?.len();
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let zip = ZipArchive::from_file(file.try_clone().map_err(Error::io(path))?, &mut buffer).map_err(no_zip)?;
        let mut found = Vec::new();
        let mut entries = zip.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(no_zip)? {
            let Ok(name) = std::str::from_utf8(entry.file_path().as_bytes()).map(str::to_owned) else {
                return Err(wrong("the name of a record is not UTF-8".into()));
            };
            let method = entry.compression_method();
            if method != CompressionMethod::STORE || entry.flags().is_encrypted() {
                return Err(wrong(format!(
                    "record `{name}` is compressed or encrypted ({method}); it should be stored uncompressed, as by torch.save"
                )));
            }
            if found.len() == MAX_RECORDS {
                return Err(wrong(format!("it has more than {MAX_RECORDS} records")));
            }
            found.push((name, entry.wayfinder()));
        }
        let mut records = BTreeMap::new();
        for (name, way) in found {
            let (from, to) = zip.get_entry(way).map_err(no_zip)?.compressed_data_range();
            if from > to || to > len || to - from != way.uncompressed_size_hint() {
                return Err(wrong(format!("record `{name}` is not inside the file: the file is truncated or damaged")));
            }
            if records.insert(name.clone(), (from, to - from)).is_some() {
                return Err(wrong(format!("record `{name}` occurs twice")));
            }
        }
        Ok(Archive { records })
    }

    /// Position and length of a record's bytes.
    pub fn range(&self, name: &str) -> Option<(u64, u64)> {
        self.records.get(name).copied()
    }

    /// The folder of the only `data.pkl`, with a slash at the end: all records of a checkpoint are in it.
    /// None where there is no `data.pkl`, or more than one.
    pub fn prefix(&self) -> Option<&str> {
        let mut found = self.records.keys().filter_map(|n| n.strip_suffix("data.pkl")).filter(|p| p.ends_with('/'));
        found.next().filter(|_| found.next().is_none())
    }

    /// Reads a record of at most `most` bytes.
    ///
    /// # Errors
    /// The record is missing, or longer.
    pub fn read(&self, path: &Path, file: &mut File, name: &str, most: u64) -> Result<Vec<u8>> {
        match self.range(name) {
            Some((from, len)) if len <= most => read_at(path, file, from, len as usize),
            Some((_, len)) => Err(Error::file(path, format!("record `{name}` has {len} bytes; it should have at most {most}"))),
            None => Err(Error::file(path, format!("the record `{name}` is missing"))),
        }
    }
}
