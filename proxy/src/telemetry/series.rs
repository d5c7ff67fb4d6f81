//! Pure. The counters of one series. One thread writes them and any thread may read them, so relaxed loads and
//! stores suffice: the request path needs no atomic read-modify-write instruction.

use crate::flow::record::Record;
use std::sync::atomic::{AtomicU64, Ordering};

/// The upper bounds of every histogram, the same as Istio's.
pub const BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10000.0,
    30000.0,
    60000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// The counters of one combination of labels.
pub enum Series {
    /// Of requests.
    Http(Box<HttpSeries>),
    /// Of TCP connections.
    Tcp(TcpSeries),
}

/// Counters of requests.
#[derive(Default)]
pub struct HttpSeries {
    /// `istio_requests_total`
    pub requests: Count,
    /// `istio_request_duration_milliseconds`
    pub duration: Histogram,
    /// `istio_request_bytes`
    pub received: Histogram,
    /// `istio_response_bytes`
    pub sent: Histogram,
    /// `istio_request_messages_total`
    pub request_messages: Count,
    /// `istio_response_messages_total`
    pub response_messages: Count,
}

impl HttpSeries {
    /// Counts one request.
    pub fn add(&self, record: &Record) {
        self.requests.add(1);
        self.duration.add(record.duration.as_millis() as u64);
        self.received.add(record.received);
        self.sent.add(record.sent);
        self.request_messages.add(record.request_messages);
        self.response_messages.add(record.response_messages);
    }
}

/// Counters of TCP connections.
#[derive(Default)]
pub struct TcpSeries {
    /// `istio_tcp_connections_opened_total`
    pub opened: Count,
    /// `istio_tcp_connections_closed_total`
    pub closed: Count,
    /// `istio_tcp_sent_bytes_total`
    pub sent: Count,
    /// `istio_tcp_received_bytes_total`
    pub received: Count,
}

impl TcpSeries {
    /// Counts an opened connection.
    pub fn open(&self) {
        self.opened.add(1);
    }

    /// Counts a closed connection.
    pub fn close(&self) {
        self.closed.add(1);
    }

    /// Adds bytes in both directions.
    pub fn move_bytes(&self, sent: u64, received: u64) {
        self.sent.add(sent);
        self.received.add(received);
    }
}

/// A counter that only one thread writes.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to the value.
    pub fn add(&self, amount: u64) {
        if amount != 0 {
            self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    /// Subtracts from the value, for gauges.
    pub fn subtract(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(amount), Ordering::Relaxed);
    }

    /// The current value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram with the upper bounds `BUCKETS`.
#[derive(Default)]
pub struct Histogram {
    counts: [Count; BUCKETS.len() + 1],
    sum: Count,
}

impl Histogram {
    /// Counts a value.
    pub fn add(&self, value: u64) {
        self.counts[bucket(value)].add(1);
        self.sum.add(value);
    }

    /// Counts per bucket (not cumulative; the last one is above all bounds), and the sum of the values.
    pub fn values(&self) -> ([u64; BUCKETS.len() + 1], u64) {
        (std::array::from_fn(|i| self.counts[i].value()), self.sum.value())
    }
}

fn bucket(value: u64) -> usize {
    BUCKETS.partition_point(|bound| *bound < value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_whose_bound_it_does_not_pass() {
        for (value, expected) in [(0, 0), (1, 1), (2, 2), (5, 2), (6, 3), (3_600_000, 18), (3_600_001, 19)] {
            assert_eq!(bucket(value), expected, "{value}");
        }
    }

    #[test]
    fn a_gauge_never_falls_below_zero() {
        let gauge = Count::default();
        gauge.add(1);
        gauge.subtract(3);
        assert_eq!(gauge.value(), 0);
    }
}
