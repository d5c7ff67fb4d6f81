//! Records the lengths of the containers' logs every second, so that `logs --since` finds recent output.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::up::clock::seconds;
use crate::up::context::Context;

/// Records until the runtime ends.
pub async fn run(context: Arc<Context>) {
    loop {
        context.log_marks.note(seconds(), &files(&context.state.logs()));
        sleep(EACH).await;
    }
}

/// The log files of all containers, with their lengths.
fn files(logs: &std::path::Path) -> Vec<(PathBuf, u64)> {
    let folders = std::fs::read_dir(logs).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files.filter_map(|file| Some((file.path(), file.metadata().ok()?.len()))).collect()
}

const EACH: Duration = Duration::from_secs(1);
