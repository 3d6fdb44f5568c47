//! What the figures were measured on.

use std::fs::read_to_string;

pub fn describe() -> String {
    let text = |path: &str| read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let cpu = after(&text("/proc/cpuinfo"), "model name");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory_kib: f64 =
        after(&text("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    let kernel = text("/proc/sys/kernel/osrelease");
    let system = text("/etc/os-release");
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    format!(
        "{cores} cores ({cpu}), {:.0} GiB, Linux {} ({}); every part runs on these cores: program, services, load.",
        memory_kib / 1_048_576.0,
        kernel.trim(),
        system.trim_matches('"')
    )
}
