//! Broken PTX: parser and decoder return an error or a program, and never panic or allocate without limit.
//! `FAKECUDA_FUZZ=1000000 cargo test -p sideman-fakecuda --test fuzz` runs a million mutations.

use proptest::prelude::*;
use sideman_fakecuda::program::decode::decode;
use sideman_fakecuda::ptx;
use std::collections::HashMap;

fn try_all(text: &str) -> bool {
    let Ok(module) = ptx::parse(text) else { return false };
    let addresses: HashMap<String, u64> = module.variables.iter().map(|v| (v.name.clone(), 0xB000_0000_0000)).collect();
    module.kernels.iter().filter(|k| decode(&module, k, &addresses).is_err()).count() == 0
}

fn corpus() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cu/ptx");
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    names.iter().map(|p| std::fs::read_to_string(p).unwrap()).collect()
}

/// One or two kernels' worth of text, so that a mutation is quick to try: the header and a window of lines.
fn piece(text: &str, at: usize, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let entry = (0..=at % all.len()).rev().find(|i| all[*i].contains(".entry")).unwrap_or(0);
    let end = (entry + lines).min(all.len());
    format!(".version 8.0\n.target sm_80\n.address_size 64\n{}\n}}\n", all[entry..end].join("\n"))
}

struct Seed(u64);
impl Seed {
    fn next(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n.max(1)
    }
}

const WORDS: [&str; 24] = [
    "18446744073709551615",
    "-1",
    "%p0",
    "%rd1",
    "%f1",
    "0f7FC00000",
    "0d7FF0000000000000",
    "{",
    "}",
    "[",
    "]",
    ";",
    ",",
    ".b64",
    ".pred",
    ".shared .align 4 .b8 x[999999999999];",
    ".reg .b32 %q<4000000000>;",
    "bra $L",
    "@!%p1",
    "%tid.x",
    "mma.sync",
    "|",
    "0x",
    "/*",
];

fn mutate(text: &str, s: &mut Seed) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..1 + s.next(4) {
        if bytes.is_empty() {
            break;
        }
        let at = s.next(bytes.len());
        match s.next(7) {
            0 => bytes[at] = s.next(256) as u8,
            1 => {
                bytes.remove(at);
            }
            2 => {
                let word = WORDS[s.next(WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
            3 => bytes.truncate(at),
            4 => {
                let end = (at + s.next(60)).min(bytes.len());
                let cut: Vec<u8> = bytes[at..end].to_vec();
                let to = s.next(bytes.len());
                bytes.splice(to..to, cut);
            }
            5 => {
                let end = (at + s.next(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => bytes[at] = b"0123456789.%{}[];,:@|!-_"[s.next(24)],
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn every_committed_ptx_decodes() {
    for text in corpus() {
        assert!(try_all(&text), "{}", text.lines().next().unwrap_or(""));
    }
}

#[test]
fn mutations_of_real_ptx_decode_or_are_refused() {
    let rounds = std::env::var("FAKECUDA_FUZZ").ok().and_then(|v| v.parse().ok()).unwrap_or(20_000);
    let corpus = corpus();
    let mut s = Seed(0x1234_5678_9abc_def1);
    let mut accepted = 0;
    for i in 0..rounds {
        let text = &corpus[s.next(corpus.len())];
        let short = piece(text, s.next(1 << 20), 10 + s.next(60));
        accepted += try_all(&mutate(&short, &mut s)) as usize;
        if i % 500 == 0 {
            accepted += try_all(&mutate(text, &mut s)) as usize;
        }
    }
    println!("{rounds} mutations, {accepted} still good programs");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC*") {
        try_all(&text);
    }

    #[test]
    fn statements_of_random_words(words in prop::collection::vec(prop::sample::select(vec![
        "add", ".s32", "ld.global", ".v4", ".f32", "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "setp.lt.s32", "%r0", "%p0", "%rd0",
        "{%r0, %r1}", "[%rd0+4]", "[x]", ",", ";", "@%p0", "1", "0f00000000", "bra", "L", "L:", "shfl.sync.up.b32", "bar.sync", "cvt.rn",
        "atom.global.add", "_", "|", "%tid.x", "{", "}", "mov.b64", "selp", "bfe.u32", "cp.async.ca.shared.global", "call", "prmt.b32",
    ]), 0..40)) {
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 x)\n{{\n.reg .b32 %r<2>;\n.reg .b64 %rd<2>;\n.reg .pred %p<2>;\n{}\n}}\n",
            words.join(" ")
        );
        try_all(&text);
    }
}
