//! The block sizes in the header of a FLAC file. Some encoders leave the smallest one at 0 or write another one than
//! the frames have; the decoder then finds no frame. The first frame says what is right.

use std::io::{self, Read, Seek, SeekFrom};

/// Most blocks of metadata before the first frame.
const MAX_BLOCKS: usize = 200;
/// Smallest block size that a header may have.
const SMALLEST: u16 = 16;

/// Block sizes for the header, where the file's own can't be right: the offset of the smallest and the largest one,
/// and both in two bytes each. The reader is left at any position.
///
/// # Errors
/// Those of seeking.
pub(super) fn mended_block_sizes(file: &mut (impl Read + Seek)) -> io::Result<Option<(u64, [u8; 4])>> {
    let Some((at, smallest, largest)) = header(file)? else { return Ok(None) };
    let Some(first) = first_frame(file, at)? else { return Ok(None) };
    let right = match first {
        // All frames but the last have one size.
        Frame { size, varies: false } if (smallest, largest) != (size, size) => (size, size),
        Frame { varies: true, .. } if smallest < SMALLEST => (SMALLEST, if largest < SMALLEST { u16::MAX } else { largest }),
        _ => return Ok(None),
    };
    let [a, b] = right.0.to_be_bytes();
    let [c, d] = right.1.to_be_bytes();
    Ok(Some((at, [a, b, c, d])))
}

/// Offset of the block sizes, and both.
fn header(file: &mut (impl Read + Seek)) -> io::Result<Option<(u64, u16, u16)>> {
    file.seek(SeekFrom::Start(0))?;
    let mut start = 0;
    let mut head = [0; 10];
    // An ID3v2 tag may come first; its size has 7 bits in each byte.
    if file.read_exact(&mut head).is_ok() && head.starts_with(b"ID3") {
        start = 10 + head[6..].iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
    }
    file.seek(SeekFrom::Start(start))?;
    let mut head = [0; 12];
    if file.read_exact(&mut head).is_err() || &head[..4] != b"fLaC" || head[4] & 0x7f != 0 {
        return Ok(None);
    }
    let size = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    Ok(Some((start + 8, size(8), size(10))))
}

/// What a frame's header says.
struct Frame {
    /// Samples of the frame.
    size: u16,
    /// Frames have different sizes.
    varies: bool,
}

/// The first frame; `sizes` is the offset of the block sizes, which are the first block of metadata's first bytes.
fn first_frame(file: &mut (impl Read + Seek), sizes: u64) -> io::Result<Option<Frame>> {
    let mut at = sizes - 4;
    for _ in 0..MAX_BLOCKS {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; 4];
        if file.read_exact(&mut head).is_err() {
            return Ok(None);
        }
        at += 4 + u64::from(u32::from_be_bytes([0, head[1], head[2], head[3]]));
        if head[0] & 0x80 == 0 {
            continue;
        }
        file.seek(SeekFrom::Start(at))?;
        let mut frame = [0; 16];
        if file.read_exact(&mut frame).is_err() || frame[0] != 0xff || frame[1] & 0xfe != 0xf8 {
            return Ok(None);
        }
        // The first frame's number is 0, in one byte; a size that has no code follows it.
        let size = match frame[2] >> 4 {
            1 => 192,
            n @ 2..=5 => 576 << (n - 2),
            6 => u16::from(frame[5]) + 1,
            7 => u16::from_be_bytes([frame[5], frame[6]]).saturating_add(1),
            n @ 8..=15 => 256 << (n - 8),
            _ => return Ok(None),
        };
        return Ok((size >= SMALLEST).then_some(Frame { size, varies: frame[1] & 1 == 1 }));
    }
    Ok(None)
}
