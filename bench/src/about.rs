//! What a result was measured on: processor, instructions, commit and date.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Instructions that matter to the speed of the engine, by their names in /proc/cpuinfo.
const FLAGS: [&str; 8] = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16"];

/// Processor, its instructions, the commit of the working tree (empty outside of one) and today's date (UTC).
pub fn document() -> Value {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|l| l.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|l| l.split_once(':')).map_or("", |(_, value)| value.trim())
    };
    let has: Vec<&str> = field("flags").split(' ').filter(|flag| FLAGS.contains(flag)).collect();
    json!({"cpu": field("model name"), "flags": has, "commit": commit(), "date": date(SystemTime::now())})
}

/// The commit that is checked out, marked with `+` where files differ from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let done = Command::new("git").args(args).output().ok().filter(|done| done.status.success());
        done.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return String::new() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    commit + if changed { "+" } else { "" }
}

/// A date in the Gregorian calendar, UTC, as YYYY-MM-DD.
fn date(time: SystemTime) -> String {
    let days = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    // Years that begin on 1 March, so that the leap day is the last one; day 0 is 1 March of year 0.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (month, day) = ((month + 2) % 12 + 1, day - (153 * month + 2) / 5 + 1);
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + u64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, want) in [(0, "1970-01-01"), (11_016, "2000-02-29"), (11_017, "2000-03-01"), (20_788, "2026-12-01")] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(days * 86_400 + 5)), want);
        }
    }
}
