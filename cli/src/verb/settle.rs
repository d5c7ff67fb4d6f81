//! Waits after a change until every proxy has acknowledged it and prints the progress.

use std::time::{Duration, Instant};

use api::resource::verdict::Wait;

use crate::client::mesh::Mesh;
use crate::failure::Failure;
use crate::view::settle::{self, Awaited};

/// Returns when the change is in force in all proxies. Fails with the rejections, or with the proxies that have not
/// acknowledged in time.
#[expect(clippy::disallowed_methods, reason = "a command waits by the clock")]
pub async fn wait(mesh: &Mesh, awaited: &[Awaited], limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    let objects: Vec<_> = awaited.iter().map(|one| one.wanted.clone()).collect();
    let mut printed = String::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // The first wait is short, because most changes are in force within it and need no progress line.
        let slice = left.min(if printed.is_empty() { FIRST } else { SLICE });
        let milliseconds = u64::try_from(slice.as_millis()).unwrap_or(u64::MAX);
        let wait = Wait { objects: objects.clone(), milliseconds };
        let settling = mesh.settle(&wait).await?;
        if settling.settled || left <= slice {
            let problems = settle::problems(awaited, &settling);
            return if problems.is_empty() { Ok(()) } else { Err(Failure::NotInForce(problems)) };
        }
        let line = settle::progress(awaited, &settling);
        if line != printed {
            eprintln!("{line}");
            printed = line;
        }
    }
}

const FIRST: Duration = Duration::from_millis(500);
const SLICE: Duration = Duration::from_secs(2);
