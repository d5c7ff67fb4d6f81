//! The client: sends requests at the configured rate and counts the responses.
//!
//! Each of the `--concurrency` workers has its own connection. A failed request is counted and never retried, because
//! retries are the task of the mesh under test.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::pace::Schedule;
use crate::config::ClientOptions;
use crate::report::{Reply, Report, Tally};
use crate::target::Protocol;

mod grpc;
mod http;
mod tcp;
mod websocket;

mod dial;

pub mod plan;

mod pace;
mod tls;

/// Runs to the end or until `stop`, and returns the report.
pub async fn run(
    options: &ClientOptions,
    stop: impl Future<Output = ()>,
) -> Result<Report, plan::ClientError> {
    let plan = Arc::new(plan::Plan::of(options)?);
    let start = Instant::now();
    let count = options.count.or(if options.duration.is_some() { None } else { Some(1) });
    let schedule = Arc::new(Schedule::start(count, options.duration, options.rate));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut workers = JoinSet::new();
    for _ in 0..options.concurrency {
        workers.spawn(work(plan.clone(), schedule.clone(), tally.clone()));
    }
    let finish = workers.join_all();
    tokio::pin!(finish);
    tokio::select! {
        _ = &mut finish => {}
        () = stop => {
            schedule.stop();
            finish.await;
        }
    }
    let tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(tally.report(start.elapsed(), options.show))
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
            Ok(Ok(reply)) => match plan.surprise(&reply.text).filter(|_| reply.good) {
                Some(reason) => tally.failed(reason, latency),
                None => tally.responded(reply, latency),
            },
            Ok(Err(error)) => tally.failed(error.chain(), latency),
            Err(_) => tally.failed(format!("no response within {:?}", plan.timeout), latency),
        }
    }
}

/// A worker's connection for the protocol of the target.
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

    async fn call(&mut self, plan: &plan::Plan) -> Result<Reply, dial::CallError> {
        match self {
            Self::Http(caller) => caller.call(plan).await,
            Self::Grpc(caller) => caller.call(plan).await,
            Self::WebSocket(caller) => caller.call(plan).await,
            Self::Tcp(caller) => caller.call(plan).await,
        }
    }
}
