//! Follows the settings that a cluster holds, and publishes them combined with the injector's own.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apimachinery::pkg::version::Info,
};
use kube::{Api, Client, ResourceExt as _, core::PartialObjectMeta, runtime::watcher::Event};
use kubernetes::{
    client::reason,
    follower::{Reported, events},
};
use tokio::sync::watch;

use crate::{
    config::{Args, Settings},
    control::{Names, observed::Observed},
};

/// Follows the cluster's settings until the task is dropped. `own` are those of the file and the flags. The first
/// settings are published when the mesh configuration has been read; `ready` runs then.
pub async fn follow(
    client: Client,
    (args, own): (Args, Settings),
    names: &Names,
    publish: watch::Sender<Arc<Settings>>,
    ready: impl FnOnce(),
) {
    let version = version(&client).await;
    let observed = Observed::new(args, own, &version);
    let name = format!("{}/{}", names.namespace, names.config_map);
    let mut follower = Follower { observed, name, has_mesh: false, seen: false, complaint: None };
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &names.namespace);
    let mut maps = events(maps, Some(&format!("metadata.name={}", names.config_map)), "ConfigMap");
    // The labels of all namespaces. Other fields are not requested.
    let mut namespaces = events(Api::<PartialObjectMeta<Namespace>>::all(client), None, "Namespace");
    let mut ready = Some(ready);
    loop {
        tokio::select! {
            Some(event) = maps.next() => follower.map(event),
            Some(event) = namespaces.next() => follower.namespace(event),
            else => return,
        }
        if !follower.has_mesh {
            continue;
        }
        let settings = follower.observed.settings();
        publish.send_if_modified(|current| {
            let changed = **current != settings;
            if changed {
                *current = Arc::new(settings);
            }
            changed
        });
        if let Some(ready) = ready.take() {
            ready();
        }
    }
}

/// Asks for the API server's version until it responds.
async fn version(client: &Client) -> Info {
    let mut pause = Duration::from_millis(200);
    loop {
        match client.apiserver_version().await {
            Ok(version) => {
                tracing::info!(version = version.git_version, "the API server responds");
                return version;
            }
            Err(error) => {
                let reason = reason(&error);
                tracing::warn!(reason, "the version of the API server cannot be read yet; trying again");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Follower {
    observed: Observed,
    /// The ConfigMap, for the log.
    name: String,
    /// Whether the ConfigMap has been read, or is known to be absent.
    has_mesh: bool,
    /// Whether the present list contains the ConfigMap.
    seen: bool,
    /// The last warning, which is not repeated.
    complaint: Option<String>,
}

impl Follower {
    fn map(&mut self, event: Reported<ConfigMap>) {
        match event {
            Ok(Event::Init) => self.seen = false,
            Ok(Event::InitApply(map) | Event::Apply(map)) => {
                self.seen = true;
                self.mesh(map.data.as_ref().and_then(|data| data.get("mesh")).map(String::as_str));
            }
            Ok(Event::InitDone) if !self.seen => {
                self.mesh(None);
                self.has_mesh = true;
            }
            Ok(Event::InitDone) => self.has_mesh = true,
            Ok(Event::Delete(_)) => self.mesh(None),
            Err(error) => {
                self.complain(format!("the mesh configuration cannot be read: {error}"));
            }
        }
    }

    fn mesh(&mut self, text: Option<&str>) {
        match self.observed.mesh(text) {
            Ok(fields) if fields.is_empty() => self.complaint = None,
            Ok(fields) => {
                let fields = fields.join(", ");
                self.complain(format!(
                    "fields of defaultConfig are not supported and have no effect: {fields}"
                ));
            }
            Err(reason) => {
                self.complain(format!("the last valid mesh configuration stays in force: mesh: {reason}"));
            }
        }
    }

    fn namespace(&mut self, event: Reported<PartialObjectMeta<Namespace>>) {
        match event {
            Ok(Event::Init) => self.observed.begin_namespaces(),
            Ok(Event::InitApply(namespace) | Event::Apply(namespace)) => {
                self.observed.namespace(&namespace.name_any(), namespace.labels());
            }
            Ok(Event::InitDone) => self.observed.end_namespaces(),
            Ok(Event::Delete(namespace)) => self.observed.no_namespace(&namespace.name_any()),
            Err(error) => self.complain(format!("the namespaces cannot be read: {error}")),
        }
    }

    fn complain(&mut self, reason: String) {
        if self.complaint.as_ref() != Some(&reason) {
            tracing::warn!(config_map = self.name, reason, "settings of the cluster");
        }
        self.complaint = Some(reason);
    }
}

const LONGEST_PAUSE: Duration = Duration::from_secs(10);
