//! `ostria logs`.

use http_body_util::BodyExt;

use crate::arguments::Logs;
use crate::client;
use crate::failure::Failure;
use crate::state::State;
use crate::wire::{LogQuery, Target};

/// Prints a container's output.
pub fn run(state: &State, logs: &Logs) -> Result<(), Failure> {
    let namespace = logs.namespace.clone().unwrap_or_else(|| "default".into());
    let target = Target { namespace, pod: logs.pod.clone(), container: logs.container.clone() };
    let query = LogQuery { target, follow: logs.follow, previous: logs.previous, tail: logs.tail };
    client::block_on(async {
        let mut body = client::send(state, "/logs", &query).await?.into_body();
        while let Some(Ok(piece)) = body.frame().await {
            if let Ok(bytes) = piece.into_data()
                && std::io::Write::write_all(&mut std::io::stdout(), &bytes).is_err()
            {
                break;
            }
        }
        Ok(())
    })
}
