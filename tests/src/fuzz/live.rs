//! The fuzz targets of live play: charts, packets to the OSC server, bytes of a MIDI port, and takes.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use sideman_engine::live::{Clock, Command, Pending, Snapshot, StemState};
use sideman_engine::task::Chords;
use sideman_io::clock::ClockFollower;
use sideman_io::command_language::Namespace;
use sideman_io::midi::{Message, MidiMapper, Response, default_map};
use sideman_io::osc::{Addresses, OscState};
use sideman_io::take;
use sideman_kernels::{Activations, Format};

use super::targets::{message, temp_dir, tokens, write};
use super::{MemoryLimit, Target};
use crate::stage;

const STEMS: [&str; 3] = ["bass", "drums", "other"];

fn snapshot() -> Snapshot {
    let chords = "[A] Em7 C [B] G".into();
    Snapshot { tempo: 112.0, bar: 1, beat: 1, playing: true, chords, stems: vec![StemState::default(); 3], ..Snapshot::default() }
}

pub fn chart() -> Target {
    let seeds = [
        "[Verse 1] Em7 Am7 | D7,G7 % [Chorus] C△7 F#m7b5/A [Verse 1] NC",
        "|: Am / F / | Dm7-5 :| x3 C7(b9, #11),Asus2/4 || G x2",
        "Em C G D",
    ];
    Target {
        seeds: seeds.map(|s| s.as_bytes().to_vec()).to_vec(),
        tokens: tokens(&[
            b"|:",
            b":|",
            b"x64 ",
            b"% ",
            b"/ ",
            b"[A] ",
            b"C,D,E,F ",
            b"(",
            b")",
            "△".as_bytes(),
            "♭".as_bytes(),
            b"N C ",
        ]),
        // A symbol of two bytes takes 60, in arrays that double; 16384 bars share their chords.
        memory: MemoryLimit { per_byte: 256, constant: 1 << 20 },
        read: Box::new(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            let chords: Chords = text.parse().map_err(message)?;
            for bar in [-1, 0, 1, 7, 2047, 1 << 40] {
                for quarter in 0..4 {
                    chords.at(bar, quarter, 4);
                }
                chords.section(bar);
            }
            chords.find_section("B");
            Ok(())
        }),
    }
}

/// An OSC message as bytes: address, type tags, and the arguments' bytes.
fn osc(address: &str, tags: &str, arguments: &[u8]) -> Vec<u8> {
    let padded = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize((bytes.len() / 4 + 1) * 4, 0);
        bytes
    };
    [padded(address), padded(&format!(",{tags}")), arguments.to_vec()].concat()
}

/// Packets of one input: each has its length in two bytes before it.
fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
    packets.iter().flat_map(|p| (p.len() as u16).to_be_bytes().into_iter().chain(p.iter().copied())).collect()
}

/// One server, which is never started over: an input is a sequence of packets, a few ms apart.
pub fn osc_packets() -> Target {
    let bundle = |messages: &[Vec<u8>]| {
        let elements = messages.iter().flat_map(|m| (m.len() as u32).to_be_bytes().into_iter().chain(m.iter().copied()));
        b"#bundle\0\0\0\0\0\0\0\0\x01".iter().copied().chain(elements).collect::<Vec<u8>>()
    };
    let messages = [
        osc("/jam/stem/drums/gain", "fs", b"\xc0\xc0\0\0bar 17\0\0"),
        osc("/jam/{fill,tap}", "", b""),
        osc("/jam/stem/*/mute", "T", b""),
        osc("/jam/subscribe", "sii", b"127.0.0.1\0\0\0\0\0\x23\x28\0\0\0\x05"),
        osc("/jam/unsubscribe", "", b""),
        osc("/jam/sync", "", b""),
        osc("/jam/chords", "s", b"|: Am F :| x3\0\0\0"),
        osc("/jam/cancel", "s", b"drums\0\0\0"),
        b"/jam/ping\0\0\0".to_vec(),
    ];
    let seeds = vec![framed(&messages), framed(&[bundle(&messages[..4]), bundle(&[bundle(&messages)])]), framed(&messages[2..4])];
    let (start, clock) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let mut state = OscState::new(Addresses::new("house", &STEMS), 7, start);
    let mut now = start;
    Target {
        seeds,
        tokens: tokens(&[
            b"#bundle\0",
            b"{,,,}",
            b"/jam/*",
            b",fisTFNI[]",
            b"\0\0\0\x10",
            b"/jam/stem/all/freeze",
            b"\0\x20/jam/sync\0\0\0,\0\0\0",
        ]),
        // Answers and waiting messages are limited, whatever the packet's length.
        memory: MemoryLimit { per_byte: 512, constant: 1 << 23 },
        read: Box::new(move |bytes| {
            let mut rest = bytes;
            let mut peer = 0u8;
            while let Some((length, after)) = rest.split_at_checked(2) {
                let length = usize::from(u16::from_be_bytes([length[0], length[1]])).min(after.len());
                let (packet, next) = after.split_at(length);
                now += Duration::from_millis(3);
                peer = peer.wrapping_add(packet.first().copied().unwrap_or(0)) % 5;
                let from = SocketAddr::from(([127, 0, 0, 1 + peer % 2], 4000 + u16::from(peer)));
                state.packet(from, packet, now, clock);
                rest = next;
            }
            state.due(now);
            let requests = state.requests();
            requests.iter().for_each(|request| state.applied(request));
            let pending = requests.iter().map(|r| Pending { command: r.command.clone(), at: 32_000 }).collect();
            state.echo(&Snapshot { pending, ..snapshot() }, now);
            let out = state.out();
            match out.iter().all(|(to, packet)| to.ip().is_loopback() && packet.len() < 5000) && out.len() < 30_000 {
                true if out.is_empty() => Ok(()),
                true => Err(String::from_utf8_lossy(&out[0].1).into_owned()),
                false => panic!("{} packets are sent, or one to a third party", out.len()),
            }
        }),
    }
}

/// The bytes of a MIDI port, cut into messages of three bytes, to a mapper and a follower that are never started over.
pub fn midi_bytes() -> Target {
    let mut map = default_map(&STEMS);
    map.chord_channel = Some(4);
    let mut mapper = MidiMapper::new(Namespace::new(&STEMS), map, 5);
    let mut follower = ClockFollower::new(0.0, 5);
    let mut at = 0.0;
    Target {
        seeds: vec![
            b"\xb0\x07\x40\xb0\x27\x03\xe0\x00\x40\x90\x24\x7f\x80\x24\x00\xc0\x01\x00".to_vec(),
            [b"\xfa\x00\x00".as_slice(), &b"\xf8\x00\x00".repeat(60), b"\xfc\x00\x00\xf2\x10\x00\xfb\x00\x00"].concat(),
            b"\xb0\x63\x02\xb0\x62\x04\xb0\x06\x09\xb0\x26\x01\xb0\x7b\x00\x93\x3c\x7f\x93\x40\x7f\x93\x43\x7f".to_vec(),
        ],
        tokens: tokens(&[
            b"\xb0\x14\x01",
            b"\xb0\x14\x7f",
            b"\xf8\0\0",
            b"\xfa\0\0",
            b"\xfc\0\0",
            b"\xf2\0\0",
            b"\xfb\0\0",
            b"\xb0\x78\0",
        ]),
        memory: MemoryLimit { per_byte: 1024, constant: 1 << 18 },
        read: Box::new(move |bytes| {
            // What came of the input: commands and errors.
            let mut all = String::new();
            for chunk in bytes.chunks(3) {
                at += f64::from(chunk[chunk.len() - 1]) * 1e-3;
                // System messages have no data, except for the song position.
                let length = if chunk[0] >= 0xf8 {
                    1
                } else if chunk[0] & 0xf0 == 0xc0 {
                    2
                } else {
                    3
                };
                let mut response = Response::default();
                match Message::parse(&chunk[..length.min(chunk.len())]) {
                    Some(Message::Clock(clock)) => response.requests = follower.midi(clock, at),
                    Some(Message::Program { number: 99, .. }) => drop(mapper.learn("/jam/stem/all/gain")),
                    Some(message) => {
                        mapper.session(snapshot());
                        response = mapper.message(message, at);
                    }
                    None => {}
                }
                response.append(mapper.time(at));
                response.requests.extend(follower.follow(&Snapshot { clock: Clock::Midi, ..snapshot() }, at));
                for request in &response.requests {
                    if let Command::Tempo(tempo) = request.command {
                        assert!((20.0..=400.0).contains(&tempo), "{tempo} BPM");
                    }
                }
                if all.len() < 100 {
                    let commands = response.requests.iter().map(|r| format!("{:?}", r.command));
                    all.extend(commands.chain(response.errors).chain(response.learned.map(|l| l.control.to_string())));
                }
            }
            if all.is_empty() { Ok(()) } else { Err(all) }
        }),
    }
}

/// A take: an input is its take.json and its events, with a line `---` between them.
pub fn take() -> Target {
    let dir = temp_dir();
    let event = r#"{"at":640,"request":{"command":{"Tempo":97.0},"when":"Bar","from":1}}"#;
    let info = take::TakeInfo {
        version: "0.1.0".into(),
        model: "house".into(),
        model_sha256: "0".repeat(64),
        precision: Format::Q8,
        activations: Activations::F32,
        stems: STEMS.map(str::to_owned).to_vec(),
        lead: 10_240,
        devices: "none".into(),
        latency_in: 0.0,
        latency_out: 0.0,
        from: 0,
        samples: 0,
        ended: None,
        config: stage::config(8),
    };
    let info = serde_json::to_string(&info).expect("a take's info is JSON");
    let seed = format!("{info}\n---\n{event}\n{event}\n").into_bytes();
    // Two samples of mono at 32 kHz, as 32-bit floats.
    let wav = b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\x03\0\x01\0\0\x7d\0\0\0\xf4\x01\0\x04\0\x20\0data\x08\0\0\0\0\0\0\0\0\0\0\0";
    write(&dir.path().join("input.wav"), wav);
    Target {
        seeds: vec![seed],
        tokens: tokens(&[
            b"null",
            b"[]",
            b"{}",
            b",",
            b"\"..\"",
            b"\"/etc/passwd\"",
            b"1e999",
            b"-1",
            b"\n",
            b"\"Now\"",
            b"{\"AtBar\":3}",
        ]),
        memory: MemoryLimit { per_byte: 256, constant: 1 << 18 },
        read: Box::new(move |bytes| {
            let text =
                bytes.windows(5).position(|w| w == b"\n---\n").map_or((bytes, &b""[..]), |at| (&bytes[..at], &bytes[at + 5..]));
            write(&dir.path().join("take.json"), text.0);
            write(&dir.path().join("events.jsonl"), text.1);
            take::read(dir.path()).map(drop).map_err(message)
        }),
    }
}
