//! Keeps the trust bundle of each namespace, ConfigMap `istio-ca-root-cert`, while this replica leads: creates it in new
//! namespaces, and puts it back when it is deleted or changed. Writes nothing that is as it must be.

use crate::bundle::patience::Patience;
use crate::bundle::{self, Found, MANAGER, NAME, Step, Wanted};
use crate::root::Root;
use api::resource::selector::requirement::Selector;
use api::resource::{mesh_config, parse};
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use kubernetes::client::reason;
use kubernetes::follower::{self, Reported};
use kubernetes::leader;
use kubernetes::mirror::Mirror;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Keeps the bundles whenever this replica leads, forever.
pub async fn run(
    client: Client,
    root: watch::Receiver<Arc<Root>>,
    leads: watch::Receiver<bool>,
    settings: Settings,
) {
    let keep = || Keeper::new(client.clone(), root.clone(), settings.clone()).run();
    leader::in_each_term(leads, keep).await;
}

/// Which bundles are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether bundles of other control planes are replaced.
    pub takes_over: bool,
    /// The namespace of the mesh's configuration.
    pub namespace: String,
    /// The ConfigMap with it, whose `discoverySelectors` select the namespaces that get a bundle.
    pub config_map: String,
}

struct Keeper {
    client: Client,
    root: watch::Receiver<Arc<Root>>,
    settings: Settings,
    namespaces: Mirror<Home>,
    /// `discoverySelectors`, as text that was read last and as selectors.
    configuration: Mirror<String>,
    selectors: Vec<Selector>,
    bundles: Mirror<Found>,
    /// The namespaces whose bundle this authority has written.
    ours: BTreeSet<String>,
    /// The namespaces to look at.
    due: BTreeSet<String>,
    /// The namespaces whose last write failed, and how often in a row.
    failed: BTreeMap<String, u32>,
    patience: Patience,
    /// The other control planes that have been reported.
    reported: BTreeSet<String>,
    complaint: String,
}

impl Keeper {
    fn new(client: Client, root: watch::Receiver<Arc<Root>>, settings: Settings) -> Self {
        Self {
            client,
            root,
            settings,
            namespaces: Mirror::default(),
            configuration: Mirror::default(),
            selectors: vec![],
            bundles: Mirror::default(),
            ours: BTreeSet::new(),
            due: BTreeSet::new(),
            failed: BTreeMap::new(),
            patience: Patience::default(),
            reported: BTreeSet::new(),
            complaint: String::new(),
        }
    }

    async fn run(mut self) {
        let mut namespaces = namespaces(&self.client);
        let mut bundles = bundles(&self.client);
        let mut configuration = configuration(&self.client, &self.settings);
        loop {
            let pause =
                self.failed.values().min().map(|times| RETRY.saturating_mul(2_u32.saturating_pow(*times)));
            tokio::select! {
                Some(event) = namespaces.next() => self.see(event, |keeper, event| {
                    keeper.namespaces.apply(event, |namespace: PartialObjectMeta<Namespace>| {
                        let metadata = namespace.metadata;
                        let ends = metadata.deletion_timestamp.is_some();
                        let labels = metadata.labels.unwrap_or_default();
                        (metadata.name.unwrap_or_default(), Home { ends, labels })
                    })
                }),
                Some(event) = configuration.next() => self.see(event, Self::configure),
                Some(event) = bundles.next() => self.see(event, |keeper, event| {
                    keeper.bundles.apply(event, |map: ConfigMap| {
                        (map.metadata.namespace.clone().unwrap_or_default(), Found::read(&map))
                    })
                }),
                Ok(()) = self.root.changed() => self.due.extend(self.namespaces.keys().map(str::to_owned)),
                () = tokio::time::sleep(pause.unwrap_or_default().min(LONGEST)), if pause.is_some() => {
                    self.due.extend(self.failed.keys().cloned());
                }
                else => return,
            }
            let complete = self.namespaces.is_complete() && self.configuration.is_complete();
            if complete && self.bundles.is_complete() {
                self.settle().await;
            }
        }
    }

    fn see<K>(&mut self, event: Reported<K>, apply: impl FnOnce(&mut Self, Event<K>) -> BTreeSet<String>) {
        match event {
            Ok(event) => {
                let changed = apply(self, event);
                self.due.extend(changed);
            }
            Err(error) => {
                self.complain(&error, "namespaces and their trust bundles cannot be watched; trying again");
            }
        }
    }

    /// Takes the mesh's configuration, and returns the namespaces to look at.
    fn configure(&mut self, event: Event<ConfigMap>) -> BTreeSet<String> {
        let changed = self.configuration.apply(event, |map: ConfigMap| {
            let text = map.data.and_then(|mut data| data.remove("mesh")).unwrap_or_default();
            (map.metadata.name.unwrap_or_default(), text)
        });
        if changed.is_empty() {
            return changed;
        }
        let text = self.configuration.get(&self.settings.config_map).map_or("", String::as_str);
        match parse::discovery_selectors(text) {
            Ok(selectors) => self.selectors = selectors,
            Err(reason) => {
                let config_map = &self.settings.config_map;
                tracing::warn!(
                    config_map,
                    reason,
                    "discoverySelectors cannot be read; the last ones stay in force"
                );
            }
        }
        self.namespaces.keys().map(str::to_owned).collect()
    }

    /// Whether a namespace gets a bundle.
    fn concerns(&self, name: &str) -> bool {
        let home = self.namespaces.get(name).filter(|home| !home.ends);
        let discovered = |home: &Home| mesh_config::discovers(&self.selectors, name, Some(&home.labels));
        home.is_some_and(discovered) && bundle::concerns(name)
    }

    async fn settle(&mut self) {
        let roots = self.root.borrow().roots_pem().to_owned();
        for namespace in std::mem::take(&mut self.due) {
            if !self.concerns(&namespace) {
                self.failed.remove(&namespace);
                self.ours.remove(&namespace);
                continue;
            }
            let found = self.bundles.get(&namespace);
            if found.is_some_and(|found| found.is_ours) {
                self.ours.insert(namespace.clone());
            }
            let was_ours = self.ours.contains(&namespace);
            let wanted = Wanted { roots: &roots, was_ours, takes_over: self.settings.takes_over };
            match bundle::decide(found, wanted) {
                Step::Keep => drop(self.failed.remove(&namespace)),
                Step::Leave { keeper } => {
                    self.failed.remove(&namespace);
                    self.report(keeper, &namespace);
                }
                Step::Write => self.write(namespace, &roots, false).await,
                Step::Restore => {
                    if self.patience.allows(&namespace, Instant::now().into_std()) {
                        self.write(namespace, &roots, true).await;
                    } else {
                        self.report("a writer that never stops".to_owned(), &namespace);
                    }
                }
            }
        }
    }

    async fn write(&mut self, namespace: String, roots: &str, force: bool) {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PatchParams { force, ..PatchParams::apply(MANAGER) };
        let patch = Patch::Apply(bundle::config_map(roots));
        let response = tokio::time::timeout(TIMEOUT, api.patch(NAME, &parameters, &patch)).await;
        let error = match response {
            Ok(Ok(map)) => {
                tracing::debug!(namespace, "the trust bundle was written");
                self.failed.remove(&namespace);
                // The watch reports it later; until then this is what the cluster has.
                self.bundles.insert(namespace, Found::read(&map));
                self.complaint.clear();
                return;
            }
            // The namespace is gone or going; the watch says so too.
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() || is_terminating(&status) => return,
            // Another control plane wrote it at the same time; the watch reports its content.
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() && !force => return,
            Ok(Err(error)) => reason(&error),
            Err(_) => format!("the API server does not respond within {} seconds", TIMEOUT.as_secs()),
        };
        self.complain(&error, "a trust bundle cannot be written; trying again");
        *self.failed.entry(namespace).or_default() += 1;
    }

    /// Warns once about each writer, not once for each of its namespaces.
    fn report(&mut self, keeper: String, namespace: &str) {
        if self.reported.contains(&keeper) {
            tracing::debug!(keeper, namespace, "another control plane keeps the trust bundle");
            return;
        }
        tracing::warn!(
            keeper,
            namespace,
            "ConfigMap {NAME} is kept by another control plane with another root and stays as it is; pods there do not \
             trust this mesh. Give both control planes the same root (Secret cacerts), or start citadel with \
             --take-over-trust-bundles"
        );
        self.reported.insert(keeper);
    }

    fn complain(&mut self, reason: &str, message: &str) {
        if self.complaint != reason {
            tracing::warn!(reason, "{message}");
            reason.clone_into(&mut self.complaint);
        }
    }
}

/// What is kept of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Home {
    /// Whether it is being deleted.
    ends: bool,
    labels: BTreeMap<String, String>,
}

/// The events of the mesh's configuration.
fn configuration(
    client: &Client,
    settings: &Settings,
) -> impl Stream<Item = Reported<ConfigMap>> + Unpin + use<> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &settings.namespace);
    follower::events(maps, Some(&format!("metadata.name={}", settings.config_map)), "ConfigMap")
}

/// The events of all namespaces.
fn namespaces(client: &Client) -> impl Stream<Item = Reported<PartialObjectMeta<Namespace>>> + Unpin + use<> {
    follower::events(Api::all(client.clone()), None, "Namespace")
}

/// The events of the trust bundles of all namespaces.
fn bundles(client: &Client) -> impl Stream<Item = Reported<ConfigMap>> + Unpin + use<> {
    follower::events(Api::all(client.clone()), Some(&format!("metadata.name={NAME}")), "ConfigMap")
}

fn is_terminating(status: &kube::core::Status) -> bool {
    status.is_forbidden() && status.message.contains("being terminated")
}

const TIMEOUT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
