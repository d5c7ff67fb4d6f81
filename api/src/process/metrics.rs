//! The process's own metrics: its resource usage, its build, and the page that Prometheus scrapes. Exists so that the
//! `/metrics` pages of all binaries use the names that dashboards already query.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Gauge, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

/// The content type of the metrics page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Creates a registry with the process's resource usage and `istio_build`.
pub fn registry(component: &str, version: &str) -> Registry {
    let registry = Registry::new();
    let build =
        IntGaugeVec::new(Opts::new("istio_build", "Istio component build info"), &["component", "tag"])
            .expect("the name and labels are valid");
    build.with_label_values(&[component, version]).set(1);
    registry.register(Box::new(build)).expect("the registry is empty");
    registry.register(Box::new(ProcessCost::new())).expect("no other metric has these names");
    registry
}

/// Renders the registry in Prometheus's text format.
pub fn render(registry: &Registry) -> String {
    let mut page = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut page) {
        Ok(()) => String::from_utf8_lossy(&page).into_owned(),
        // A family that cannot be rendered is a programming error, but the scrape must still get a response.
        Err(error) => {
            tracing::error!(%error, "cannot render the metrics");
            String::new()
        }
    }
}

/// Resource usage of the process, read from `/proc` for each scrape.
struct ProcessCost {
    memory: IntGauge,
    virtual_memory: IntGauge,
    cpu: Gauge,
    files: IntGauge,
    threads: IntGauge,
    start: Gauge,
}

impl ProcessCost {
    fn new() -> Self {
        let integer = |name: &str, help: &str| IntGauge::new(name, help).expect("the name is valid");
        let number = |name: &str, help: &str| Gauge::new(name, help).expect("the name is valid");
        Self {
            memory: integer("process_resident_memory_bytes", "Resident memory size in bytes."),
            virtual_memory: integer("process_virtual_memory_bytes", "Virtual memory size in bytes."),
            cpu: number("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
            files: integer("process_open_fds", "Number of open file descriptors."),
            threads: integer("process_threads", "Number of OS threads in the process."),
            start: number(
                "process_start_time_seconds",
                "Start time of the process since the Unix epoch in seconds.",
            ),
        }
    }

    fn parts(&self) -> [&dyn Collector; 6] {
        [&self.memory, &self.virtual_memory, &self.cpu, &self.files, &self.threads, &self.start]
    }

    fn read(&self) {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let status = file("/proc/self/status");
        self.memory.set(status_kilobytes(&status, "VmRSS:") * 1024);
        self.virtual_memory.set(status_kilobytes(&status, "VmSize:") * 1024);
        if let Some(stat) = Stat::parse(&file("/proc/self/stat")) {
            self.cpu.set(stat.cpu_ticks as f64 / TICKS_PER_SECOND);
            self.threads.set(stat.threads);
            self.start.set(boot_time(&file("/proc/stat")) + stat.start_ticks as f64 / TICKS_PER_SECOND);
        }
        // One of the entries is the descriptor of the listing itself.
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1));
        self.files.set(files.try_into().unwrap_or(i64::MAX));
    }
}

impl Collector for ProcessCost {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        let mut families: Vec<MetricFamily> = self.parts().into_iter().flat_map(Collector::collect).collect();
        for family in families.iter_mut().filter(|family| family.name().ends_with("_total")) {
            as_counter(family);
        }
        families
    }
}

/// Converts a gauge to a counter: the CPU time is set, not incremented, but must be exposed as a counter.
fn as_counter(family: &mut MetricFamily) {
    family.set_field_type(prometheus::proto::MetricType::COUNTER);
    for metric in family.mut_metric() {
        let mut counter = prometheus::proto::Counter::default();
        counter.set_value(metric.get_gauge().get_value());
        metric.set_counter(counter);
    }
}

/// The fields of `/proc/self/stat` that are used.
struct Stat {
    cpu_ticks: u64,
    threads: i64,
    start_ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The program's name, in parentheses, may itself contain spaces and parentheses.
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let number = |position: usize| fields.get(position)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: number(11)? + number(12)?,
            threads: number(17)?.try_into().ok()?,
            start_ticks: number(19)?,
        })
    }
}

fn status_kilobytes(status: &str, key: &str) -> i64 {
    let value = status.lines().find_map(|line| line.strip_prefix(key));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn boot_time(stat: &str) -> f64 {
    let value = stat.lines().find_map(|line| line.strip_prefix("btime "));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
}

/// Clock ticks per second (`USER_HZ`), which is 100 on all supported Linux architectures.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_build_and_the_resource_usage() {
        let registry = registry("citadel", "1.2.3");
        let page = render(&registry);
        assert!(page.contains("istio_build{component=\"citadel\",tag=\"1.2.3\"} 1\n"), "{page}");
        assert!(page.contains("# TYPE process_cpu_seconds_total counter\n"), "{page}");
        let value = |name: &str| -> f64 {
            let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.expect(name).parse().expect(name)
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_start_time_seconds") > 1.0e9);
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1 1";
        let stat = Stat::parse(text).expect("the fields are there");
        assert_eq!((stat.cpu_ticks, stat.threads, stat.start_ticks), (300, 9, 12345));
        assert!(Stat::parse("7 (a) S 1").is_none());
    }
}
