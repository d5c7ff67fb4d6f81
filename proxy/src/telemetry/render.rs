//! Pure. Renders counters in Prometheus' text format: Istio's standard metrics, then Envoy's own.

use super::Telemetry;
use super::held::held;
use super::labels::escape;
use super::series::{BUCKETS, Histogram, HttpSeries, Series, TcpSeries};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

impl Telemetry {
    /// Renders all metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        let (http, tcp) = collect(self);
        let mut out = String::with_capacity(4096 + 4096 * http.len());
        istio_http(&mut out, &http);
        istio_tcp(&mut out, &tcp);
        let _ = writeln!(
            out,
            "# TYPE istio_build gauge\nistio_build{{component=\"proxy\",tag=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        );
        envoy(&mut out, self);
        out
    }
}

#[derive(Default)]
struct Http {
    requests: u64,
    request_messages: u64,
    response_messages: u64,
    duration: Buckets,
    received: Buckets,
    sent: Buckets,
}

#[derive(Default)]
struct Tcp {
    opened: u64,
    closed: u64,
    sent: u64,
    received: u64,
}

#[derive(Default)]
struct Buckets {
    counts: [u64; BUCKETS.len() + 1],
    sum: u64,
}

impl Buckets {
    fn add(&mut self, histogram: &Histogram) {
        let (counts, sum) = histogram.values();
        self.counts.iter_mut().zip(counts).for_each(|(all, one)| *all += one);
        self.sum += sum;
    }
}

impl Http {
    fn add(&mut self, series: &HttpSeries) {
        self.requests += series.requests.value();
        self.request_messages += series.request_messages.value();
        self.response_messages += series.response_messages.value();
        self.duration.add(&series.duration);
        self.received.add(&series.received);
        self.sent.add(&series.sent);
    }
}

impl Tcp {
    fn add(&mut self, series: &TcpSeries) {
        self.opened += series.opened.value();
        self.closed += series.closed.value();
        self.sent += series.sent.value();
        self.received += series.received.value();
    }
}

/// Sums over the threads. Keys with different numbers may have the same labels; their sums are merged.
fn collect(telemetry: &Telemetry) -> (BTreeMap<String, Http>, BTreeMap<String, Tcp>) {
    let (mut http, mut tcp) = (BTreeMap::<String, Http>::new(), BTreeMap::<String, Tcp>::new());
    let labels = held(&telemetry.labels);
    for shard in held(&telemetry.shards).iter() {
        for (key, series) in held(&shard.series).iter() {
            let text = labels.text(key, &telemetry.node, &telemetry.peers);
            match series.as_ref() {
                Series::Http(series) => http.entry(text).or_default().add(series),
                Series::Tcp(series) => tcp.entry(text).or_default().add(series),
            }
        }
    }
    (http, tcp)
}

fn istio_http(out: &mut String, all: &BTreeMap<String, Http>) {
    counter(out, "istio_requests_total", all.iter().map(|(l, s)| (l, s.requests)));
    let grpc = || all.iter().filter(|(_, s)| s.request_messages + s.response_messages > 0);
    counter(out, "istio_request_messages_total", grpc().map(|(l, s)| (l, s.request_messages)));
    counter(out, "istio_response_messages_total", grpc().map(|(l, s)| (l, s.response_messages)));
    histogram(out, "istio_request_duration_milliseconds", all.iter().map(|(l, s)| (l, &s.duration)));
    histogram(out, "istio_request_bytes", all.iter().map(|(l, s)| (l, &s.received)));
    histogram(out, "istio_response_bytes", all.iter().map(|(l, s)| (l, &s.sent)));
}

fn istio_tcp(out: &mut String, all: &BTreeMap<String, Tcp>) {
    counter(out, "istio_tcp_connections_opened_total", all.iter().map(|(l, s)| (l, s.opened)));
    counter(out, "istio_tcp_connections_closed_total", all.iter().map(|(l, s)| (l, s.closed)));
    counter(out, "istio_tcp_sent_bytes_total", all.iter().map(|(l, s)| (l, s.sent)));
    counter(out, "istio_tcp_received_bytes_total", all.iter().map(|(l, s)| (l, s.received)));
}

fn counter<'a>(out: &mut String, name: &str, values: impl Iterator<Item = (&'a String, u64)>) {
    let mut values = values.peekable();
    if values.peek().is_some() {
        let _ = writeln!(out, "# TYPE {name} counter");
    }
    for (labels, value) in values {
        let _ = writeln!(out, "{name}{{{labels}}} {value}");
    }
}

fn histogram<'a>(out: &mut String, name: &str, values: impl Iterator<Item = (&'a String, &'a Buckets)>) {
    let mut values = values.peekable();
    if values.peek().is_some() {
        let _ = writeln!(out, "# TYPE {name} histogram");
    }
    for (labels, buckets) in values {
        let mut count = 0;
        for (i, in_bucket) in buckets.counts.iter().enumerate() {
            count += in_bucket;
            match BUCKETS.get(i) {
                Some(bound) => {
                    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
                }
                None => {
                    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
                }
            }
        }
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {count}", buckets.sum);
    }
}

fn envoy(out: &mut String, telemetry: &Telemetry) {
    for (name, value) in held(&telemetry.named).iter() {
        let name = name.replace(['.', '-'], "_");
        let _ = writeln!(out, "# TYPE envoy_{name} gauge\nenvoy_{name} {}", value.load(Ordering::Relaxed));
    }
    let mut values = BTreeMap::<(String, String), u64>::new();
    for shard in held(&telemetry.shards).iter() {
        for (name, cluster) in held(&shard.clusters).iter() {
            let label = labelled("cluster_name", name);
            cluster.each(|s, v| *values.entry((prometheus("cluster", s), label.clone())).or_default() += v);
        }
        for (name, listener) in held(&shard.listeners).iter() {
            let label = labelled("listener_address", name);
            listener.each(|s, v| *values.entry((prometheus("listener", s), label.clone())).or_default() += v);
        }
        for ((of, owner, name), count) in held(&shard.filters).iter() {
            let label = if *of == "http" { "http_conn_manager_prefix" } else { "cluster_name" };
            *values.entry((prometheus(of, name), labelled(label, owner))).or_default() += count.value();
        }
    }
    let mut last = String::new();
    for ((name, label), value) in values {
        if name != last {
            let kind = if name.ends_with("_active") { "gauge" } else { "counter" };
            let _ = writeln!(out, "# TYPE {name} {kind}");
            last.clone_from(&name);
        }
        let _ = writeln!(out, "{name}{{{label}}} {value}");
    }
}

fn prometheus(of: &str, stat: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("envoy_{of}_{}", stat.chars().map(plain).collect::<String>())
}

fn labelled(name: &str, value: &str) -> String {
    let mut out = format!("{name}=\"");
    escape(&mut out, value);
    out.push('"');
    out
}
