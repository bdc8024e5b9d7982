//! The machine, as far as a report must name it. What cannot be read is empty or 0, never guessed.

use std::fs;

use lab_core::event::HostInfo;

/// This machine now. Cores are those that this process may use: affinity and the quota of its control group count.
pub fn host() -> HostInfo {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    HostInfo {
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
        cores: cores(),
        memory_bytes: kibibytes(&read("/proc/meminfo"), "MemTotal").unwrap_or(0),
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> u32 {
    std::thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok()).unwrap_or(1)
}

/// The first value of a `name: value` line.
fn field(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "MemTotalX: 1 kB\nMemTotal:       16384 kB\nmodel name\t: Fast (R) CPU: 3\nmodel name\t: other\n";
        assert_eq!(kibibytes(text, "MemTotal"), Some(16384 * 1024));
        assert_eq!(field(text, "model name").as_deref(), Some("Fast (R) CPU: 3"));
        assert_eq!(kibibytes(text, "SwapTotal"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_a_kernel_cores_and_memory() {
        let host = host();
        assert!(host.platform.starts_with("linux "), "{host:?}");
        assert!(!host.kernel.is_empty() && host.cores >= 1 && host.memory_bytes > 1 << 20, "{host:?}");
    }
}
