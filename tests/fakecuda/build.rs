//! Names the shared library "libcuda.so" in its SONAME, so that once a test has loaded it by path,
//! a later `dlopen("libcuda.so")` by cudarc finds it already loaded and needs no environment variable.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    }
}
