//! Tests of the OSC server without a network, but for two.

mod hostile;
mod reading;
mod subscribers;
mod waiting;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use rosc::{OscBundle, OscMessage, OscPacket, OscTime, OscType};
use sideman_engine::live::{Action, Command, Pending, Request, Snapshot, StemState, Which};

use super::*;
use crate::command_language::Value;
use crate::control::Control;
use crate::event::Event;

fn addresses() -> Addresses {
    Addresses::new("house", &["bass", "drums", "other"])
}

fn snapshot() -> Snapshot {
    Snapshot { tempo: 112.0, bar: 1, beat: 1, stems: vec![StemState::default(); 3], ..Snapshot::default() }
}

fn osc(addr: &str, args: &[OscType]) -> OscMessage {
    OscMessage { addr: addr.into(), args: args.to_vec() }
}

fn said(addr: &str, args: &[OscType]) -> Vec<Result<Ask, String>> {
    parse(&osc(addr, args), &addresses())
}

fn command(addr: &str, args: &[OscType]) -> Command {
    match said(addr, args).remove(0) {
        Ok(Ask::Command { command, .. }) => command,
        other => panic!("{addr}: {other:?}"),
    }
}

fn s(text: &str) -> OscType {
    text.into()
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn bytes(packet: &OscPacket) -> Vec<u8> {
    rosc::encoder::encode(packet).unwrap()
}

fn packet(addr: &str, args: &[OscType]) -> Vec<u8> {
    bytes(&OscPacket::Message(osc(addr, args)))
}

/// The messages that are sent to a port.
fn sent_to(state: &mut OscState, port: u16) -> Vec<OscMessage> {
    let to = state.out().into_iter().filter(|(to, _)| to.port() == port);
    to.map(|(_, b)| match rosc::decoder::decode_udp(&b).unwrap().1 {
        OscPacket::Message(m) => m,
        other => panic!("{other:?}"),
    })
    .collect()
}

/// The messages in some bytes of a state's answers, by address.
fn answers(state: &mut OscState) -> Vec<(SocketAddr, OscMessage)> {
    let decode = |b: &[u8]| match rosc::decoder::decode_udp(b).unwrap().1 {
        OscPacket::Message(m) => m,
        other => panic!("{other:?}"),
    };
    state.out().into_iter().map(|(to, b)| (to, decode(&b))).collect()
}

fn is_error(message: &OscMessage) -> bool {
    message.addr == "/jam/error"
}

/// Commands of the queued requests.
fn queued(state: &mut OscState) -> Vec<Command> {
    state.requests().into_iter().map(|r| r.command).collect()
}

/// A bundle of elements, as bytes: some may not be valid.
fn raw_bundle(seconds: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    let mut all = b"#bundle\0".to_vec();
    all.extend(seconds.to_be_bytes());
    all.extend(1u32.to_be_bytes());
    for element in elements {
        all.extend((element.len() as u32).to_be_bytes());
        all.extend(element);
    }
    all
}

/// 128 bytes that stopped the server for ever.
fn empty_alternatives() -> Vec<u8> {
    packet(&format!("/jam/{}!", "{,,,}".repeat(24)), &[])
}
