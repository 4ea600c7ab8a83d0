//! The handle for tests in Rust: loads the shared library before cudarc does, and reads what it found.

use std::ffi::{CString, c_char, c_void};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

/// The fake driver, loaded into this process. There is one driver a process, so one test has it at a time.
pub struct Fake {
    library: *mut c_void,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Fake {
    /// Loads the library, resets the driver and configures it with words such as `"sm=75 lazy order=random"`
    /// (see the README). From then on `dlopen("libcuda.so")` finds it, so cudarc does.
    ///
    /// # Errors
    /// The library is missing, or a word is unknown; the error names it.
    pub fn load(words: &str) -> Result<Fake, String> {
        let turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
        let path = library()?;
        let name = CString::new(path.to_string_lossy().as_bytes()).map_err(|e| e.to_string())?;
        // SAFETY: dlopen of this crate's library, whose constructors do nothing; it is never closed.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if library.is_null() {
            return Err(format!("{} can't be loaded", path.display()));
        }
        let fake = Fake { library, _turn: turn };
        let configure = fake.symbol(c"fakecuda_configure");
        let words_c = CString::new(words).map_err(|e| e.to_string())?;
        // SAFETY: the symbol has this signature (driver/api_test.rs).
        let configure: unsafe extern "C" fn(*const c_char) -> i32 = unsafe { std::mem::transmute(configure) };
        // SAFETY: the string ends in 0.
        if unsafe { configure(words_c.as_ptr()) } != 0 {
            return Err(format!("fakecuda: a word of `{words}` is not known"));
        }
        Ok(fake)
    }

    fn symbol(&self, name: &std::ffi::CStr) -> *mut c_void {
        // SAFETY: the library stays loaded.
        let found = unsafe { libc::dlsym(self.library, name.as_ptr()) };
        assert!(!found.is_null(), "the library lacks {name:?}");
        found
    }

    /// The faults found since the last call, one string each, in order.
    pub fn faults(&self) -> Vec<String> {
        // SAFETY: the symbol has this signature (driver/api_test.rs).
        let f: unsafe extern "C" fn(*mut u8, usize) -> usize = unsafe { std::mem::transmute(self.symbol(c"fakecuda_faults")) };
        self.text(|to, room| {
            // SAFETY: null, or a buffer of `room` bytes.
            unsafe { f(to, room) }
        })
        .lines()
        .map(String::from)
        .collect()
    }

    /// Simulates a lost device: every call that uses it fails from now on.
    pub fn lose(&self) {
        // SAFETY: the symbol has this signature (driver/api_test.rs).
        let f: unsafe extern "C" fn() = unsafe { std::mem::transmute(self.symbol(c"fakecuda_lose")) };
        // SAFETY: as above.
        unsafe { f() }
    }

    /// Counts of every kernel since `load`, as JSON.
    pub fn counts_json(&self) -> String {
        self.counts(0)
    }

    /// The same as a table.
    pub fn counts_table(&self) -> String {
        self.counts(1)
    }

    fn counts(&self, kind: i32) -> String {
        // SAFETY: the symbol has this signature (driver/api_test.rs).
        let f: unsafe extern "C" fn(i32, *mut u8, usize) -> usize =
            unsafe { std::mem::transmute(self.symbol(c"fakecuda_counts")) };
        self.text(|to, room| {
            // SAFETY: null, or a buffer of `room` bytes.
            unsafe { f(kind, to, room) }
        })
    }

    fn text(&self, f: impl Fn(*mut u8, usize) -> usize) -> String {
        let n = f(std::ptr::null_mut(), 0);
        let mut buffer = vec![0; n];
        f(buffer.as_mut_ptr(), n);
        String::from_utf8_lossy(&buffer).into_owned()
    }
}

/// Cargo puts the shared library of a (dev-)dependency into the test program's folder.
fn library() -> Result<PathBuf, String> {
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let name = "libsideman_fakecuda.so";
    let found = exe.ancestors().skip(1).take(2).map(|d| d.join(name)).find(|p| p.exists());
    found.ok_or_else(|| format!("{name} is not beside {}", exe.display()))
}
