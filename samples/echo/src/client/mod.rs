//! The client: calls as often and as fast as told, and counts.
//!
//! Each of `--concurrency` workers keeps a connection of its own. A request that fails is counted
//! and never tried again: the mesh under test is what should retry.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::ClientOptions;
use crate::report::{Answer, Report, Tally};
use crate::target::Protocol;

mod grpc;
mod http;
mod tcp;
mod websocket;

mod dial;

pub mod plan;

mod tls;

/// Runs to the end and reports.
pub async fn run(options: &ClientOptions) -> Result<Report, plan::ClientError> {
    let plan = Arc::new(plan::Plan::of(options)?);
    let start = Instant::now();
    let schedule = Arc::new(Schedule {
        start,
        tickets: AtomicU64::new(0),
        count: options.count.or(if options.duration.is_some() { None } else { Some(1) }),
        end: options.duration.map(|duration| start + duration),
        rate: options.rate,
    });
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut workers = JoinSet::new();
    for _ in 0..options.concurrency {
        workers.spawn(work(plan.clone(), schedule.clone(), tally.clone()));
    }
    workers.join_all().await;
    let tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(tally.report(start.elapsed(), options.show))
}

/// When each request starts; shared by the workers.
struct Schedule {
    start: Instant,
    tickets: AtomicU64,
    count: Option<u64>,
    end: Option<Instant>,
    rate: Option<f64>,
}

impl Schedule {
    /// Waits for the next request's turn; false when there is none.
    async fn next(&self) -> bool {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        if self.count.is_some_and(|count| ticket >= count) {
            return false;
        }
        let now = Instant::now();
        let offset = self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(ticket as f64 / rate));
        let turn = (self.start + offset).max(now);
        if self.end.is_some_and(|end| turn >= end) {
            return false;
        }
        if turn > now {
            tokio::time::sleep_until(turn).await;
        }
        true
    }
}

async fn work(plan: Arc<plan::Plan>, schedule: Arc<Schedule>, tally: Arc<Mutex<Tally>>) {
    let mut caller = Caller::of(plan.target.protocol);
    while schedule.next().await {
        let start = Instant::now();
        let result = tokio::time::timeout(plan.timeout, caller.call(&plan)).await;
        let latency = start.elapsed();
        if plan.new_connection || !matches!(result, Ok(Ok(_))) {
            caller = Caller::of(plan.target.protocol);
        }
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(Ok(answer)) => tally.answered(answer, latency),
            Ok(Err(error)) => tally.failed(error.chain(), latency),
            Err(_) => tally.failed(format!("no answer within {:?}", plan.timeout), latency),
        }
    }
}

/// A worker's connection, in the protocol of the target.
enum Caller {
    Http(http::Caller),
    Grpc(grpc::Caller),
    WebSocket(Box<websocket::Caller>),
    Tcp(tcp::Caller),
}

impl Caller {
    fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http => Self::Http(http::Caller::default()),
            Protocol::Grpc => Self::Grpc(grpc::Caller::default()),
            Protocol::WebSocket => Self::WebSocket(Box::default()),
            Protocol::Tcp | Protocol::TcpServerFirst => Self::Tcp(tcp::Caller::default()),
        }
    }

    async fn call(&mut self, plan: &plan::Plan) -> Result<Answer, dial::CallError> {
        match self {
            Self::Http(caller) => caller.call(plan).await,
            Self::Grpc(caller) => caller.call(plan).await,
            Self::WebSocket(caller) => caller.call(plan).await,
            Self::Tcp(caller) => caller.call(plan).await,
        }
    }
}
