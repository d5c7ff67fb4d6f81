//! Logs of containers, and commands in them.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{AsyncReadExt as _, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess, LogParams};
use rustix::termios::Winsize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::client::cluster::{Cluster, pod};
use crate::failure::Failure;
use crate::wire::{ExecQuery, LogQuery, Target, frame};

/// The output of a container.
pub async fn logs(
    cluster: &Cluster,
    query: &LogQuery,
) -> Result<BoxStream<'static, Result<Bytes, Failure>>, Failure> {
    let Target { namespace, pod, container } = pod::find(cluster, &query.target).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), &namespace);
    let since = query.since.and_then(|since| Timestamp::from_second(since.cast_signed()).ok());
    let parameters = LogParams {
        container,
        follow: query.follow,
        previous: query.previous,
        since_time: since,
        tail_lines: query.tail.map(|lines| i64::try_from(lines).unwrap_or(i64::MAX)),
        ..LogParams::default()
    };
    let reader = pods.log_stream(&pod, &parameters).await.map_err(|error| cluster.failure(&error))?;
    let pieces = futures_util::stream::unfold(Box::pin(reader), async |mut reader| {
        let mut buffer = vec![0; 32 << 10];
        match reader.read(&mut buffer).await {
            Ok(0) => None,
            Ok(length) => {
                buffer.truncate(length);
                Some((Ok(buffer.into()), reader))
            }
            Err(error) => {
                let failure = Failure::blocked(format!("the log ends: {error}"), "run the command again");
                Some((Err(failure), reader))
            }
        }
    });
    // The reader returns the same error again and again.
    Ok(pieces
        .scan(false, |ended, piece| {
            let before = std::mem::replace(ended, piece.is_err());
            std::future::ready((!before).then_some(piece))
        })
        .boxed())
}

/// Runs a command in a container. The stream carries the frames of `wire::frame`.
pub async fn exec(
    cluster: &Cluster,
    query: &ExecQuery,
    size: Option<Winsize>,
) -> Result<DuplexStream, Failure> {
    let Target { namespace, pod, container } = pod::find(cluster, &query.target).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), &namespace);
    let parameters = AttachParams {
        container,
        stdin: query.stdin,
        stdout: true,
        // A terminal has a single output.
        stderr: !query.tty,
        tty: query.tty,
        ..AttachParams::default()
    };
    let process =
        pods.exec(&pod, &query.command, &parameters).await.map_err(|error| cluster.failure(&error))?;
    let (own, other) = tokio::io::duplex(64 << 10);
    tokio::spawn(translate(process, other, size));
    Ok(own)
}

/// Carries frames from and to a process until it ends.
async fn translate(mut process: AttachedProcess, stream: DuplexStream, size: Option<Winsize>) {
    let (reader, mut writer) = tokio::io::split(stream);
    let status = process.take_status();
    let (sender, mut frames) = mpsc::channel::<Vec<u8>>(8);
    if let (Some(mut sizes), Some(size)) = (process.terminal_size(), size) {
        let size = kube::api::TerminalSize { height: size.ws_row, width: size.ws_col };
        // A process that has ended needs no size.
        let _ = futures_util::SinkExt::send(&mut sizes, size).await;
    }
    let input = process.stdin().map(|stdin| tokio::spawn(feed(reader, stdin)));
    let outputs = [
        process.stdout().map(|output| tokio::spawn(collect(output, frame::OUTPUT, sender.clone()))),
        process.stderr().map(|errors| tokio::spawn(collect(errors, frame::ERROR, sender.clone()))),
    ];
    drop(sender);
    while let Some(bytes) = frames.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    let (code, words) = ending(status.as_ref());
    if let Some(words) = words {
        let _ = writer.write_all(&frame::encode(frame::ERROR, words.as_bytes())).await;
    }
    // Fails if the receiver is gone, which then does not need the code.
    let _ = writer.write_all(&frame::encode(frame::EXIT, code.to_string().as_bytes())).await;
    input.into_iter().chain(outputs.into_iter().flatten()).for_each(|task| task.abort());
}

/// Sends input frames to the process; an empty one ends its input.
async fn feed(mut reader: impl AsyncRead + Unpin, mut stdin: impl AsyncWrite + Unpin) {
    while let (Ok(_), Ok(length)) = (reader.read_u8().await, reader.read_u32().await) {
        let mut bytes = vec![0; length as usize];
        if reader.read_exact(&mut bytes).await.is_err() || bytes.is_empty() {
            break;
        }
        if stdin.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // The process may have ended.
    let _ = stdin.shutdown().await;
}

async fn collect(mut output: impl AsyncRead + Unpin, kind: u8, sender: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        if sender.send(frame::encode(kind, &buffer[..length])).await.is_err() {
            return;
        }
    }
}

/// The exit code that a status tells, and words for the user if the command did not run.
fn ending(status: Option<&Status>) -> (u8, Option<String>) {
    let Some(status) = status else { return (137, Some("error: the connection to the pod ended\n".into())) };
    if status.status.as_deref() == Some("Success") {
        return (0, None);
    }
    let causes = status.details.iter().filter_map(|details| details.causes.as_ref()).flatten();
    let code = causes.into_iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    match code.and_then(|cause| cause.message.as_ref()?.parse().ok()) {
        Some(code) => (code, None),
        None => (1, Some(format!("error: {}\n", status.message.as_deref().unwrap_or_default()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_exit_code_is_the_commands_own() {
        let ending = |status: Value| ending(Some(&serde_json::from_value(status).unwrap()));
        assert_eq!(ending(json!({"status": "Success"})), (0, None));
        let details = json!({"causes": [{"reason": "ExitCode", "message": "7"}]});
        assert_eq!(ending(json!({"status": "Failure", "message": "x", "details": details})), (7, None));
        let failed = ending(json!({"status": "Failure", "message": "no such file"}));
        assert_eq!(failed, (1, Some("error: no such file\n".into())));
        assert_eq!(super::ending(None).0, 137);
    }

    #[tokio::test]
    async fn input_frames_reach_the_process_until_an_empty_one() {
        let (mut user, reader) = tokio::io::duplex(64);
        let (stdin, mut process) = tokio::io::duplex(64);
        let task = tokio::spawn(feed(reader, stdin));
        for piece in [&b"ab"[..], b"c", b""] {
            user.write_all(&frame::encode(frame::INPUT, piece)).await.unwrap();
        }
        let mut text = String::new();
        process.read_to_string(&mut text).await.unwrap();
        task.await.unwrap();
        assert_eq!(text, "abc");
    }
}
