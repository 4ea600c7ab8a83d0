//! The samples of an audio file, block by block. WAV files of integers and floats are read here, so that a
//! damaged header still gives its samples; everything else is decoded by symphonia. What is damaged in the middle
//! is silence of its length: what comes after it stays in time.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use symphonia::core::codecs::audio::well_known::{CODEC_ID_FLAC, CODEC_ID_MP3};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Decode;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::media_file::MediaFile;
use super::riff::{self, Fault, SampleFormat, WavHeader};
use crate::error::{Error, Result};
use crate::placeholder;

/// Sample frames of a block of a WAV file.
const BLOCK: usize = 4096;
/// Most channels of a WAV file.
const MAX_CHANNELS: usize = 1024;
/// Longest damage, in seconds, whose length is believed.
const MAX_DAMAGE: u64 = 60;

/// The samples of a file.
pub(super) enum Blocks {
    Wav(WavBlocks),
    Decoded(Box<DecodedBlocks>),
}

/// Rate and channels of a block.
pub(super) type Spec = (u32, usize);

impl Blocks {
    /// Opens a file.
    ///
    /// # Errors
    /// It is missing, empty, a folder, or not audio; or its header is damaged: the error says how.
    pub(super) fn open(path: &Path) -> Result<Blocks> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let meta = file.metadata().map_err(Error::io(path))?;
        if meta.is_dir() {
            return Err(Error::file(path, "is a folder; it should be an audio file"));
        }
        if meta.is_file() && meta.len() == 0 {
            return Err(Error::file(path, "the file is empty"));
        }
        placeholder::check(path)?;
        // A pipe can't go back: symphonia reads it from its start.
        if meta.is_file() {
            match riff::read(&mut file) {
                Ok(header) if header.channels > MAX_CHANNELS => {
                    let what = format!("its header says {} channels; at most {MAX_CHANNELS} are read", header.channels);
                    return Err(Error::file(path, what));
                }
                Ok(header) => return WavBlocks::new(file, header).map(Blocks::Wav).map_err(Error::io(path)),
                Err(Fault::Damaged(what)) => return Err(Error::file(path, format!("can't be read as a WAV file: {what}"))),
                Err(Fault::Io(source)) => return Err(Error::Io { path: path.to_owned(), source }),
                Err(Fault::NotWav | Fault::Coded(_)) => {}
            }
        }
        DecodedBlocks::new(path, file).map(|decoded| Blocks::Decoded(Box::new(decoded)))
    }

    /// Puts the next block into `interleaved`. None at the end, also where the file ends early.
    pub(super) fn next(&mut self, interleaved: &mut Vec<f32>) -> Option<Spec> {
        match self {
            Blocks::Wav(wav) => wav.next(interleaved),
            Blocks::Decoded(decoded) => decoded.next(interleaved),
        }
    }

    /// Sample frames that the header announces.
    pub(super) fn promised(&self) -> Option<u64> {
        match self {
            Blocks::Wav(wav) => Some((wav.header.bytes + wav.header.missing) / wav.frame_bytes() as u64),
            Blocks::Decoded(decoded) => decoded.promised,
        }
    }

    /// Damaged packets so far.
    pub(super) fn skipped(&self) -> u64 {
        match self {
            Blocks::Wav(_) => 0,
            Blocks::Decoded(decoded) => decoded.skipped,
        }
    }

    /// Sample frames so far that are silence because the file is damaged there.
    pub(super) fn silenced(&self) -> u64 {
        match self {
            Blocks::Wav(_) => 0,
            Blocks::Decoded(decoded) => decoded.silenced,
        }
    }
}

/// The samples of a WAV file.
pub(super) struct WavBlocks {
    file: io::Take<BufReader<File>>,
    header: WavHeader,
    bytes: Vec<u8>,
}

impl WavBlocks {
    fn new(mut file: File, header: WavHeader) -> io::Result<WavBlocks> {
        file.seek(SeekFrom::Start(header.start))?;
        Ok(WavBlocks { file: BufReader::new(file).take(header.bytes), header, bytes: Vec::new() })
    }

    fn frame_bytes(&self) -> usize {
        self.header.format.bytes() * self.header.channels
    }

    fn next(&mut self, interleaved: &mut Vec<f32>) -> Option<Spec> {
        self.bytes.clear();
        let most = (BLOCK * self.frame_bytes()) as u64;
        // What can't be read is missing at the end.
        let _ = (&mut self.file).take(most).read_to_end(&mut self.bytes);
        let whole = self.bytes.len() / self.frame_bytes() * self.frame_bytes();
        let bytes = &self.bytes[..whole];
        interleaved.clear();
        match self.header.format {
            SampleFormat::U8 => interleaved.extend(bytes.iter().map(|b| (f32::from(*b) - 128.0) / 128.0)),
            SampleFormat::Int(n) => interleaved.extend(bytes.chunks_exact(n).map(integer)),
            SampleFormat::F32 => interleaved.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            SampleFormat::F64 => interleaved.extend(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
        }
        (whole > 0).then_some((self.header.rate, self.header.channels))
    }
}

/// A little-endian integer of 2 to 4 bytes as a share of its full scale.
fn integer(bytes: &[u8]) -> f32 {
    let mut all = [0; 4];
    all[4 - bytes.len()..].copy_from_slice(bytes);
    (f64::from(i32::from_le_bytes(all)) / 2_147_483_648.0) as f32
}

/// The samples of a file that symphonia decodes.
pub(super) struct DecodedBlocks {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    promised: Option<u64>,
    /// The file has more sample frames than its header says, which the decoder would leave out.
    has_more: bool,
    skipped: u64,
    silenced: u64,
    /// The time, in sample frames, at which the next packet should begin.
    due: Option<i64>,
    /// Times of packets count sample frames, and the demuxer leaves out what is damaged without a word.
    leaves_out: bool,
    /// A packet before the next one was damaged.
    damaged: bool,
}

impl DecodedBlocks {
    fn new(path: &Path, file: File) -> Result<DecodedBlocks> {
        let not_audio =
            |what: &str| Error::file(path, format!("can't be read as audio ({what}); it should be WAV, FLAC, MP3 or OGG Vorbis"));
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(|e| e.to_str()) {
            hint.with_extension(extension);
        }
        let source = MediaFile::new(file).map_err(Error::io(path))?;
        let (silenced, mp3_samples) = (source.silenced, source.mp3_samples);
        let stream = MediaSourceStream::new(Box::new(source), Default::default());
        let format = symphonia::default::get_probe()
            .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|e| not_audio(&sentence(&e)))?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| not_audio("it has no audio track"))?;
        let (id, promised) = (track.id, track.num_frames);
        let parameters =
            track.codec_params.as_ref().and_then(|c| c.audio()).ok_or_else(|| not_audio("its codec is not supported"))?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|e| not_audio(&sentence(&e)))?;
        let leaves_out = parameters.codec == CODEC_ID_FLAC;
        let around = u64::from(track.delay.unwrap_or(0)) + u64::from(track.padding.unwrap_or(0));
        let has_more = promised.is_some_and(|promised| {
            parameters.codec == CODEC_ID_MP3 && (promised == 0 || promised.saturating_add(around) < mp3_samples)
        });
        let promised = promised.filter(|_| !has_more);
        let (skipped, due, damaged) = (0, None, false);
        Ok(DecodedBlocks { format, decoder, track: id, promised, has_more, skipped, silenced, due, leaves_out, damaged })
    }

    fn next(&mut self, interleaved: &mut Vec<f32>) -> Option<Spec> {
        // Ok(None) is the end. An error here means that the file ends early; what came before it is good.
        while let Ok(Some(mut packet)) = self.format.next_packet() {
            if packet.track_id != self.track {
                continue;
            }
            if self.has_more {
                packet.dur = packet.dur.saturating_add(std::mem::take(&mut packet.trim_end));
            }
            match self.decoder.decode(&packet) {
                Ok(decoded) => {
                    let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
                    let at = packet.pts.get();
                    let gap = self.due.map_or(0, |due| at.saturating_sub(due)).max(0) as u64;
                    let is_damage = (self.leaves_out || self.damaged) && gap <= MAX_DAMAGE * u64::from(rate);
                    let silence = if is_damage { gap as usize } else { 0 };
                    self.silenced += silence as u64;
                    (self.due, self.damaged) = (at.checked_add_unsigned(packet.dur.get()), false);
                    interleaved.clear();
                    interleaved.resize(silence * channels + decoded.samples_interleaved(), 0.0);
                    decoded.copy_to_slice_interleaved(&mut interleaved[silence * channels..]);
                    return Some((rate, channels));
                }
                Err(Decode::DecodeError(_) | Decode::IoError(_)) => {
                    self.skipped += 1;
                    self.damaged = true;
                }
                Err(_) => return None,
            }
        }
        None
    }
}

/// A decoder's error as text.
fn sentence(error: &Decode) -> String {
    match error {
        Decode::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => "it ends inside its header".to_owned(),
        Decode::Unsupported(what) => (*what).to_owned(),
        other => other.to_string(),
    }
}
