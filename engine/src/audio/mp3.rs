//! What the decoder does not see of an MP3 file. Damage in the middle: the decoder leaves out frames whose header it can't
//! find, and all that comes after them would be early. Here the damaged bytes become as many silent frames as fit into
//! them. And how many frames there are: the decoder plays as many as the header says, which is none in a recording that
//! was killed, and those of the first one in a file of several.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::media_file::Mended;

/// Bytes in which the first frame begins, after the tags.
const START: u64 = 1 << 14;
/// Frames in a row by which an MP3 file is known.
const ROW: usize = 3;
/// The most bytes that are mended in a file.
const MOST: u64 = 1 << 20;
/// What may lie between two frames and is no damage.
const TAGS: [&[u8]; 3] = [b"ID3", b"TAG", b"APE"];
/// Bit rates in kbit/s, from index 1: of MPEG-1, and of MPEG-2 and 2.5.
const RATES: [[u64; 14]; 2] = [
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// The header of a frame of layer III.
#[derive(Clone, Copy)]
struct Header([u8; 4]);

impl Header {
    fn read(bytes: [u8; 4]) -> Option<Header> {
        let [sync, kind, rates, _] = bytes;
        let known = sync == 0xff && kind & 0xe6 == 0xe2 && kind & 0x18 != 0x08;
        (known && (1..15).contains(&(rates >> 4)) && rates & 0x0c != 0x0c).then_some(Header(bytes))
    }

    fn is_mpeg_1(self) -> bool {
        self.0[1] & 0x18 == 0x18
    }

    /// Bytes of a frame with a bit rate, without padding.
    fn bytes_at(self, kbits: u64) -> u64 {
        let hertz = [44_100, 48_000, 32_000][usize::from(self.0[2] >> 2 & 3).min(2)];
        match self.0[1] >> 3 & 3 {
            3 => 144_000 * kbits / hertz,
            2 => 72_000 * kbits / (hertz / 2),
            _ => 72_000 * kbits / (hertz / 4),
        }
    }

    fn rates(self) -> [u64; 14] {
        RATES[usize::from(!self.is_mpeg_1())]
    }

    fn bytes(self) -> u64 {
        let padding = u64::from(self.0[2] >> 1 & 1);
        self.bytes_at(self.rates()[usize::from(self.0[2] >> 4) - 1]) + padding
    }

    /// Sample frames.
    fn samples(self) -> u64 {
        if self.is_mpeg_1() { 1152 } else { 576 }
    }

    /// Whether both can be frames of one file: version, sample rate, and mono or not are equal.
    fn fits(self, other: Header) -> bool {
        let [_, kind, rates, _] = self.0;
        kind & 0xfe == other.0[1] & 0xfe && rates & 0x0c == other.0[2] & 0x0c && self.is_mono() == other.is_mono()
    }

    fn is_mono(self) -> bool {
        self.0[3] >> 6 == 3
    }

    /// A silent frame of at most some bytes: no checksum, no side information, no data.
    fn silent(self, most: u64) -> Option<Vec<u8>> {
        let index = self.rates().iter().rposition(|kbits| self.bytes_at(*kbits) <= most)?;
        let mut frame = vec![0; self.bytes_at(self.rates()[index]) as usize];
        let header = [0xff, self.0[1] | 1, (index as u8 + 1) << 4 | self.0[2] & 0x0c, self.0[3]];
        frame.get_mut(..4)?.copy_from_slice(&header);
        Some(frame)
    }
}

/// What is found in a file.
#[derive(Default)]
pub(super) struct Scan {
    /// What replaces the damaged bytes.
    pub mended: Vec<Mended>,
    /// Sample frames of silence in it.
    pub silenced: u64,
    /// Sample frames of the whole file; 0 where it is no MP3 file.
    pub samples: u64,
}

/// The frames of a file.
struct Frames<R> {
    file: BufReader<R>,
    end: u64,
    at: u64,
}

impl<R: Read + Seek> Frames<R> {
    /// The header at a place; none if there is none.
    fn header(&mut self, at: u64) -> io::Result<Option<Header>> {
        let mut bytes = [0; 4];
        if at.checked_add(4).is_none_or(|to| to > self.end) {
            return Ok(None);
        }
        self.file.seek_relative(at.wrapping_sub(self.at).cast_signed())?;
        self.file.read_exact(&mut bytes)?;
        self.at = at + 4;
        Ok(Header::read(bytes))
    }

    /// Whether frames follow one another at a place, up to the end of the file.
    fn row(&mut self, mut at: u64, like: Option<Header>) -> io::Result<bool> {
        let mut like = like;
        for n in 0..ROW {
            match self.header(at)? {
                Some(header) if like.is_none_or(|like| like.fits(header)) => (at, like) = (at + header.bytes(), Some(header)),
                _ => return Ok(n > 0 && at + 4 > self.end),
            }
        }
        Ok(true)
    }

    /// The first place from `at` on, and before `to`, at which frames follow one another.
    fn find(&mut self, at: u64, to: u64, like: Option<Header>) -> io::Result<Option<u64>> {
        for at in at..to.min(self.end) {
            if self.header(at)?.is_some() && self.row(at, like)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

/// Reads the headers of all frames of a file that ends at `end`.
///
/// # Errors
/// Those of reading it.
pub(super) fn scan(file: &mut (impl Read + Seek), end: u64) -> io::Result<Scan> {
    file.seek(SeekFrom::Start(0))?;
    let mut frames = Frames { file: BufReader::with_capacity(1 << 16, file), end, at: 0 };
    let (mut scan, mut mended) = (Scan::default(), 0);
    let start = after_tags(&mut frames)?;
    let Some(mut at) = frames.find(start, start.saturating_add(START), None)? else { return Ok(scan) };
    let first = at;
    // Bytes and number of the frames so far.
    let (mut bytes, mut count, mut last) = (0, 0, None);
    loop {
        match frames.header(at)? {
            Some(header) if last.is_none_or(|last: Header| last.fits(header)) => {
                (at, bytes, count, last) = (at + header.bytes(), bytes + header.bytes(), count + 1, Some(header));
                continue;
            }
            _ => {}
        }
        let Some(header) = last else { break };
        let Some(next) = frames.find(at, at.saturating_add(MOST - mended), last)? else { break };
        let missing = ((next - at) * count + bytes / 2) / bytes;
        if missing > 0 && !frames.is_tag(at)? {
            let room = (next - at) / missing;
            if let Some(frame) = header.silent(room) {
                // Headers that lie in the damage by chance must not be found.
                let mut silence = vec![0; (next - at) as usize];
                (0..missing).for_each(|n| {
                    let from = (n * room) as usize;
                    silence[from..from + frame.len()].copy_from_slice(&frame);
                });
                scan.mended.push((at, silence));
                scan.silenced += missing * header.samples();
            }
        }
        mended += next - at;
        at = next;
    }
    if let Some(header) = last {
        let described = u64::from(frames.describes_file(first, header)?);
        scan.samples = (count - described) * header.samples() + scan.silenced;
    }
    Ok(scan)
}

impl<R: Read + Seek> Frames<R> {
    /// Whether the first frame has no music: it describes the file.
    fn describes_file(&mut self, at: u64, header: Header) -> io::Result<bool> {
        let side = match (header.is_mpeg_1(), header.is_mono()) {
            (true, false) => 32,
            (true, true) | (false, false) => 17,
            (false, true) => 9,
        };
        let mut is = |offset: u64, names: &[&[u8; 4]]| -> io::Result<bool> {
            let mut name = [0; 4];
            self.file.seek_relative((at + offset).wrapping_sub(self.at).cast_signed())?;
            self.at = at + offset;
            // A frame is longer than this; the last one may be cut off.
            if self.at + 4 > self.end {
                return Ok(false);
            }
            self.file.read_exact(&mut name)?;
            self.at += 4;
            Ok(names.contains(&&name))
        };
        Ok(is(4 + side, &[b"Xing", b"Info"])? || is(4 + 32, &[b"VBRI"])?)
    }

    /// Whether a tag begins at a place.
    fn is_tag(&mut self, at: u64) -> io::Result<bool> {
        let mut name = [0; 3];
        self.file.seek_relative(at.wrapping_sub(self.at).cast_signed())?;
        self.file.read_exact(&mut name)?;
        self.at = at + 3;
        Ok(TAGS.contains(&name.as_slice()))
    }
}

/// Where the ID3v2 tags at the beginning end.
fn after_tags<R: Read + Seek>(frames: &mut Frames<R>) -> io::Result<u64> {
    let mut at = 0;
    while at + 10 <= frames.end && frames.is_tag(at)? {
        let mut rest = [0; 7];
        frames.file.read_exact(&mut rest)?;
        frames.at += 7;
        let size = rest[3..].iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
        at += 10 + size;
    }
    Ok(at)
}
