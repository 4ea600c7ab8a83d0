//! The header of a WAV file: RIFF, RF64 or BW64, also one that its writer could not finish.
//!
//! Sizes are checked against the file. A size that can't be true (a pipe's, a killed recorder's) means that the
//! samples go on to the end of the file.

use std::io::{self, Read, Seek, SeekFrom};

/// How a sample is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleFormat {
    /// Unsigned 8-bit integers.
    U8,
    /// Signed little-endian integers of this many bytes, 2 to 4.
    Int(usize),
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
}

impl SampleFormat {
    /// Bytes of a sample.
    pub fn bytes(self) -> usize {
        match self {
            SampleFormat::U8 => 1,
            SampleFormat::Int(bytes) => bytes,
            SampleFormat::F32 => 4,
            SampleFormat::F64 => 8,
        }
    }
}

/// What a WAV header says, corrected by what the file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WavHeader {
    /// Sample rate in Hz.
    pub rate: u32,
    /// Channels.
    pub channels: usize,
    /// How a sample is stored.
    pub format: SampleFormat,
    /// Offset of the first sample in the file.
    pub start: u64,
    /// Bytes of samples that the file has.
    pub bytes: u64,
    /// Bytes of samples that the header announces and the file does not have; 0 also where the header's size is
    /// a writer's that did not know it.
    pub missing: u64,
}

/// Why a header can't be used.
#[derive(Debug)]
pub enum Fault {
    /// The file does not begin as a WAV file.
    NotWav,
    /// The samples are coded in a way that is not read here: the format tag.
    Coded(u16),
    /// The header is damaged; how.
    Damaged(String),
    /// The file can't be read.
    Io(io::Error),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::NotWav => write!(f, "is not a WAV file"),
            Fault::Coded(tag) => write!(f, "its samples are coded (format tag {tag}); they should be plain integers or floats"),
            Fault::Damaged(what) => f.write_str(what),
            Fault::Io(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

/// Sizes that writers put where they don't know the size yet: ffmpeg and pipes (all ones), sox and arecord
/// (near 2 GiB), killed recorders (0).
fn is_unknown(size: u64) -> bool {
    size == 0 || size >= 0xffff_ff00 || (0x7fff_0000..=0x7fff_ffff).contains(&size)
}

/// Most chunks before the samples.
const MAX_CHUNKS: usize = 1000;

/// Reads the header. The reader is left at any position.
///
/// # Errors
/// The file is no WAV file, or has no samples in a form that is read here.
pub fn read(file: &mut (impl Read + Seek)) -> Result<WavHeader, Fault> {
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut head = [0; 12];
    file.read_exact(&mut head).map_err(|_| Fault::NotWav)?;
    let wide = match &head[..4] {
        b"RIFF" => false,
        b"RF64" | b"BW64" => true,
        _ => return Err(Fault::NotWav),
    };
    if &head[8..] != b"WAVE" {
        return Err(Fault::NotWav);
    }
    let (mut at, mut format, mut data_size) = (12u64, None, None);
    for _ in 0..MAX_CHUNKS {
        let mut chunk = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        if at + 8 > end || file.read_exact(&mut chunk).is_err() {
            break;
        }
        let size = u64::from(u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]));
        let start = at + 8;
        match &chunk[..4] {
            b"fmt " => format = Some(read_format(file, size.min(end - start))?),
            b"ds64" if wide && size >= 16 => {
                let mut sizes = [0; 16];
                file.read_exact(&mut sizes).map_err(|_| Fault::Damaged("its chunk `ds64` ends early".into()))?;
                data_size = Some(u64::from_le_bytes(sizes[8..].try_into().unwrap_or_default()));
            }
            b"data" => {
                let (rate, channels, format) =
                    format.ok_or_else(|| Fault::Damaged("its chunk `fmt ` should come before `data`".into()))?;
                let said = match (size, data_size) {
                    (0xffff_ffff, Some(size)) if wide => size,
                    (size, _) => size,
                };
                let there = end - start;
                let (bytes, missing) = match said {
                    // An empty `data` with nothing behind it is empty.
                    said if is_unknown(said) && !(said == 0 && only_chunks_follow(file, start, end)?) => (there, 0),
                    said => (said.min(there), said.saturating_sub(there)),
                };
                let frame = (format.bytes() * channels) as u64;
                return Ok(WavHeader { rate, channels, format, start, bytes: bytes / frame * frame, missing });
            }
            _ => {}
        }
        at = start + size;
        if at > end {
            let name = chunk[..4].escape_ascii();
            return Err(Fault::Damaged(format!("its chunk `{name}` should end within the file, and before `data`")));
        }
        if size % 2 == 1 && is_padded(file, at)? {
            at += 1;
        }
    }
    Err(Fault::Damaged(match format {
        Some(_) => "it has no chunk `data`, so no samples".into(),
        None => "it has no chunk `fmt `, which says how the samples are stored".into(),
    }))
}

/// Whether a chunk of odd length that ends at `at` is followed by a byte of padding. Some writers leave it out: then the
/// next name begins there.
fn is_padded(file: &mut (impl Read + Seek), at: u64) -> io::Result<bool> {
    if is_name(file, at)? {
        return Ok(false);
    }
    let mut name = [0; 4];
    file.seek(SeekFrom::Start(at))?;
    let is_text = file.read_exact(&mut name).is_ok() && name.iter().all(|byte| matches!(byte, b' '..=b'~'));
    Ok(!is_text || is_name(file, at + 1)?)
}

/// Whether what begins at `at` is a chunk's name that comes after a chunk.
fn is_name(file: &mut (impl Read + Seek), at: u64) -> io::Result<bool> {
    const NAMES: [&[u8; 4]; 12] =
        [b"fmt ", b"data", b"LIST", b"bext", b"iXML", b"JUNK", b"fact", b"ds64", b"cue ", b"smpl", b"axml", b"id3 "];
    let mut name = [0; 4];
    file.seek(SeekFrom::Start(at))?;
    Ok(file.read_exact(&mut name).is_ok() && NAMES.contains(&&name))
}

/// Whether chunks or nothing follow an empty `data` chunk.
fn only_chunks_follow(file: &mut (impl Read + Seek), start: u64, end: u64) -> io::Result<bool> {
    Ok(start == end || is_name(file, start)?)
}

/// Rate, channels and format of a `fmt ` chunk of `size` bytes.
fn read_format(file: &mut impl Read, size: u64) -> Result<(u32, usize, SampleFormat), Fault> {
    let damaged = |what: String| Err(Fault::Damaged(what));
    let mut bytes = [0; 40];
    let size = size.min(40) as usize;
    if size < 16 || file.read_exact(&mut bytes[..size]).is_err() {
        return damaged("its chunk `fmt ` should have at least 16 bytes".into());
    }
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let (mut tag, channels, align, bits) = (u16_at(0), usize::from(u16_at(2)), usize::from(u16_at(12)), u16_at(14));
    let rate = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    // Extensible: the tag is at the start of the sub-format.
    if tag == 0xfffe && size >= 26 {
        tag = u16_at(24);
    }
    if channels == 0 {
        return damaged("its header says 0 channels".into());
    }
    // The bytes of a sample, which can be more than its bits need: 24 bits in 4 bytes.
    let stored = if align > 0 && align.is_multiple_of(channels) { align / channels } else { usize::from(bits).div_ceil(8) };
    let format = match (tag, stored) {
        (1, 1) => SampleFormat::U8,
        (1, 2..=4) => SampleFormat::Int(stored),
        (3, 4) => SampleFormat::F32,
        (3, 8) => SampleFormat::F64,
        (1, _) => return damaged(format!("its header says {bits}-bit integers in {stored} bytes; it should be 8 to 32 bits")),
        (3, _) => return damaged(format!("its header says {bits}-bit floats in {stored} bytes; it should be 32 or 64 bits")),
        (tag, _) => return Err(Fault::Coded(tag)),
    };
    Ok((rate, channels, format))
}

/// Bytes of [`header`].
pub const HEADER: usize = 92;

/// The header of a file of 32-bit floats that has `frames` frames so far. It always has the same length, with
/// room for the sizes of a file beyond 4 GiB: such a file is RF64 (EBU Tech 3306).
pub fn header(channels: u16, rate: u32, frames: u64) -> [u8; HEADER] {
    let align = 4 * channels;
    let data = frames * u64::from(align);
    let riff = data + HEADER as u64 - 8;
    let wide = riff > u64::from(u32::MAX);
    let short = |size: u64| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::with_capacity(HEADER);
    let mut put = |part: &[u8]| bytes.extend_from_slice(part);
    put(if wide { b"RF64" } else { b"RIFF" });
    put(&if wide { u32::MAX.to_le_bytes() } else { short(riff) });
    put(b"WAVE");
    put(if wide { b"ds64" } else { b"JUNK" });
    put(&28u32.to_le_bytes());
    match wide {
        true => [riff, data, frames].iter().for_each(|size| put(&size.to_le_bytes())),
        false => put(&[0; 24]),
    }
    put(&[0; 4]);
    put(b"fmt ");
    put(&16u32.to_le_bytes());
    put(&3u16.to_le_bytes());
    put(&channels.to_le_bytes());
    put(&rate.to_le_bytes());
    put(&(rate * u32::from(align)).to_le_bytes());
    put(&align.to_le_bytes());
    put(&32u16.to_le_bytes());
    put(b"fact");
    put(&4u32.to_le_bytes());
    put(&short(frames));
    put(b"data");
    put(&if wide { u32::MAX.to_le_bytes() } else { short(data) });
    bytes.try_into().expect("the parts are HEADER bytes")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_header_that_is_written_is_read_back() {
        let frames = 1000;
        let mut file = header(2, 32_000, frames).to_vec();
        file.resize(HEADER + 8 * frames as usize, 0);
        let back = read(&mut Cursor::new(&file)).unwrap();
        let want =
            WavHeader { rate: 32_000, channels: 2, format: SampleFormat::F32, start: HEADER as u64, bytes: 8000, missing: 0 };
        assert_eq!(back, want);
        assert_eq!(hound::WavReader::new(Cursor::new(&file)).unwrap().duration(), 1000, "others read it too");
    }

    /// A file with a header and 5 GiB of nothing behind it.
    struct Sparse {
        head: Vec<u8>,
        length: u64,
        at: u64,
    }

    impl Read for Sparse {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = out.len().min((self.length.saturating_sub(self.at)) as usize);
            for (i, byte) in out[..n].iter_mut().enumerate() {
                *byte = self.head.get(self.at as usize + i).copied().unwrap_or(0);
            }
            self.at += n as u64;
            Ok(n)
        }
    }

    impl Seek for Sparse {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.at = match to {
                SeekFrom::Start(at) => at,
                SeekFrom::End(by) => self.length.wrapping_add_signed(by),
                SeekFrom::Current(by) => self.at.wrapping_add_signed(by),
            };
            Ok(self.at)
        }
    }

    #[test]
    fn a_file_beyond_4_gib_is_rf64_and_has_all_of_its_samples() {
        for frames in [1u64 << 29, (1 << 29) + 12_345, 1 << 31] {
            let head = header(2, 32_000, frames).to_vec();
            assert_eq!((&head[..4], head.len()), (&b"RF64"[..], HEADER));
            let mut file = Sparse { head, length: HEADER as u64 + frames * 8, at: 0 };
            let back = read(&mut file).unwrap();
            assert_eq!((back.bytes, back.missing), (frames * 8, 0));
        }
    }

    #[test]
    fn a_size_that_its_writer_did_not_know_means_up_to_the_end() {
        for size in [0u32, u32::MAX, 0x7fff_f000, 0xffff_ffd3] {
            let mut file = header(1, 48_000, 10).to_vec();
            file[HEADER - 4..].copy_from_slice(&size.to_le_bytes());
            file.resize(HEADER + 4 * 77 + 3, 1);
            assert_eq!(read(&mut Cursor::new(&file)).unwrap().bytes, 4 * 77, "{size:#x}");
        }
    }

    #[test]
    fn a_header_cut_at_any_byte_is_a_fault_and_no_panic() {
        let file = header(1, 48_000, 10);
        for n in 0..HEADER {
            assert!(read(&mut Cursor::new(&file[..n])).is_err(), "{n}");
        }
    }
}
