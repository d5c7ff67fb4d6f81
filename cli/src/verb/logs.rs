//! `ostria logs`: prints the output of one or several containers.

use std::io::Write;
use std::time::Duration;

use api::process::duration;
use api::resource::selector::requirement::Selector;
use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::client::mesh::Mesh;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::manifest::object::{containers, default_container, is_selected, text};
use crate::place::Place;
use crate::state::last::Last;
use crate::verb::entry::Verb;
use crate::verb::{print, resource};
use crate::wire::{LogQuery, Target};

/// `ostria logs`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Logs {
    /// Name of the pod, or deployment/NAME
    #[arg(required_unless_present = "selector", conflicts_with = "selector")]
    pod: Option<String>,
    /// Name of the container; without it, the application's container
    #[arg(short, long)]
    container: Option<String>,
    /// Print the logs of all pods with these labels
    #[arg(short = 'l', long)]
    selector: Option<Selector>,
    /// Print the logs of all containers of the pod
    #[arg(long, conflicts_with = "container")]
    all_containers: bool,
    /// Prefix each line with the names of pod and container
    #[arg(long)]
    prefix: bool,
    /// Keep printing output as it is written
    #[arg(short, long)]
    follow: bool,
    /// Print the log of the previous run, before the last restart or `ostria down`
    #[arg(short, long)]
    previous: bool,
    /// Number of last lines to print; -1 for all; 10 by default with --selector, else all
    #[arg(long, allow_hyphen_values = true)]
    tail: Option<i64>,
    /// Only output newer than this, such as 30s or 5m
    #[arg(long, value_parser = duration::parse)]
    since: Option<Duration>,
    /// Maximum number of logs to follow at once
    #[arg(long, default_value_t = 5)]
    max_log_requests: usize,
}

impl Verb for Logs {
    const NAME: &'static str = "logs";
    const ABOUT: &'static str = "Print the logs of containers";
    const EXAMPLES: &'static [&'static str] = &[
        "logs deployment/reviews-v2 -c istio-proxy -f",
        "logs -l app=reviews --all-containers --prefix --since 5m",
        "logs deployment/reviews-v2 --previous",
    ];

    fn run(self, place: &Place) -> Result<(), Failure> {
        if self.previous
            && !place.names_cluster()
            && let Some(last) = Last::without_mesh(place.state())?
        {
            return self.last(&last, place.namespace().unwrap_or("default"));
        }
        block_on(async {
            let mesh = place.mesh().await?;
            let sources = self.sources(&mesh).await?;
            if !self.follow {
                for source in &sources {
                    self.print(&mesh, source).await?;
                }
                return Ok(());
            }
            if sources.len() > self.max_log_requests {
                let reason = format!(
                    "you are attempting to follow {} log streams, but maximum allowed concurrency is {}",
                    sources.len(),
                    self.max_log_requests
                );
                return Err(Failure::blocked(reason, "use --max-log-requests to increase the limit"));
            }
            self.follow_all(&mesh, sources).await
        })
    }
}

/// A container whose log is printed.
#[derive(Debug, Clone)]
struct Source {
    pod: String,
    container: Option<String>,
    prefix: String,
}

impl Logs {
    async fn sources(&self, mesh: &Mesh) -> Result<Vec<Source>, Failure> {
        let namespace = mesh.namespace().to_string();
        if self.selector.is_none() && !self.all_containers && !self.prefix {
            let pod = self.pod.clone().unwrap_or_default();
            return Ok(vec![Source { pod, container: self.container.clone(), prefix: String::new() }]);
        }
        let kind = resource::kind("pods")?;
        let pods = mesh.list(&resource::query(kind, None, Some(&namespace))).await?;
        let pods: Vec<Value> = match (&self.selector, &self.pod) {
            (Some(selector), _) => pods.into_iter().filter(|pod| is_selected(pod, selector)).collect(),
            (None, Some(name)) => {
                let target = Target { namespace: namespace.clone(), pod: name.clone(), container: None };
                let found = mesh.find(&target).await?;
                pods.into_iter().filter(|pod| text(pod, "/metadata/name") == found.pod).collect()
            }
            (None, None) => Vec::new(),
        };
        if pods.is_empty() {
            eprintln!("No resources found in {namespace} namespace.");
        }
        Ok(pods.iter().flat_map(|pod| self.of_pod(pod)).collect())
    }

    fn of_pod(&self, pod: &Value) -> Vec<Source> {
        let name = text(pod, "/metadata/name");
        let source = |container: Option<String>| Source {
            pod: name.into(),
            prefix: match &container {
                Some(container) if self.prefix => format!("[pod/{name}/{container}] "),
                None if self.prefix => format!("[pod/{name}] "),
                _ => String::new(),
            },
            container,
        };
        if self.all_containers {
            return containers(pod).into_iter().map(|name| source(Some(name.to_string()))).collect();
        }
        vec![source(self.container.clone().or_else(|| self.prefix.then(|| default_container(pod)).flatten()))]
    }

    fn query(&self, namespace: &str, source: &Source) -> LogQuery {
        let namespace = namespace.to_string();
        LogQuery {
            target: Target { namespace, pod: source.pod.clone(), container: source.container.clone() },
            follow: self.follow,
            previous: self.previous,
            tail: self.lines(),
            since: self.since.map(|since| print::now().cast_unsigned().saturating_sub(since.as_secs())),
        }
    }

    /// The number of last lines to print; `None` for all.
    fn lines(&self) -> Option<usize> {
        match self.tail {
            None => self.selector.as_ref().map(|_| OF_SELECTED),
            Some(lines) => usize::try_from(lines).ok(),
        }
    }

    async fn print(&self, mesh: &Mesh, source: &Source) -> Result<(), Failure> {
        let mut log = mesh.logs(&self.query(mesh.namespace(), source)).await?;
        let mut lines = Lines { prefix: source.prefix.clone(), partial: Vec::new() };
        while let Some(piece) = log.next().await {
            if lines.write(&piece?, &mut std::io::stdout()).is_err() {
                return Ok(());
            }
        }
        // A closed output, such as a pipe to `head`, is not an error.
        let _ = lines.end(&mut std::io::stdout());
        Ok(())
    }

    async fn follow_all(self, mesh: &Mesh, sources: Vec<Source>) -> Result<(), Failure> {
        let this = std::sync::Arc::new(self);
        let mut tasks = JoinSet::new();
        for source in sources {
            let (this, mesh) = (std::sync::Arc::clone(&this), mesh.clone());
            tasks.spawn(async move { this.print(&mesh, &source).await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    /// Prints the log that was saved when the last mesh was taken down.
    fn last(&self, last: &Last, namespace: &str) -> Result<(), Failure> {
        let Some(pod) = &self.pod else {
            return Err(Failure::blocked(
                "no mesh is running, and --selector needs one",
                "name a pod: `ostria logs POD --previous`",
            ));
        };
        let text = last.log(namespace, pod, self.container.as_deref())?;
        let skipped = self.lines().map_or(0, |lines| text.lines().count().saturating_sub(lines));
        let wanted: String = text.split_inclusive('\n').skip(skipped).collect();
        print::out(&wanted);
        Ok(())
    }
}

/// Prefixes each line. It writes only complete lines, so that lines of several logs do not mix.
struct Lines {
    prefix: String,
    partial: Vec<u8>,
}

impl Lines {
    fn write(&mut self, bytes: &[u8], to: &mut impl Write) -> std::io::Result<()> {
        if self.prefix.is_empty() {
            return to.write_all(bytes).and_then(|()| to.flush());
        }
        self.partial.extend_from_slice(bytes);
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let mut whole = Vec::new();
        for line in self.partial[..=end].split_inclusive(|byte| *byte == b'\n') {
            whole.extend_from_slice(self.prefix.as_bytes());
            whole.extend_from_slice(line);
        }
        self.partial.drain(..=end);
        to.write_all(&whole).and_then(|()| to.flush())
    }

    /// Writes the rest of a last line that has no line break.
    fn end(&mut self, to: &mut impl Write) -> std::io::Result<()> {
        if self.partial.is_empty() { Ok(()) } else { self.write(b"\n", to) }
    }
}

/// Default number of lines for each pod of a selector, as with kubectl.
const OF_SELECTED: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_prefix_however_the_bytes_are_split() {
        let mut lines = Lines { prefix: "[pod/a/c] ".into(), partial: Vec::new() };
        let mut text = Vec::new();
        for piece in ["one\ntw", "o\n", "three"] {
            lines.write(piece.as_bytes(), &mut text).unwrap();
        }
        lines.end(&mut text).unwrap();
        let expected = "[pod/a/c] one\n[pod/a/c] two\n[pod/a/c] three\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
