//! Facts about the published files: their hashes, and the codes of silence (docs/explanation/musicgen-stem.md
//! sections 2 and 3.10).

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::model::SeanetConfig;

/// Licence of all published weights of MusicGen, MusicGen-Stem and their codecs.
pub const LICENCE: &str = "CC-BY-NC-4.0";

/// Published files: size in bytes, SHA-256, description.
const FILES: [(u64, &str, &str); 4] = [
    (3_702_843_223, "83ccf0f993e231fa50fb121e39f99d0e0fc2dd0ab6da55c2c3b0037c1b7f6252", "language model of musicgen-stem-6cb"),
    (227_655_701, "a3fa3c90b0a4a15c54f524eb8379531e31f131be330a60dc863fd75980ae7c18", "bass codec of musicgen-stem-6cb"),
    (227_654_765, "15037fdc2e05f50f5ee851933e8161963b7d8b1fe11092f5497ea56032a83056", "drums codec of musicgen-stem-6cb"),
    (236_001_935, "37d256b525d4117f8bbf790ab448a8e9f4746cd401900fe1ae72e154b1513a30", "32 kHz EnCodec of all MusicGen"),
];

/// Codes of digital silence in the published codecs, by stem and number of books.
const SILENCE: [(&str, &[u32]); 5] = [
    ("bass", &[870]),
    ("bass", &[1035, 1823]),
    ("drums", &[530]),
    ("other", &[83, 2044, 2019, 1770]),
    ("mix", &[83, 2044, 2019, 1770]),
];

/// SHA-256 of a file in hex. `report` gets the number of bytes that were read since its last call.
///
/// # Errors
/// The file can't be read, or `report` returned `Break`.
pub fn sha256(path: &Path, report: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 4 << 20]);
    loop {
        let n = file.read(&mut piece).map_err(Error::io(path))?;
        if n == 0 {
            return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        hash.update(&piece[..n]);
        if report(n as u64).is_break() {
            return Err(Error::Cancelled);
        }
    }
}

/// A description of a file of `len` bytes with this hash, and whether there is reason to doubt the file.
pub fn known(len: u64, hash: &str) -> (String, bool) {
    if let Some((.., what)) = FILES.iter().find(|f| f.1 == hash) {
        return (format!("the published {what}"), false);
    }
    match FILES.iter().find(|f| f.0 == len) {
        Some((.., what)) => {
            (format!("as long as the published {what}, but with another SHA-256: it is damaged or was changed"), true)
        }
        None => (format!("SHA-256 {hash}, not a file that sideman knows"), false),
    }
}

/// Codes of silence in the published codec of a stem; none where the codec has other sizes.
pub fn silence(stem: &str, codec: &SeanetConfig) -> Option<&'static [u32]> {
    let full = codec.filters == 64 && codec.dim == 128 && codec.card == 2048;
    let row = SILENCE.iter().find(|(s, codes)| *s == stem && codes.len() == codec.books)?;
    full.then_some(row.1)
}
