//! The program with the PTX emulator as its GPU (tests/fakecuda), with a driver that finds no GPU, and with a
//! library that is no driver.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The emulator's library, which cargo builds into this test's folder.
fn emulator() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let found = exe.ancestors().skip(1).take(2).map(|d| d.join("libsideman_fakecuda.so")).find(|p| p.exists());
    found.expect("libsideman_fakecuda.so beside the test")
}

/// Runs the program with `library` as libcuda.so.
fn run_with(library: &Path, words: &str, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    for name in ["libcuda.so", "libcuda.so.1"] {
        std::os::unix::fs::symlink(library, dir.path().join(name)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
    command.args(args).env("LD_LIBRARY_PATH", dir.path()).env("FAKECUDA", words).env("NO_COLOR", "1");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn golden(name: &str) -> String {
    format!("{}/../tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_song_rendered_on_the_gpu_is_that_of_the_processor_up_to_rounding() {
    let (dir, model) = (tempfile::tempdir().unwrap(), golden("house"));
    let render = |backend: &str| -> Vec<f32> {
        let out = dir.path().join(backend).to_string_lossy().into_owned();
        let args = [
            "render",
            "--text",
            "funk",
            "--seconds",
            "0.3",
            "--seed",
            "5",
            "--model",
            &model,
            "--out",
            &out,
            "--backend",
            backend,
        ];
        let output = run_with(&emulator(), "races=0", &args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mut file = hound::WavReader::open(Path::new(&out).join("drums.wav")).unwrap();
        file.samples::<f32>().map(Result::unwrap).collect()
    };
    let (cpu, cuda) = (render("cpu"), render("cuda"));
    assert_eq!(cpu.len(), cuda.len());
    assert!(cpu.iter().any(|x| x.abs() > 1e-3), "the song is silent");
    for (i, (a, b)) in cpu.iter().zip(&cuda).enumerate() {
        assert!((a - b).abs() < 1e-4, "sample {i}: {b} on the GPU, {a} on the processor");
    }
}

#[test]
fn a_model_verifies_on_the_gpu() {
    let args = ["model", "verify", &golden("six"), "--golden", &golden("six.golden.safetensors"), "--backend", "cuda"];
    let output = run_with(&emulator(), "races=0", &args);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn without_a_usable_gpu_cuda_is_an_error_and_auto_uses_the_processor() {
    // A library that loads and has none of the driver's functions.
    let none = library_without_functions();
    for (library, words, why) in [(&emulator(), "devices=0", "no GPU"), (&none, "", "cuInit")] {
        let dir = tempfile::tempdir().unwrap();
        let (out, model) = (dir.path().to_string_lossy().into_owned(), golden("six"));
        let args = ["render", "--text", "rock", "--seconds", "0.1", "--model", &model, "--out", &out, "--backend"];
        let output = run_with(library, words, &[&args[..], &["cuda"]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        let said = text(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("sideman: --backend cuda: ") && last.contains(why) && !said.contains("panicked"), "{said}");
        let output = run_with(library, words, &[&args[..], &["auto", "-v"]].concat());
        assert!(output.status.success() && text(&output.stderr).contains(why), "{}", text(&output.stderr));
        let output = run_with(library, words, &["doctor", "--json", "--threads", "1", "--model", &model]);
        assert!(output.status.success() && text(&output.stdout).contains(why), "{}", text(&output.stdout));
    }
}

/// The C library: a shared library that is no driver.
fn library_without_functions() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let path = maps.lines().filter_map(|l| l.split_whitespace().nth(5)).find(|p| p.contains("libc.so") || p.contains("libc-"));
    PathBuf::from(path.expect("the C library's path"))
}
