//! A disk that can be filled: a small file system in memory where one can be mounted, else a limit on the size of the program's files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The disk.
pub enum Disk {
    /// A file system at this folder. It is unmounted when this is dropped.
    Mounted(PathBuf),
    /// A folder of the machine's disk. The program's files can't grow while it is full.
    Folder(PathBuf),
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Disk {
    /// A disk at a folder, of so many MiB: a session's take and its last ten minutes.
    pub fn new(dir: &Path, size: usize) -> Disk {
        let (path, size) = (dir.to_string_lossy(), format!("size={size}m"));
        match succeeds("mount", &["-t", "tmpfs", "-o", &size, "sideman-soak", &path]) {
            true => Disk::Mounted(dir.to_owned()),
            false => Disk::Folder(dir.to_owned()),
        }
    }

    pub fn path(&self) -> &Path {
        let (Disk::Mounted(path) | Disk::Folder(path)) = self;
        path
    }

    /// Fills it; `program` is the process whose files can't grow.
    pub fn fill(&self, program: u32) {
        match self {
            Disk::Mounted(path) => {
                let mut file = std::fs::File::create(path.join("ballast")).expect("a file");
                // Until there is no room.
                while file.write_all(&[1; 1 << 16]).is_ok() {}
                while file.write_all(&[1]).is_ok() {}
            }
            Disk::Folder(_) => limit(program, "1024:"),
        }
    }

    /// Makes room again.
    pub fn clear(&self, program: u32) {
        match self {
            Disk::Mounted(path) => std::fs::remove_file(path.join("ballast")).expect("the ballast"),
            Disk::Folder(_) => limit(program, "unlimited:"),
        }
    }
}

/// Limits the size of the files of a process that runs.
fn limit(program: u32, size: &str) {
    assert!(succeeds("prlimit", &["--pid", &program.to_string(), &format!("--fsize={size}")]), "prlimit (util-linux)");
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Disk::Mounted(path) = self {
            succeeds("umount", &["-l", &path.to_string_lossy()]);
        }
    }
}
