//! Keeps the program's memory from being swapped out during a session: a page that has to be read from disk
//! would make a callback or a hop late.

/// Locks all memory of the program, now and from now on.
///
/// # Errors
/// The system doesn't allow it; what would.
#[cfg(target_os = "linux")]
pub fn lock() -> Result<(), String> {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{Resource, geteuid, getrlimit};
    // With a limit, memory that is requested later could fail, which ends the program.
    let unlimited = getrlimit(Resource::Memlock).current.is_none() || geteuid().is_root();
    let locked = unlimited.then(|| mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE));
    match locked {
        Some(Ok(())) => Ok(()),
        Some(Err(e)) => Err(format!("memory is not locked ({e}), so it can be swapped out while the band plays")),
        None => {
            Err("memory is not locked, so it can be swapped out while the band plays; an unlimited memlock limit locks it".into())
        }
    }
}

/// Other systems keep the memory of a program that plays.
#[cfg(not(target_os = "linux"))]
pub fn lock() -> Result<(), String> {
    Ok(())
}
