//! What the process uses of the machine, read from `/proc/self` (see proc(5)).

use std::fs;

/// Clock ticks in a second as `/proc` shows them (`USER_HZ`), 100 on every Linux that Kubernetes supports.
const TICKS: f64 = 100.0;

/// Memory, time and files of this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub resident_bytes: i64,
    /// User and system time in seconds.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub open_files: i64,
}

/// Reads the usage of this process; `None` where there is no `/proc`.
pub fn usage() -> Option<Usage> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let open_files = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Usage {
        resident_bytes: resident_bytes(&status)?,
        cpu_seconds: cpu_seconds(&stat)?,
        open_files: i64::try_from(open_files).ok()?,
    })
}

fn resident_bytes(status: &str) -> Option<i64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Fields 14 and 15. The name of the program (field 2) may hold spaces and brackets: count from its last bracket.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_usage() {
        let usage = usage().unwrap();
        assert!(usage.resident_bytes > 1024 * 1024, "{usage:?}");
        assert!(
            usage.open_files > 0 && usage.cpu_seconds >= 0.0,
            "{usage:?}"
        );
    }

    #[test]
    fn names_with_brackets_do_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 500 0 0 0 250 50 0 0 20 0 3 0 100 0 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("garbage"), None);
        assert_eq!(
            resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    2 kB\n"),
            Some(2048)
        );
    }
}
